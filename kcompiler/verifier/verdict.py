"""Reports × the obligations of a lock → one word for each, and the verdict. Standard library only.

What is not read here (an unknown kind of check, a formula, a keyword of a schema) is `not_recomputed`: no pass, and no
agreement with what is recorded.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from kcompiler.verifier import again, cel, facts, kinds, laws, waivers
from kcompiler.verifier.reading import digest_of, digest_of_bytes, digest_of_files, first, strict, text_at
from kcompiler.verifier.said import Said
from kcompiler.verifier.shaped import NotKnown, Shapes

NOT_RECOMPUTED = "not_recomputed"
WORDS = ("pass", "fail", "waived", "inconclusive", "not_evaluated", "skipped", "error")
EVALUATED = ("pass", "fail", "inconclusive")
RUN = "apply"
_MOST_BYTES = 16777216
_MOST_CELLS = 4096
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\Z")
_OTHER_MODEL = (
    "training",
    "teacher.import",
    "teacher.restriction",
    "teacher.rounding",
    "teacher.signals",
    "student.cut",
    "student.migration",
)
_SHARED = ("dataset", "tool_registry", "tokenizer", "prompt_wrapper")
_PORTS = (("dataset", "dataset"), ("tokenizer", "tokenizer"), ("model", "checkpoint"))
Report = Mapping[str, Any]


class Evidence(NamedTuple):
    """A report and its digests; `report` is None where it is no evidence, `unknown` where that cannot be said here."""

    digest: str
    artifact: str
    report: Optional[Report]
    problem: str = ""
    unknown: str = ""
    #: name and digest of each schema that it was checked against
    schemas: Tuple[Tuple[str, str], ...] = ()


class Outcome(NamedTuple):
    """What became of one obligation."""

    rule: str
    step: str
    mode: str
    word: str
    blocks: bool
    #: it blocks, and by the lock a waiver could let it through
    waivable: bool = False
    #: of one that is waived, what the verdict says of the waiver
    waiver: Optional[Dict[str, str]] = None
    #: it is about what the plan says of itself, or a step that begins, and no evidence of anything that was made
    early: bool = False
    #: why what would block does not yet: `until 2026-12-01`, `until release`
    advisory: str = ""
    #: it rests on a judge who is not believed
    doubted: bool = False
    #: nobody can read the obligation
    malformed: bool = False


class Verdict(NamedTuple):
    """All outcomes, and what they amount to; `word` is "" where something was not recomputed."""

    word: str
    code: int
    counts: Dict[str, int]
    outcomes: Tuple[Outcome, ...]
    unknown: Tuple[str, ...]
    #: every waiver that was at hand, with what it has excused
    waivers: Tuple[Dict[str, Any], ...] = ()


class Schemas:
    """The published schemas by name (`report.run`), as parsed."""

    def __init__(self, schemas: Mapping[str, Any], pins: Mapping[str, str]) -> None:
        self.of, self.pins = schemas, pins
        self.shapes = Shapes(schemas)

    def evidence(self, data: bytes) -> Evidence:
        """A report's bytes, read and checked."""
        pin, artifact = digest_of_bytes(data), digest_of_files({"report.json": data})
        try:
            if len(data) > _MOST_BYTES or not data:
                raise ValueError(f"{len(data)} bytes")
            content = strict(data)
            problem = self._problem(content)
        except (NotKnown, laws.UnknownLaw) as why:
            return Evidence(pin, artifact, None, unknown=str(why))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as why:
            return Evidence(pin, artifact, None, f"it cannot be read: {why}")
        if problem:
            return Evidence(pin, artifact, None, problem)
        names = dict.fromkeys(("report", self._name(content)))
        return Evidence(pin, artifact, content, schemas=tuple((name, self.pins[name]) for name in names))

    def _name(self, content: Mapping[str, Any]) -> str:
        """The schema that binds a report: of its kind, else of all reports, such as one that says it is forged."""
        name = f"report.{content['kind']}"
        return name if name in self.of and text_at(content, "environment", "forged") is not True else "report"

    def _problem(self, content: Any) -> str:
        kind = content.get("kind") if isinstance(content, dict) else None
        if not isinstance(kind, str) or not _KIND.match(kind):
            return "it names no report kind"
        name = self._name(content)
        wrong = self.shapes.wrong(content, self.of[name])
        if wrong:
            return f"it does not satisfy schemas/{name}.schema.json at {wrong}"
        wrong = "" if name == "report" else laws.contradiction(content, self.of[name])
        return f"it contradicts itself: {wrong}" if wrong else ""


# --- reports of one run tell one story


