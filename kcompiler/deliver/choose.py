"""Lock × committed records → which artifacts a delivery consists of, and which steps speak of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.contract.delivery import PRECISIONS

PARITY, CHECKPOINT_FILE = "coreml.parity", "training.json"
#: kind of an artifact that is the same student in another form → the report that says what it computes
FORMS: Mapping[str, str] = {"onnx": "onnx.parity", "gguf": "parity"}
#: kinds of what a step leaves that only judges
_LEFT = ("report", "items", "times")


class Undeliverable(Exception):
    """What is there is sound, and no delivery can be made of it; the text says why, `action` what to do."""

    def __init__(self, message: str, action: str) -> None:
        super().__init__(message)
        self.action = action


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The artifacts by digest; `convert` and `verify` are the ids of the steps that made and compared the package."""

    convert: str
    verify: str
    package: str
    checkpoint: str
    tokenizer: str
    #: the references of the exported program and of the checkpoint it was exported from
    program: str
    student: str
    #: what `verify` compared the package with, "" where it took none from a step
    goldens: str
    #: every step that the package is made of, and those that judged it or its checkpoint
    steps: frozenset[str]


def conversions(lock: Mapping[str, Any]) -> list[str]:
    """The steps that give a package, in the order of the lock; a sweep has several."""
    return [step["id"] for step in lock["steps"] if _port(step, "package")]


def chosen(lock: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], convert: str) -> Chosen:
    """The delivery of one conversion. Raises Undeliverable."""
    steps = {step["id"]: step for step in lock["steps"]}
    package = f"step:{convert}#{_port(steps[convert], 'package')}"
    judges = [
        step["id"]
        for step in lock["steps"]
        if package in step["takes"].values() and any(give.get("report") == PARITY for give in step["gives"].values())
    ]
    if not judges:
        raise Undeliverable(
            f"no step compares the package of `{convert}` with its checkpoint", "name a step `verify` in the spec"
        )
    program = _of(steps[convert]["takes"].values())
    export = steps[program]
    kinds = {}
    for reference in export["takes"].values():
        if kind := _kind(steps, reference):
            step, port = reference.removeprefix("step:").split("#")
            kinds[kind] = records[step]["gives"][port]["digest"]
    if missing := sorted({"checkpoint", "tokenizer"} - kinds.keys()):
        raise Undeliverable(f"`{program}` takes no {missing[0]}", "export a checkpoint with its tokenizer")
    made = _ancestors(steps, convert)
    about = {package, *(reference for step in made for reference in steps[step]["takes"].values() if step == program)}
    return Chosen(
        convert=convert,
        verify=judges[0],
        package=records[convert]["gives"][_port(steps[convert], "package")]["digest"],
        checkpoint=kinds["checkpoint"],
        tokenizer=kinds["tokenizer"],
        program=next(one for one in steps[convert]["takes"].values() if one.startswith("step:")),
        student=next(one for one in export["takes"].values() if _kind(steps, one) == "checkpoint"),
        goldens=_given(records, steps[judges[0]]["takes"].get("goldens", "")),
        steps=frozenset(made | _judging(steps, package, about)),
    )


def precisions(report: Mapping[str, Any], verdict: Mapping[str, Any], verify: str) -> Sequence[str]:
    """The variants that were compared and are gated, what ships first. Raises Undeliverable when no rule looked."""
    compared = {str(variant.get("variant")) for variant in report["data"]["variants"]}
    gates = [one for one in verdict["outcomes"] if one["step"] == verify and one["mode"] == "block"]
    if not any(map(_of_data, gates)) or any(one["outcome"] != "pass" for one in gates):
        raise Undeliverable(
            f"no blocking rule of this plan is about `{verify}`: nothing says that the packages are the checkpoint",
            "add caws/core to `policies`, then apply again",
        )
    found = [name for name in PRECISIONS if name in compared]
    if not found:
        raise Undeliverable(f"`{verify}` compared no package", "apply again")
    return found


