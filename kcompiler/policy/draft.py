"""What somebody wants asked of one datum → a rule as text, and cases that prove it: passing, failing, without it.

The reports in the cases are those of shipped ones, or differ from one in a single datum, so that every case is
evidence: a report that contradicts itself would prove nothing, and the judge refuses it.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kcompiler.policy import cases, examples, kinds, path, phases
from kcompiler.policy.cases import Case, Decided, Judge, Wanted
from kcompiler.policy.datum import fraction
from kcompiler.policy.edges import Change, changes
from kcompiler.policy.kind import text_of
from kcompiler.policy.load import LoadedRule

#: example reports that are tried as they are; those of which one datum is changed, and how often: one that follows from
#: others can hardly be changed alone
_REPORTS, _CHANGED, _CHANGES = 40, 3, 24
#: failing cases, each decided by another datum of the rule
_FAILING = 4
#: what stands in a new rule until its author answers it
QUESTION = "Say here where the number comes from"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a rule is to ask: the datum at `metric` of reports of `kind`, compared with `threshold`."""

    rule: str
    kind: str
    metric: str
    op: str
    threshold: str
    unit: str
    #: which end of the interval is compared; "point" where there is none
    on: str = "point"
    since: int = 1

    @property
    def title(self) -> str:
        return f"{self.metric} of {self.kind} is {_WORDS[self.op]} {self.threshold}"

    def text(self) -> str:
        """`rule.yaml`. What only its author can know stands there as a question."""
        lines = [
            f"# Why {self.threshold}? {QUESTION}: a measurement, a promise, a standard.",
            *([] if self.on != "point" or self.unit != "ratio" or _exact(self) else [_POINT]),
            f"id: {self.rule}",
            f"title: {json.dumps(self.title, ensure_ascii=False)}",
            f"on: {self.kind}",
            *([f"phase: {phases.OWN[self.kind]}"] if self.kind in phases.OWN else []),
            "mode: block",
            "kind: bound",
            "params:",
            f"  metric: {json.dumps(self.metric)}",
            f"  op: {json.dumps(self.op)}",
            f"  threshold: {json.dumps(self.threshold)}",
            f"  unit: {json.dumps(self.unit)}",
            *([f"  on: {self.on}"] if self.on != "point" else []),
            *(["  need: {tag: measured, min_n: 20}"] if self.unit == "ratio" else []),
            'remedy: "say what helps when this rule blocks"',
            f"since: {self.since}",
        ]
        return "\n".join(lines) + "\n"


_WORDS = {">=": "at least", "<=": "at most", ">": "above", "<": "below", "==": "exactly"}
_POINT = "# The point: the report has no interval here."


def _exact(asked: Asked) -> bool:
    return asked.threshold in ("0", "1")


def named(metric: str) -> str:
    """The id of a rule about this datum: `runners.student.exact_call` → `student-exact-call`."""
    words = re.findall(r"[a-z0-9]+", metric.lower())
    return "-".join(words[-3:]) or "rule"


def end_of(kind: str, metric: str, op: str) -> str:
    """Which end of the interval a rule about this datum can compare: the one against it, where reports have any."""
    end = {">=": "low", ">": "low", "<=": "high", "<": "high"}.get(op, "point")
    for report in examples.of(kind)[:_REPORTS]:
        found = [one.value for one in path.walk(path.parse(metric), report["data"]) if not one.missing]
        if found:
            return end if all(isinstance(one, Mapping) and end in one for one in found) else "point"
    return "point"


def seen(kind: str, metric: str) -> str:
    """What the shipped examples of a report have at a path, for whoever looks for a threshold; "" for nothing."""
    found = set()
    for one in examples.of(kind)[:_REPORTS]:
        places = path.walk(path.parse(metric), examples.called(one, kind, [metric])["data"])
        found |= {fraction(match.value.get("value")) for match in places if isinstance(match.value, Mapping)}
    known = sorted(one for one in found if one is not None)
    return f"examples have {text_of(known[0])} to {text_of(known[-1])} there" if known else "no example has it"