def conflicts(found: Mapping[str, Evidence]) -> Dict[str, str]:
    """Step → why its report contradicts itself, or another."""
    reports = {step: one.report for step, one in sorted(found.items()) if one.report is not None}
    wrong: Dict[str, str] = {}
    for step, report in reports.items():
        why = first(_against_itself(report)) or first(_against_run(step, report, reports.get(RUN)))
        if why:
            wrong[step] = why
    for cell in _cells(list(reports)):
        of_cell = {step: reports[step] for step in cell}
        for step, why in _disagreements(of_cell):
            wrong.setdefault(step, why)
        for step, report in of_cell.items():
            if again.of_another(report, of_cell):
                wrong.setdefault(step, "it is no comparison with the benchmark that stands beside it")
    return wrong


def unbound(found: Mapping[str, Evidence], plan: str) -> Dict[str, str]:
    """Step → why its report is not known to belong to the plan with this digest; what the plan says of itself does."""
    found = {step: one for step, one in found.items() if step not in facts.KINDS}
    run = found[RUN].report if RUN in found else None
    if run is None or run["subject"].get("plan", "") != plan:
        return dict.fromkeys(found, "no report on a run of this plan says that it belongs there")
    given: Dict[str, Set[str]] = {}
    for port, value in run["subject"].items():
        parts = port.split(".")
        for count in range(1, len(parts) + 1):
            given.setdefault(".".join(parts[:count]), set()).add(value)
    return {
        step: "it is not the report that the run rests on"
        for step, one in found.items()
        if step != RUN and one.report is not None and one.artifact not in given.get(step, ())
    }


def _hex(digest: Any) -> str:
    text = str(digest)
    return text[len("sha256:") :] if text.startswith("sha256:") else text


def _judge_of(report: Report) -> Optional[str]:
    taken = report["subject"].get("takes.judge")
    return report["fingerprints"].get("judge") if taken is None else _hex(taken)


def _about_judge(report: Report) -> bool:
    return bool(report["kind"] == "eval.judge" and _judge_of(report) is not None)


def _against_itself(report: Report) -> Iterator[str]:
    mine, served = _judge_of(report), report["fingerprints"].get("judge")
    if _about_judge(report) and report["fingerprints"].get("model") != mine:
        yield "its model is not the judge it was made from"
    if served is not None and (served != mine or served != _served(report["environment"].get("judge"))):
        yield "its judge is not the model behind a server that its environment names"
    if "takes.standing" in report["subject"] and mine is None:
        yield "it rests on a judge, and does not say on which"
    for name, port in _PORTS:
        claimed = report["fingerprints"].get(name)
        taken = report["subject"].get(f"takes.{port}") or report["subject"].get(f"gives.{port}")
        if isinstance(claimed, str) and isinstance(taken, str) and claimed != _hex(taken):
            yield f"its fingerprint `{name}` is not the {port} it was made from"


def _served(which: Any) -> str:
    keys = {"base_url", "model", "served_as"}
    if not isinstance(which, dict) or which.keys() != keys or not isinstance(which["base_url"], str):
        return ""
    return _hex(digest_of({**which, "base_url": which["base_url"].rstrip("/")}, "kc.judge.v1"))


def _against_run(step: str, report: Report, run: Optional[Report]) -> Iterator[str]:
    for port, value in report["subject"].items() if run is not None and step != RUN else ():
        if port.startswith("gives."):
            used = run["subject"].get(f"{step}.{port[len('gives.') :]}") if run is not None else None
            if used is not None and used != value:
                yield "it is about another artifact than the run used"


def _cells(steps: Sequence[str]) -> List[List[str]]:
    """Steps whose reports are about one student: those that no label of a sweep sets apart."""
    labels = {}
    for step in steps:
        pairs = [pair.split("=", 1) for pair in step.partition("@")[2].split(",") if "=" in pair]
        labels[step] = {pair[0]: pair[1] for pair in pairs}
    values: Dict[str, Dict[str, None]] = {}
    for own in labels.values():
        for name, value in own.items():
            values.setdefault(name, {})[value] = None
    if math.prod(map(len, values.values())) > _MOST_CELLS:
        return [list(labels)]
    cells = (dict(zip(values, chosen)) for chosen in itertools.product(*values.values()))
    return [[step for step, own in labels.items() if own.items() <= cell.items()] for cell in cells]


def _disagreements(reports: Mapping[str, Report]) -> Iterator[Tuple[str, str]]:
    for name in (*_SHARED, "model", "judge"):
        claims: Dict[str, List[str]] = {}
        for step, report in reports.items():
            value = report["fingerprints"].get(name)
            if name == "judge":
                value = _judge_of(report)
            elif name in ("tokenizer", "prompt_wrapper", "model") and _about_judge(report):
                continue
            if isinstance(value, str) and not (name == "model" and report["kind"].startswith(_OTHER_MODEL)):
                claims.setdefault(value, []).append(step)
        if len(claims) > 1:
            for step in (one for steps in claims.values() for one in steps):
                yield step, f"the reports speak of different things: {name}"