@dataclass(frozen=True, kw_only=True)
class Form:
    """Another form of the same student: `folder` in the delivery, and why it is left out ("" where it is not)."""

    kind: str
    step: str
    artifact: str
    folder: str
    lacks: str = ""


def forms(
    lock: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    verdict: Mapping[str, Any],
    found: Chosen,
) -> list[Form]:
    """The ONNX and GGUF files of the exported program or its checkpoint, each with whether a blocking rule judged what
    it computes: what nobody compared is not handed over."""
    steps = {step["id"]: step for step in lock["steps"]}
    whose = {found.program, found.student}
    made = []
    for name, step in steps.items():
        for kind in FORMS:
            port = _port(step, kind)
            if not port or not whose & set(step["takes"].values()):
                continue
            judged = _judged(verdict, _after(steps, name), FORMS[kind])
            made.append(
                Form(
                    kind=kind,
                    step=name,
                    artifact=records[name]["gives"][port]["digest"],
                    folder=kind if kind == "onnx" else f"{kind}/{name.removeprefix(f'{kind}-')}",
                    lacks="" if judged else "no blocking rule of this plan is about what it computes",
                )
            )
    return made


def _judged(verdict: Mapping[str, Any], steps: set[str], report: str) -> bool:
    """Whether blocking rules looked at the data of such a report of these steps, and all of them passed."""
    found = [
        one["outcome"]
        for one in verdict["outcomes"]
        if one["step"] in steps and one["report"] == report and one["mode"] == "block" and _of_data(one)
    ]
    return bool(found) and all(one == "pass" for one in found)


def _of_data(outcome: Mapping[str, Any]) -> bool:
    """Rules about every report look at who made it, and at nothing it says."""
    return str(outcome["pointer"]).startswith("/data/")


def _after(steps: Mapping[str, Mapping[str, Any]], start: str) -> set[str]:
    """Every step that takes what a step gave, or what such a step gave."""
    found = {start}
    for name, step in steps.items():  # in the order of the lock: what is taken was given before
        if any(_of([one]) in found for one in step["takes"].values() if one.startswith("step:")):
            found.add(name)
    return found - {start}


def _judging(steps: Mapping[str, Mapping[str, Any]], package: str, about: set[str]) -> set[str]:
    """The steps that only report, on the package, on what it was exported from, or on what such a step has left: the
    lines of its items, of which others make a whole or a comparison. No other package is among what they take."""
    found: set[str] = set()
    for name, step in steps.items():  # in the order of the lock: what is taken was given before
        only = all(give["kind"] in _LEFT for give in step["gives"].values())
        taken = set(step["takes"].values())
        packages = {reference for reference in taken if reference.endswith("#package")}
        joins = bool(taken & about) or any(_of([one]) in found for one in taken if one.startswith("step:"))
        if only and joins and packages <= {package}:
            found.add(name)
    return found


def _kind(steps: Mapping[str, Mapping[str, Any]], reference: str) -> str:
    """What kind of artifact a step gives by that reference; "" for an input."""
    if not reference.startswith("step:"):
        return ""
    step, port = reference.removeprefix("step:").split("#")
    return str(steps[step]["gives"][port]["kind"])


def _given(records: Mapping[str, Mapping[str, Any]], reference: str) -> str:
    """The digest of what a step gave; "" where no step did."""
    step, _, port = reference.removeprefix("step:").partition("#")
    return str(records[step]["gives"][port]["digest"]) if step in records else ""


def _port(step: Mapping[str, Any], kind: str) -> str:
    return next((port for port, give in step["gives"].items() if give["kind"] == kind), "")


def _of(references: Any) -> str:
    return next(str(one).removeprefix("step:").partition("#")[0] for one in references if one.startswith("step:"))


def _ancestors(steps: Mapping[str, Mapping[str, Any]], start: str) -> set[str]:
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += [_of([one]) for one in steps[name]["takes"].values() if one.startswith("step:")]
    return found