@dataclass
class _Search:
    loaded: LoadedRule
    judge: Judge
    found: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def decided(self, report: Mapping[str, Any] | None) -> Decided:
        case = Case(report=None if report is None else dict(report), expect=Wanted(outcome="pass"))
        return self.judge(cases.given(case), [cases.obligation(self.loaded, case)]).outcomes[0]

    def ended(self, word: str) -> Iterator[dict[str, Any]]:
        """Reports that the rule decides so. The check alone is asked first: a judgement is much dearer."""
        kind = kinds.load(self.loaded.rule.kind)
        for report, change in self.tried():
            made = _with(report, change)
            if kind.judge(self.loaded.params, made, None, None).word == word and self.decided(made).outcome == word:
                yield made

    def tried(self) -> Iterator[tuple[Mapping[str, Any], Change]]:
        """Whole reports, then each with one datum changed."""
        kind = self.loaded.rule.on
        texts = [one.text for one in kinds.load(self.loaded.rule.kind).reads(self.loaded.params) if not one.of]
        whole = [examples.called(one, kind, texts) for one in examples.of(kind)]
        yield from ((report, Change()) for report in whole)
        for report in whole[:_CHANGED]:
            yield from ((report, one) for one in self.changed(report))

    def changed(self, report: Mapping[str, Any]) -> Iterator[Change]:
        case = Case(report=dict(report), expect=Wanted(outcome="pass"))
        yield from islice(changes(self.loaded, case), _CHANGES)


def _with(report: Mapping[str, Any], change: Change) -> dict[str, Any]:
    made = copy.deepcopy(dict(report))
    cases.apply(made, change.change, change.remove)
    return made


def drafted(loaded: LoadedRule, judge: Judge) -> dict[str, str]:
    """Name of a case file → its text, as far as one is found: `missing.json` always is, for no report is missing.

    Raises ValueError where no example of the kind passes: the rule cannot be proven by what is shipped.
    """
    search = _Search(loaded, judge)
    right = next(search.ended("pass"), None)
    if right is None:
        raise ValueError(f"no example of a report `{loaded.rule.on}` passes this rule: look at the threshold")
    made = {"pass.json": _whole(search.decided(right), right)}
    for change in search.changed(right):
        said = search.decided(_with(right, change))
        word = said.outcome if said.outcome in ("pass", "fail") else "missing"
        if "is no evidence" in said.reason or word == "pass" or f"{word}.json" in made:
            continue
        wanted = {"outcome": said.outcome, **({"blocks": said.blocks} if said.outcome == "fail" else {})}
        told = {"expect": wanted, "change": change.change, "remove": change.remove}
        made[f"{word}.json"] = cases.text(told)
    made |= _failing(search, "fail.json" not in made)
    made.setdefault("missing.json", '{"expect": {"outcome": "not_evaluated"}, "report": null}\n')
    return made


def completed(loaded: LoadedRule, judge: Judge) -> list[str]:
    """Writes the cases of a rule that are not there, beside it, and returns their names: none where it has the three
    that every rule has. Raises ValueError where none can be drafted, OSError."""
    if all((loaded.folder / f"{name}.json").exists() for name in cases.CASES):
        return []
    if loaded.rule.kind != "bound" or loaded.rule.expect is not None:
        raise ValueError("only cases of a `bound` with a threshold of its own can be drafted: write them by hand")
    absent = {name: text for name, text in drafted(loaded, judge).items() if not (loaded.folder / name).exists()}
    for name, text in absent.items():
        (loaded.folder / name).write_text(text, encoding="utf-8")
    return [name.removesuffix(".json") for name in absent]


def _failing(search: _Search, first: bool) -> dict[str, str]:
    """Whole reports that fail, each by another datum: a slip in one of several paths shows where that one decides."""
    params = search.loaded.params.model_dump(mode="json", by_alias=True)
    paths = params["metric"]
    made: dict[str, str] = {}
    if not first and len(paths) == 1:
        return made
    seen: set[str] = set()
    for report in search.ended("fail"):
        said = search.decided(report)
        if said.pointer in seen:
            continue
        seen.add(said.pointer)
        name = "fail.json" if first and not made else f"fail-{len(seen)}.json"
        made[name] = _whole(said, report)
        if len(made) == min(len(paths), _FAILING):
            break
    return made


def _whole(said: Decided, report: Mapping[str, Any]) -> str:
    expect = {"outcome": said.outcome, **({"blocks": said.blocks} if said.outcome == "fail" else {})}
    return json.dumps({"expect": expect, "report": report}, indent=1, ensure_ascii=False) + "\n"