# --- obligations


_FIELDS: Mapping[str, type] = {
    "rule": str,
    "pack": str,
    "title": str,
    "mode": str,
    "reason": str,
    "report": str,
    "from": str,
    "against": str,
    "judged_by": str,
    "kind": str,
    "params": dict,
    "remedy": str,
    "phase": str,
    "effective_on": str,
    "waivable": dict,
}


def _malformed(raw: Mapping[str, Any]) -> bool:
    needed = ("rule", "pack", "mode", "report", "from", "kind", "params")
    if any(name not in raw for name in needed) or any(name not in _FIELDS and name != "expect" for name in raw):
        return True
    if any(name in raw and not isinstance(raw[name], kind) for name, kind in _FIELDS.items()):
        return True
    if "waivable" in raw and not _are_terms(raw["waivable"]):
        return True
    day = raw.get("effective_on", "")
    named = all(raw[name] for name in ("rule", "pack", "report")) and re.match(r"step:.+$", raw["from"])
    others = all(not raw.get(name) or raw[name].startswith("step:") for name in ("against", "judged_by"))
    known = raw["mode"] in ("block", "warn", "skip") and raw.get("phase", "report") in (
        *facts.PHASES,
        "report",
        "release",
    )
    dated = not day or re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}$", day)
    skips = (raw["mode"] == "skip") == bool(raw.get("reason", ""))
    return not (named and others and known and dated and skips and re.match(r"[a-z_]+@[0-9]+$", raw["kind"]))


def _are_terms(said: Mapping[str, Any]) -> bool:
    """Whether it says on which terms a waiver lets a rule through."""
    outcomes, approvers = said.get("outcomes"), said.get("approvers")
    counts = all(type(said.get(name)) is int and said[name] >= 1 for name in ("min", "max_days"))
    known = isinstance(outcomes, list) and outcomes and set(outcomes) <= {"fail", "inconclusive", "not_evaluated"}
    named = isinstance(approvers, dict) and approvers and all(isinstance(one, str) for one in approvers.values())
    ends = said.get("until", {})
    ended = isinstance(ends, dict) and all(isinstance(one, str) for one in ends.values())
    keys = said.keys() - {"until"}
    return bool(counts and known and named and ended) and keys == {"outcomes", "min", "max_days", "approvers"}


def _step(reference: Any) -> str:
    text = str(reference)
    return text[len("step:") :] if text.startswith("step:") else text


def _read(step: str, kind: str, found: Mapping[str, Evidence]) -> Report:
    """The report of a step, which is of this kind. Raises kinds.Stop."""
    one = found.get(step)
    if one is not None and one.unknown:
        raise kinds.Stop(NOT_RECOMPUTED)
    if one is None:
        raise kinds.Stop("not_evaluated")
    if one.report is None or one.report["kind"] != kind or one.report["step"] != step:
        raise kinds.Stop("error")
    return one.report


def _said(raw: Mapping[str, Any], found: Mapping[str, Evidence]) -> Said:
    try:
        report = _read(_step(raw["from"]), raw["report"], found)
        if raw["kind"] not in kinds.KINDS:
            return Said(NOT_RECOMPUTED)
        if raw["kind"] not in kinds.SEES_FORGED and report["environment"]["forged"] is not False:
            return Said("not_evaluated")
        second, other = str(raw["params"].get("of") or "") if raw["kind"] in _OF_TWO else "", None
        if bool(second) != bool(raw.get("against", "")):
            return Said("error")
        if second:
            other = _read(_step(raw["against"]), second, found)
            if other["environment"]["forged"] is not False:
                return Said("not_evaluated")
        return kinds.outcome(raw["kind"], raw["params"], report, raw.get("expect"), other)
    except kinds.Stop as stop:
        return Said(stop.word)
    except cel.NotRead:
        return Said(NOT_RECOMPUTED)


#: kinds that may read a second report, of the kind that their parameter `of` names
_OF_TWO = ("assert@1", "relative@1")


def _outcome(raw: Mapping[str, Any], found: Mapping[str, Evidence], seen: Set[Tuple[str, str]]) -> Tuple[Outcome, Said]:
    step, rule = _step(raw.get("from", "step:?")), str(raw.get("rule", "?"))
    if _malformed(raw) or (rule, step) in seen:
        mode = "block" if _malformed(raw) else raw["mode"]
        return Outcome(rule, step, mode, "error", mode == "block", malformed=_malformed(raw)), Said("error")
    seen.add((rule, step))
    said = Said("skipped") if raw["mode"] == "skip" else _said(raw, found)
    return Outcome(rule, step, raw["mode"], said.word, raw["mode"] == "block" and said.word != "pass"), said


