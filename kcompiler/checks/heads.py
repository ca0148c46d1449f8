"""Heads of the student against the losses that train them."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog


def _trained(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A head that no term trains says what chance gave it; a term without its head trains nothing."""
    found: dict[str, str] = {}
    for s, stage in enumerate(spec.training.stages):
        for t, term in enumerate(stage.losses):
            if head := catalog.load("losses", term.term).head:
                found.setdefault(head, f"/training/stages/{s}/losses/{t}/term")
    for head, pointer in found.items():
        if head not in spec.student.heads:
            yield tree.diagnostic(
                "KC4660",
                pointer,
                f"the student has no head `{head}` that this loss could train",
                label=f"trains the head `{head}`",
                help=f"add `{head}` to student.heads, or remove the term",
            )
    for i, head in enumerate(spec.student.heads):
        if head not in found:
            yield tree.diagnostic(
                "KC4661",
                f"/student/heads/{i}",
                f"no loss trains the head `{head}`: the package would say what chance gave it",
                label="declared, never trained",
                help=f"add the term `{head}` to a stage, or remove the head",
                related=(tree.related("/training/stages", "the terms of all stages", "key"),),
            )


CHECKS = (Check(_trained, "student", "training"),)
