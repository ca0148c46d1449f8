"""Reports × obligations × waivers → one outcome each, and the verdict. Pure: no clock, no spec, no graph.

The same function decides inside apply, in `gate`, in `audit` and in tests, so that they cannot disagree (kyverno
#17473 and #7956 are what happens otherwise). Only `pass`, and what a waiver in force excuses, lets a blocking rule
through. Missing, unreadable, forged, estimated where measured was asked, too little: none of them is a pass, and a
judgement that looked at nothing is not one either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from kcompiler import waiver
from kcompiler.policy import believed, binding, counterfactual, evidence, kinds
from kcompiler.policy.evidence import Evidence
from kcompiler.policy.kind import Judged, broken, lacking
from kcompiler.policy.obligation import BEFORE, Obligation, Phase, Waivable, first_problem
from kcompiler.verifier.facts import START, start_of
from runtime import digest

SCHEMA_VERSION = "1.0"
OUTCOMES = ("pass", "fail", "waived", "inconclusive", "not_evaluated", "skipped", "error")
#: an outcome that rests on evidence which was there and could be read
EVALUATED = frozenset({"pass", "fail", "inconclusive"})

#: of an outcome, what is written only where it is something else
_USUAL = {
    "phase": "report",
    "effective_on": "",
    "advisory": "",
    "counterfactual": "",
    "waivable": False,
    "waiver": None,
}

_AS_OF = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one obligation. `pointer` leads into the report of `step`; texts are as in `Judged`."""

    rule: str
    pack: str
    title: str
    report: str
    step: str
    mode: str
    outcome: str
    blocks: bool
    reason: str
    remedy: str
    pointer: str
    observed: str
    threshold: str
    distance: str
    matches: int
    #: "sha256:…" of the obligation as the lock has it
    obligation: str
    phase: Phase = "report"
    #: the day from which on the rule blocks; "" for one that always does
    effective_on: str = ""
    #: why what does not pass does not block yet: `until 2026-12-01`, `until release`; "" where it does
    advisory: str = ""
    #: of what does not pass: from where on it would, in words; "" where nothing exact can be said
    counterfactual: str = ""
    #: it blocks, and by the pack a waiver could let it through
    waivable: bool = False
    #: of an outcome that is waived: `id`, `digest` and `until` of the waiver, what it excuses (`was`), and its `use`
    waiver: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All outcomes and what they amount to, with the digest of everything that was looked at.

    `verdict` is PASS, WAIVED (nothing blocks, and something would without its waiver), FAIL, INCONCLUSIVE (nothing
    failed, yet something blocking could not be decided), WAIVER_REQUIRED (all that blocks could be waived) or
    NOTHING_EVALUATED.
    """

    verdict: str
    exit_code: int
    counts: Mapping[str, int]
    outcomes: Sequence[Outcome]
    #: step → "sha256:…" of its report.json
    reports: Mapping[str, str]
    #: steps whose report no obligation speaks of
    unjudged: Sequence[str]
    #: schema id → "sha256:…"
    schemas: Mapping[str, str]
    #: "sha256:…" of the list of obligations
    obligations: str
    #: "sha256:…" identity of the plan they come from, when there is one
    lock: str | None
    as_of: str | None
    #: every waiver that was at hand: `id`, `digest`, and in `used` each report it has excused, before and now
    waivers: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        """The verdict document (schemas/verdict.schema.json)."""
        content = asdict(replace(self, outcomes=()))
        content["schema_version"] = SCHEMA_VERSION
        content["outcomes"] = [
            {key: value for key, value in asdict(outcome).items() if _USUAL.get(key) != value}
            for outcome in self.outcomes
        ]
        content["unjudged"] = list(self.unjudged)
        if not self.waivers:
            del content["waivers"]
        return content

    def dump(self) -> str:
        """Stable text of the document: sorted keys, LF."""
        return json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def judge(
    reports: Mapping[str, bytes | Mapping[str, Any] | Evidence],
    obligations: Sequence[Mapping[str, Any]],
    *,
    as_of: str | None = None,
    lock: str | None = None,
    every: Sequence[Mapping[str, Any]] | None = None,
    release: bool = False,
    waivers: waiver.Waivers = waiver.NONE,
) -> Verdict:
    """One outcome per obligation, in their order.

    `reports` maps a step id ("apply" for the report on the run) to its report.json, as bytes, parsed, or read already.
    With `lock`, the digest of a plan, only what the report on the run names as made for that plan is evidence. `every`
    are the obligations of the whole plan, where `obligations` are some of them: what rests on a judge needs its report,
    and all that blocks on it. A rule with a day blocks from then on, and without `as_of` always; one of phase release
    where the judgement is of a `release`. Of the `waivers` those excuse something that are in force at `as_of`; without
    it none is.
    Raises ValueError for an `as_of` that is not of the form 2026-01-31T00:00:00Z; nothing that stands in a report or
    an obligation raises.
    """
    if as_of is not None and not _AS_OF.match(as_of):
        raise ValueError(f"as_of {as_of!r} is not a UTC time such as 2026-01-31T00:00:00Z")
    read = {step: evidence.read(given) for step, given in sorted(reports.items())}
    strangers = {} if lock is None else binding.unbound(read, lock)
    for step, reason in {**binding.conflicts(read), **strangers}.items():
        read[step] = replace(read[step], report=None, problem=reason)
    seen: set[tuple[str, str]] = set()
    found = [_outcome(raw, read, seen) for raw in obligations]
    outcomes = _believed([one for one, _ in found], obligations, every or obligations, read)
    outcomes = [replace(one, **_relaxed(one, as_of, release)) for one in outcomes]
    desk = waiver.Desk(waivers, as_of)
    outcomes = [
        replace(one, **_excused(one, judged, raw, desk, read)) if one.blocks and judged is not None else one
        for one, (_, judged), raw in zip(outcomes, found, obligations, strict=True)
    ]
    counts = {word: sum(outcome.outcome == word for outcome in outcomes) for word in OUTCOMES}
    word, code = _amounts_to(outcomes)
    return Verdict(
        verdict=word,
        exit_code=code,
        counts=counts,
        outcomes=tuple(outcomes),
        reports={step: found.digest for step, found in read.items()},
        unjudged=sorted(set(read) - {outcome.step for outcome in outcomes}),
        schemas={name: pin for found in read.values() for name, pin in sorted((found.schemas or {}).items())},
        obligations=digest.of_value(list(obligations), "kc.obligations.v1"),
        lock=lock,
        as_of=as_of,
        waivers=[waiver.told(one, desk.uses(one.waiver.id)) for one in waivers.given],
    )


def _excused(
    outcome: Outcome, judged: Judged, raw: Mapping[str, Any], desk: waiver.Desk, reports: Mapping[str, Evidence]
) -> dict[str, Any]:
    """What is different of an outcome that blocks, where a waiver could let it through or does."""
    try:
        terms = Waivable.model_validate(raw["waivable"]) if raw.get("waivable") else None
    except ValidationError:
        # an obligation that cannot be read is an error, which nobody excuses
        terms = None
    found = waiver.Found(
        rule=outcome.rule,
        step=outcome.step,
        outcome=outcome.outcome,
        tags=judged.tags,
        miss=-judged.margin,
        report=reports[outcome.step].digest if outcome.step in reports else "",
    )
    given = desk.ask(found, terms)
    if isinstance(given, str):
        reason = f"{outcome.reason} ({given})" if given else outcome.reason
        return {"reason": reason, "waivable": terms is not None and outcome.outcome in terms.outcomes}
    said = f"{outcome.reason} (waived by {given.id} until {given.until})"
    return {
        "outcome": "waived",
        "blocks": False,
        "reason": said,
        "waiver": {**asdict(given), "was": outcome.outcome},
    }


def _believed(
    outcomes: Sequence[Outcome],
    obligations: Sequence[Mapping[str, Any]],
    every: Sequence[Mapping[str, Any]],
    reports: Mapping[str, Evidence],
) -> list[Outcome]:
    """The outcomes; one that rests on a judge who has not passed is inconclusive, whatever it was."""

    @cache
    def doubt(step: str) -> tuple[str, str]:
        blocking = believed.about(step, every)
        found = [_outcome(one, reports, set())[0] for one in blocking]
        return believed.doubt(
            step, blocking, {one.rule: believed.Said(one.outcome, one.reason, one.remedy) for one in found}
        )

    made = []
    for outcome, raw in zip(outcomes, obligations, strict=True):
        step = str(raw.get("judged_by", "")).removeprefix("step:")
        why, remedy = doubt(step) if step and outcome.outcome in ("pass", "fail") else ("", "")
        if why:
            blocks = outcome.mode == "block"
            outcome = replace(outcome, outcome="inconclusive", blocks=blocks, reason=why, remedy=remedy)
        made.append(outcome)
    return made


def _relaxed(outcome: Outcome, as_of: str | None, release: bool) -> dict[str, Any]:
    """What is different of an outcome that would block, and does not yet."""
    day = outcome.effective_on
    later = day if day and as_of is not None and as_of < f"{day}T00:00:00Z" else ""
    waits = later or ("release" if outcome.phase == "release" and not release else "")
    if not waits or not outcome.blocks:
        return {}
    said = f"blocks from {later} on" if later else "blocks where it is delivered"
    return {"blocks": False, "advisory": f"until {waits}", "reason": f"{outcome.reason} (advisory: {said})"}


def _amounts_to(outcomes: Iterable[Outcome]) -> tuple[str, int]:
    """The word and the exit code (plan-apply-policy.md 7.3): 3 before 2 before 1 before 7."""
    every = list(outcomes)
    blocking = [outcome for outcome in every if outcome.blocks]
    # what a plan says of itself, or a machine of a step that begins, is no evidence of anything that was made
    made = [one for one in every if one.phase not in BEFORE]
    if not any((one.waiver["was"] if one.waiver else one.outcome) in EVALUATED for one in made):
        return "NOTHING_EVALUATED", 3
    if not blocking:
        return "WAIVED" if any(outcome.waiver for outcome in every) else "PASS", 0
    if all(outcome.waivable for outcome in blocking):
        return "WAIVER_REQUIRED", 7
    if any(outcome.outcome == "error" for outcome in blocking):
        return "FAIL", 2
    if any(outcome.outcome == "fail" for outcome in blocking):
        return "FAIL", 1
    return "INCONCLUSIVE", 1


def _outcome(
    raw: Mapping[str, Any], reports: Mapping[str, Evidence], seen: set[tuple[str, str]]
) -> tuple[Outcome, Judged | None]:
    """What became of an obligation, and what its check found; None of a rule that is skipped."""
    pin = digest.of_value(dict(raw), "kc.obligation.v1")
    try:
        obligation = Obligation.model_validate(dict(raw))
    except ValidationError as error:
        judged = broken(f"the obligation is malformed: {first_problem(error)}")
        return _made(_unreadable(raw), judged, pin), judged
    key = (obligation.rule, obligation.step)
    if key in seen:
        judged = broken("the same obligation stands twice")
        return _made(obligation, judged, pin), judged
    seen.add(key)
    if obligation.mode == "skip":
        return _made(obligation, None, pin), None
    judged = _judged(obligation, reports)
    made = _made(obligation, judged, pin)
    if made.outcome != "pass":
        made = replace(made, counterfactual=_otherwise(raw, made, reports))
    return made, judged


def _otherwise(raw: Mapping[str, Any], made: Outcome, reports: Mapping[str, Evidence]) -> str:
    """What would have to be different for it to pass."""
    found = reports.get(made.step)
    node = None if found is None else counterfactual.at(found.report, made.pointer)
    said = {"outcome": made.outcome, "reason": made.reason, "threshold": made.threshold}
    return counterfactual.of(raw, said, node)


def _unreadable(raw: Mapping[str, Any]) -> Obligation:
    """Stands in for an obligation that cannot be read: it blocks."""
    return Obligation.model_construct(
        rule=str(raw.get("rule", "?")),
        pack=str(raw.get("pack", "?")),
        title="",
        mode="block",
        report=str(raw.get("report", "?")),
        source=str(raw.get("from", "step:?")),
        kind="?",
        params={},
        expect=None,
        remedy="re-plan, so that the obligations are written again",
        reason="",
    )


def _made(obligation: Obligation, judged: Judged | None, pin: str) -> Outcome:
    word = "skipped" if judged is None else judged.word
    shown = judged or lacking(f"the pack skips this rule: {obligation.reason}")
    return Outcome(
        rule=obligation.rule,
        pack=obligation.pack,
        title=obligation.title,
        report=obligation.report,
        step=obligation.step,
        mode=obligation.mode,
        outcome=word,
        blocks=obligation.mode == "block" and word != "pass",
        reason=shown.reason,
        remedy="" if word == "pass" else obligation.remedy,
        pointer=shown.pointer,
        observed=shown.observed,
        threshold=shown.threshold,
        distance=shown.distance,
        matches=shown.matches,
        obligation=pin,
        phase=obligation.phase,
        effective_on=obligation.effective_on,
    )


def _judged(obligation: Obligation, reports: Mapping[str, Evidence]) -> Judged:
    report = _read(obligation.step, obligation.report, reports)
    if isinstance(report, Judged):
        return report
    name, _, version = obligation.kind.partition("@")
    if name not in kinds.names():
        return broken(f"no kind of check is called `{name}`")
    kind = kinds.load(name)
    if version != str(kind.version):
        return broken(f"the plan was made for `{obligation.kind}`; this is `{name}@{kind.version}`")
    if not kind.sees_forged and report["environment"]["forged"] is not False:
        return lacking("the report is forged: nothing was measured", "/environment/forged")
    try:
        params = kind.params.model_validate(obligation.params)
    except ValidationError as error:
        return broken(f"the parameters of the rule are malformed: {first_problem(error)}")
    second = kind.other(params)
    if bool(second) != bool(obligation.against):
        return broken("the rule compares two reports and the plan names one, or the other way round")
    if not second:
        return kind.judge(params, report, obligation.expect, None)
    other = _read(obligation.against.removeprefix("step:"), second, reports)
    if isinstance(other, Judged):
        return replace(other, pointer="")
    if other["environment"]["forged"] is not False:
        return lacking(f"the report of `{other['step']}` is forged: nothing was measured")
    return kind.judge(params, report, obligation.expect, other)


def _read(step: str, kind: str, reports: Mapping[str, Evidence]) -> Mapping[str, Any] | Judged:
    """The report of a step, which is of this kind; or why there is none to be judged."""
    found = reports.get(step)
    if found is None and kind == START:
        name = step.removeprefix(start_of(""))
        old = f"or one of before that was written down (`kcompiler apply SPEC --force {name}` begins it anew)"
        return lacking(f"nothing says how `{name}` began: it has no result, {old}")
    if found is None:
        return lacking(f"step `{step}` has given no report")
    report = found.report
    if report is None:
        return broken(f"the report of `{step}` is no evidence: {found.problem}")
    if report["kind"] != kind:
        return broken(f"the report is of kind `{report['kind']}`, not `{kind}`", "/kind")
    if report["step"] != step:
        return broken(f"the report was made by step `{report['step']}`, not `{step}`", "/step")
    return report


def gate_files(
    paths: Iterable[Path],
    obligations: Sequence[Mapping[str, Any]],
    *,
    as_of: str | None = None,
    lock: str | None = None,
    only_given: bool = False,
    release: bool = False,
    waivers: waiver.Waivers = waiver.NONE,
    own: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Verdict:
    """The verdict over report files: each is matched by the `step` it names, else by its file name. `own` are the
    reports that the plan makes of itself; no file stands in for one.

    Every obligation counts, so that a report left out blocks; with `only_given` just those of the steps that were
    given. Two files for one step are evidence for neither. A file that belongs to no step of the plan could stand for
    any of them: then nothing is left out. Raises OSError for a file that cannot be read.
    """
    given: dict[str, bytes] = {}
    for path in paths:
        data = path.read_bytes()
        found = evidence.read(data).report
        step = str(found["step"]) if found is not None else path.stem
        given[step] = b"" if step in given else data
    strays = set(given) - set(map(_source, obligations))
    chosen = [raw for raw in obligations if _source(raw) in {*given, *own} or strays or not only_given]
    return judge({**given, **own}, chosen, as_of=as_of, lock=lock, every=obligations, release=release, waivers=waivers)


def _source(raw: Mapping[str, Any]) -> str:
    """The step whose report an obligation is about."""
    return str(raw.get("from", "")).removeprefix("step:")