def _doubted(judge: str, obligations: Sequence[Mapping[str, Any]], found: Mapping[str, Evidence]) -> str:
    """What a judge is worth whose report a step makes: "" where it is believed, else the word for what rests on it."""
    blocking = [one for one in obligations if one.get("from") == f"step:{judge}" and one.get("mode") == "block"]
    words = [_outcome(one, found, set())[0].word for one in blocking]
    if NOT_RECOMPUTED in words:
        return NOT_RECOMPUTED
    return "" if any(map(_calibrates, blocking)) and all(word == "pass" for word in words) else "inconclusive"


def _calibrates(one: Mapping[str, Any]) -> bool:
    params = one.get("params")
    if not isinstance(params, dict) or not str(one.get("kind", "")).startswith("bound@"):
        return False
    metric = params.get("metric")
    texts = metric if isinstance(metric, list) else [metric]
    above = params.get("op") in ("<=", "<") and params.get("on", "point") in ("point", "high")
    bounds = above and any(text in ("calibration.student", "calibration.*") for text in texts)
    written = params.get("threshold")
    try:
        return (
            bounds and float(str(one.get("expect") if written is None else written)) < 0.25
        )  # what a judge errs by that is always sure
    except ValueError:
        return False


def verdict(
    found: Mapping[str, Evidence],
    obligations: Sequence[Mapping[str, Any]],
    plan: Optional[str],
    as_of: Optional[str],
    held: waivers.Waivers = waivers.NONE,
) -> Verdict:
    """What the judge must have said at `as_of` (None where no rule has a day and no waiver was at hand)."""
    read = dict(found)
    strangers = {} if plan is None else unbound(read, plan)
    for step, why in {**conflicts(read), **strangers}.items():
        read[step] = read[step]._replace(report=None, problem=why)
    seen: Set[Tuple[str, str]] = set()
    doubts: Dict[str, str] = {}
    desk = waivers.Desk(held, as_of)
    outcomes = []
    for raw in obligations:
        (one, said), judge = _outcome(raw, read, seen), _step(raw.get("judged_by", ""))
        if judge and one.word in ("pass", "fail"):
            if judge not in doubts:
                doubts[judge] = _doubted(judge, obligations, read)
            if doubts[judge]:
                one = one._replace(word=doubts[judge], blocks=one.mode == "block", doubted=True)
        day = str(raw.get("effective_on", ""))
        waits = bool(day) and as_of is not None and as_of < f"{day}T00:00:00Z"
        if one.blocks and (waits or raw.get("phase", "report") == "release"):
            one = one._replace(blocks=False, advisory=f"until {day if waits else 'release'}")
        if not _malformed(raw):
            one = one._replace(early=raw.get("phase", "report") in facts.PHASES)
        outcomes.append(_excused(one, said, raw, desk, read) if one.blocks else one)
    counts = {word: sum(one.word == word for one in outcomes) for word in WORDS}
    unknown = [f"rule `{one.rule}` on step `{one.step}`" for one in outcomes if one.word == NOT_RECOMPUTED]
    word, code = ("", 2) if unknown else _amounts_to(outcomes)
    return Verdict(word, code, counts, tuple(outcomes), tuple(unknown), tuple(desk.told()))


def _excused(
    one: Outcome, said: Said, raw: Mapping[str, Any], desk: waivers.Desk, read: Mapping[str, Evidence]
) -> Outcome:
    """What blocks, where a waiver lets it through or could."""
    asked = raw.get("waivable")
    terms = asked if isinstance(asked, dict) and _are_terms(asked) else None
    report = read[one.step].digest if one.step in read else ""
    given = desk.ask(waivers.Blocking(one.rule, one.step, report, one.word, said), terms)
    if given is not None:
        return one._replace(word="waived", blocks=False, waiver=given)
    return one._replace(waivable=terms is not None and one.word in terms["outcomes"])


def _amounts_to(outcomes: Sequence[Outcome]) -> Tuple[str, int]:
    blocking = {one.word for one in outcomes if one.blocks}
    made = [one for one in outcomes if not one.early]
    if not any((one.waiver["was"] if one.waiver else one.word) in EVALUATED for one in made):
        return "NOTHING_EVALUATED", 3
    if not blocking:
        return "WAIVED" if any(one.waiver for one in outcomes) else "PASS", 0
    if all(one.waivable for one in outcomes if one.blocks):
        return "WAIVER_REQUIRED", 7
    if "error" in blocking:
        return "FAIL", 2
    return ("FAIL", 1) if "fail" in blocking else ("INCONCLUSIVE", 1)
