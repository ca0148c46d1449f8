"""What losses need against what teacher and data give."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract import Loss, Teacher

_LOGITS = "logits"


def _given(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    teacher: Teacher = catalog.load("teachers", spec.teacher.source)
    for i, signal in enumerate(spec.teacher.signals):
        if signal not in teacher.signals:
            yield tree.diagnostic(
                "KC4202",
                f"/teacher/signals/{i}",
                f"a teacher of source `{teacher.name}` cannot give `{signal}`",
                label="not a signal of this source",
                help=f"it gives {', '.join(sorted(teacher.signals)) or 'nothing'}",
            )


def _terms(spec: Spec) -> Iterator[tuple[str, Loss]]:
    """(pointer, loss) of every term of every stage."""
    for s, stage in enumerate(spec.training.stages):
        for t, term in enumerate(stage.losses):
            yield f"/training/stages/{s}/losses/{t}/term", catalog.load("losses", term.term)


def _needed(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, loss in _terms(spec):
        missing = sorted(loss.needs - set(spec.teacher.signals))
        if not missing:
            continue
        ways = [f"add `{missing[0]}` to teacher.signals", "take a source that gives it"]
        ways += ["replace the term by one that needs only text (ce_truth)"] if missing == [_LOGITS] else []
        yield tree.diagnostic(
            "KC4201",
            pointer,
            f"loss `{loss.name}` needs a signal that the teacher does not give",
            label=f"needs `{'`, `'.join(missing)}`",
            help=", or ".join(ways),
            related=(tree.related("/teacher/signals", "the teacher gives only these", "key"),),
        )


def _supervised(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, loss in _terms(spec):
        if loss.mask in spec.data.targets:
            continue
        yield tree.diagnostic(
            "KC4204",
            pointer,
            f"loss `{loss.name}` supervises a part of the rows that the data does not declare",
            label=f"supervises `{loss.mask}`",
            help=f"add `{loss.mask}` to data.targets if the rows carry it, or remove the term",
            related=(tree.related("/data/targets", f"declared: {', '.join(spec.data.targets)}", "key"),),
        )


def _one_vocabulary(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Logits are compared entry by entry: both models must mean the same token by the same entry."""
    pointer = next((pointer for pointer, loss in _terms(spec) if _LOGITS in loss.needs), "")
    if pointer and spec.teacher.source == "hf" and spec.tokenizer.source == "train":
        yield tree.diagnostic(
            "KC4203",
            "/tokenizer/source",
            "teacher and student would not share a vocabulary",
            label="a new tokenizer is trained, the teacher has its own",
            help="write `source: teacher`, or use only losses that need text",
            related=(tree.related(pointer, "this term compares logits entry by entry"),),
        )


CHECKS = (
    Check(_given, "teacher"),
    Check(_needed, "teacher", "training"),
    Check(_supervised, "data", "training"),
    Check(_one_vocabulary, "teacher", "tokenizer", "training"),
)
