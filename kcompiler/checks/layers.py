"""Losses over layers: are there such layers in both models, can they be compared, and does the teacher give them?"""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import layers
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.layers import fault

STORE = "/teacher/store"
#: what cannot be compared → its code
_CODES = {"depth": "KC4271", "heads": "KC4273", "width": "KC4273", "window": "KC4273"}


def _stored(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """What is stored of a teacher is what it says: no layer below its last is in it."""
    if spec.teacher.store is None:
        return
    for pointer, _, _, loss in layers.terms(spec):
        yield tree.diagnostic(
            "KC4272",
            f"{pointer}/term",
            f"loss `{loss.name}` reads layers of the teacher, and what it says is stored",
            label=f"needs `{next(iter(loss.needs))}`, form `{spec.teacher.store.form}` has none",
            help="remove `teacher.store`: its states are then computed once before each training and looked up; or "
            "remove the term",
            related=(tree.related(STORE, "only this is kept of it", "key"),),
        )


def _there(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    student, teacher = layers.student(spec), layers.teacher(spec, world)
    for pointer, _, term, loss in layers.terms(spec):
        assert loss.layers is not None
        why = fault(loss.layers, term.params, student, teacher)
        if why is None:
            continue
        kind, what, way = why
        at = next((at for at in (f"{pointer}/layers", f"{pointer}/map") if at in tree.values), f"{pointer}/term")
        yield tree.diagnostic(
            _CODES[kind],
            at,
            f"loss `{loss.name}` names a layer that is not there"
            if kind == "depth"
            else f"loss `{loss.name}` cannot compare these two models",
            on="key" if at.endswith("layers") else "value",
            label=what,
            help=way,
            related=(tree.related("/teacher/source", "the teacher"),),
        )


CHECKS = (
    Check(_stored, "teacher", "training"),
    Check(_there, "teacher", "training", "student"),
)
