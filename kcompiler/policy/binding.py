"""Reports of one judgement → which of them cannot be about the same run, and why.

A report alone can only claim what it was made from. Together they must tell one story: the same dataset, registry,
tokenizer and prompt wrapper everywhere, one student, and the artifacts that the report on the run names. A report that
was swapped in from another model or dataset contradicts the others, and then none that it contradicts is evidence.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kcompiler.policy.evidence import Evidence
from kcompiler.policy.laws import remade
from kcompiler.policy.obligation import EARLY
from runtime.contract.hosted import fingerprint, judge
from runtime.contract.questioned import JUDGE, STANDING
from runtime.contract.report import hex_of

#: the report on the run, whose subject names every artifact in use as `<step>.<port>`
RUN = "apply"
#: what every report of a run shares
_SHARED = ("dataset", "tool_registry", "tokenizer", "prompt_wrapper")
#: kinds whose `model` is not the student: a teacher's, a student's start, or each training's own
_OTHER_MODEL = (
    "training",
    "teacher.import",
    "teacher.restriction",
    "teacher.rounding",
    "teacher.signals",
    "student.cut",
    "student.migration",
)
#: fingerprint → the port whose artifact it is the digest of
_PORT = {"dataset": "dataset", "tokenizer": "tokenizer", "model": "checkpoint"}

#: what the report on a judge says of the judge, which every report that it is asked for took as well
_OF_THE_JUDGE = ("tokenizer", "prompt_wrapper", "model")

#: far more than any sweep that the compiler accepts
_MOST_CELLS = 4096

Report = Mapping[str, Any]


def conflicts(found: Mapping[str, Evidence]) -> dict[str, str]:
    """Step → why its report contradicts itself or another; steps without a contradiction are left out."""
    reports = {step: item.report for step, item in found.items() if item.report is not None}
    wrong: dict[str, str] = {}
    for step, report in reports.items():
        reason = next(_against_itself(report), "") or next(_against_run(step, report, reports.get(RUN)), "")
        if reason:
            wrong[step] = reason
    for cell in _cells(reports):
        of_cell = {step: reports[step] for step in cell}
        for step, reason in _disagreements(of_cell).items():
            wrong.setdefault(step, reason)
        for step, report in of_cell.items():
            if reason := remade.of_another(report, of_cell):
                wrong.setdefault(step, reason)
    return wrong


def unbound(found: Mapping[str, Evidence], plan: str) -> dict[str, str]:
    """Step → why its report is not known to belong to the plan with this digest.

    A report of a step says nothing about plans, because it is reused across them. The report on the run names its plan,
    and the digest of every artifact that it rests on, reports among them. What the plan says of itself is read out of
    it by whoever asks.
    """
    found = {step: item for step, item in found.items() if step not in EARLY}
    run = found[RUN].report if RUN in found else None
    if run is None:
        return dict.fromkeys(found, "which plan it belongs to, only run.json says, and that is not given")
    named = run["subject"].get("plan", "")
    if named != plan:
        said = f"plan {hex_of(named)[:8]}…" if named else "no plan"
        return dict.fromkeys(found, f"the report on the run is about {said}, not about {hex_of(plan)[:8]}…")
    given = _given(run["subject"])
    return {
        step: "it is not the report that the run rests on"
        for step, item in found.items()
        if step != RUN and item.report is not None and item.artifact not in given.get(step, ())
    }


def _given(subject: Mapping[str, str]) -> dict[str, set[str]]:
    """Name of a report → digests of what its step gave: that of a report that is not the only one of its step ends with
    its port."""
    found: dict[str, set[str]] = {}
    for port, value in subject.items():
        parts = port.split(".")
        for count in range(1, len(parts) + 1):
            found.setdefault(".".join(parts[:count]), set()).add(value)
    return found


def _cells(steps: Iterable[str]) -> list[list[str]]:
    """Steps whose reports are about one student. In a sweep an id ends with what its step depends on
    (`@recipe=int8,seed=2`); a step belongs to every cell that it does not contradict. Without a sweep there is one."""
    labels = {step: dict(pair.split("=", 1) for pair in _pairs(step)) for step in steps}
    values: dict[str, dict[str, None]] = {}
    for own in labels.values():
        for name, value in own.items():
            values.setdefault(name, {})[value] = None
    if math.prod(len(one) for one in values.values()) > _MOST_CELLS:
        # no plan of ours: then everything has to agree with everything
        return [list(labels)]
    cells = (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))
    return [[step for step, own in labels.items() if own.items() <= cell.items()] for cell in cells]


def _pairs(step: str) -> list[str]:
    return [pair for pair in step.partition("@")[2].split(",") if "=" in pair]


def _disagreements(reports: Mapping[str, Report]) -> dict[str, str]:
    wrong: dict[str, str] = {}
    for name in (*_SHARED, "model", JUDGE):
        claims: dict[str, list[str]] = {}
        for step, report in reports.items():
            value = report["fingerprints"].get(name)
            if name == JUDGE:
                value = _judge(report)
            elif name in _OF_THE_JUDGE and _about_judge(report):
                continue
            if isinstance(value, str) and not (name == "model" and report["kind"].startswith(_OTHER_MODEL)):
                claims.setdefault(value, []).append(step)
        if len(claims) > 1:
            parties = "; ".join(f"{value[:8]}… by {', '.join(steps)}" for value, steps in sorted(claims.items()))
            for step in (one for steps in claims.values() for one in steps):
                wrong.setdefault(step, f"the reports speak of different things: {name} is {parties}")
    return wrong


def _judge(report: Report) -> str | None:
    """The digits of the judge whose word a report is, or that it is about: of a folder it took, or of a model behind a
    server; None of a report without one."""
    taken = report["subject"].get(f"takes.{JUDGE}")
    found: str | None = report["fingerprints"].get(JUDGE) if taken is None else hex_of(taken)
    return found


def _about_judge(report: Report) -> bool:
    """Whether it is the report on the judge of other answers, which is a model of its own with words of its own."""
    return report["kind"] == "eval.judge" and _judge(report) is not None


def _against_itself(report: Report) -> Iterator[str]:
    mine, served = _judge(report), report["fingerprints"].get(JUDGE)
    if _about_judge(report) and report["fingerprints"].get("model") != mine:
        yield "its fingerprint `model` is not the digest of the judge it was made from"
    if served is not None and (served != mine or served != _served(report["environment"].get(JUDGE))):
        yield "its fingerprint `judge` is not that of the model behind a server that its environment names"
    if f"takes.{STANDING}" in report["subject"] and mine is None:
        yield "it rests on a judge, and does not say on which"
    for name, port in _PORT.items():
        claimed = report["fingerprints"].get(name)
        taken = report["subject"].get(f"takes.{port}") or report["subject"].get(f"gives.{port}")
        if isinstance(claimed, str) and isinstance(taken, str) and claimed != hex_of(taken):
            yield f"its fingerprint `{name}` is not the digest of the {port} it was made from"


def _served(which: Any) -> str:
    """The digits of a model behind a server, by what a report says of it; "" where that is not what reports say."""
    try:
        return fingerprint(judge(**which))
    except (TypeError, AttributeError):
        return ""


def _against_run(step: str, report: Report, run: Report | None) -> Iterator[str]:
    if run is None or step == RUN:
        return
    for port, value in report["subject"].items():
        if port.startswith("gives."):
            used = run["subject"].get(f"{step}.{port.removeprefix('gives.')}")
            if used is not None and used != value:
                yield f"it is about another {port.removeprefix('gives.')} than the run used"
