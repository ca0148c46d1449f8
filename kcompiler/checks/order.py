"""Preconditions of the pipeline are edges of the plan, and no entry under `steps` may stand in for, or skip, one.

tokenizer contract  before  training (the teacher's and the student's) and export
reach               before  training of the student (each loss term alone: what it promises, what its gradient
                            reaches; a bootstrapped teacher has one plain term, measured at its first step)
probes              before  export      (causality and padding of what is delivered)
graph lint          before  conversion  (step `export` lints and refuses; its program is what `convert` takes)
golden vectors      before  evaluation on the package (step `verify` compares the saved package with them)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec

#: kind of step → kinds of step that must be somewhere before every step of that kind
PRECONDITIONS: Mapping[str, tuple[str, ...]] = {
    "bootstrap": ("tokenizer",),
    "reach": ("tokenizer",),
    "train": ("tokenizer", "reach"),
    "record_signals": ("tokenizer",),
    "cut_student": ("tokenizer",),
    "migrate_student": ("tokenizer",),
    "restrict_teacher": ("tokenizer",),
    "round_teacher": ("tokenizer",),
    "calibrate": ("tokenizer", "probe"),
    "export": ("tokenizer", "probe"),
    "convert": ("export",),
    "verify": ("export", "convert"),
    "evaluate": ("verify",),
    "gather": ("verify",),
}
#: ids that lowering gives; `train-…` and `evaluate-…` are its own as well
OWN = (
    "data", "tokenizer", "teacher", "teacher-restricted", "teacher-rounded", "student", "student-original", "reach",
    "probe", "calibrate", "export", "convert", "verify", "error-ledger", "onnx",
    "verify-onnx",
)  # fmt: skip
_OWN_PREFIXES = ("train-", "evaluate-", "fetch-", "read-")


class Node(Protocol):
    """A step of a graph, as far as its order is concerned."""

    @property
    def id(self) -> str: ...
    @property
    def step(self) -> str: ...
    def upstream(self) -> Iterator[str]: ...


def missing(nodes: Iterable[Node]) -> Iterator[tuple[str, str]]:
    """(step id, kind of step) of every precondition that no path of the graph leads back to. Nodes in any order."""
    by_id = {node.id: node for node in nodes}
    followers: dict[str, list[str]] = {}
    for node in by_id.values():
        for up in node.upstream():
            followers.setdefault(up, []).append(node.id)
    # one walk per kind, so that a large graph is walked a few times and not once per step
    wanted = sorted({kind for node in by_id.values() for kind in PRECONDITIONS.get(node.step, ())})
    after = {kind: _after([node.id for node in by_id.values() if node.step == kind], followers) for kind in wanted}
    for node in by_id.values():
        for kind in PRECONDITIONS.get(node.step, ()):
            if node.id not in after[kind]:
                yield node.id, kind


def _after(starts: list[str], followers: Mapping[str, list[str]]) -> set[str]:
    """Every step that waits for one of these, directly or not."""
    reached: set[str] = set()
    waiting = list(starts)
    while waiting:
        for one in followers.get(waiting.pop(), ()):
            if one not in reached:
                reached.add(one)
                waiting.append(one)
    return reached


def _names(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, step in enumerate(spec.steps):
        if step.id in OWN or step.id.startswith(_OWN_PREFIXES):
            yield tree.diagnostic(
                "KC4821",
                f"/steps/{i}/id",
                "this id belongs to the pipeline itself",
                label="would take the place of one of its own steps",
                help="choose another id; what the pipeline proves cannot be replaced by a step",
                notes=(f"its own ids: {', '.join(OWN)}, {', '.join(f'{prefix}…' for prefix in _OWN_PREFIXES)}",),
            )


def _kind_of(step_id: str) -> str:
    """Kind of one of the pipeline's own steps, by its id."""
    return step_id.partition("-")[0] if step_id.startswith(_OWN_PREFIXES) else step_id


def _closure(kind: str) -> set[str]:
    """A kind of step and all that its preconditions have made certain."""
    found = {kind}
    for before in PRECONDITIONS.get(kind, ()):
        found |= _closure(before)
    return found


def _guarded(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    extras = {step.id: step for step in spec.steps}
    for i, step in enumerate(spec.steps):
        certain: set[str] = set()
        seen: set[str] = set()
        waiting = list(step.takes.values())
        while waiting:
            reference = waiting.pop()
            up = reference.removeprefix("step:").partition("#")[0]
            if reference.startswith("input:") or up in seen:
                continue
            seen.add(up)
            if up in extras:
                certain |= {extras[up].use}
                waiting += extras[up].takes.values()
            else:
                certain |= _closure(_kind_of(up))
        lacking = [kind for kind in PRECONDITIONS.get(step.use, ()) if kind not in certain]
        if lacking:
            yield tree.diagnostic(
                "KC4822",
                f"/steps/{i}/use",
                f"a step `{step.use}` may not run before `{'`, `'.join(lacking)}`",
                label="nothing it takes comes after that",
                help=f"take what `{lacking[0]}` makes, or leave this step to the pipeline's own sections",
            )


CHECKS = (Check(_names, "steps"), Check(_guarded, "steps"))
