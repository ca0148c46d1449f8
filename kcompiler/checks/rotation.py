"""Scaled rotations: whether a family has them, whether their fields make one, and how long texts may be."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.models import head_dim, teacher_architectures
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract import rotation
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES

_STUDENT = "/student/architecture"


def _student(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    yield from _scaled(tree, "student", _STUDENT, spec.student.architecture)


def _teacher(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, architecture in teacher_architectures(spec):
        yield from _scaled(tree, "teacher", pointer, architecture)


def _scaled(tree: Tree, who: str, pointer: str, a: Architecture) -> Iterator[Diagnostic]:
    if a.rope_scaling is None:
        return
    at, kind, family = f"{pointer}/rope_scaling", a.rope_scaling.rope_type, FAMILIES[a.family]
    if kind not in family.scaled:
        yield tree.diagnostic(
            "KC4008",
            f"{at}/rope_type",
            f"a {a.family} has no such rotation",
            label=f"Transformers computes {', '.join(family.scaled)} for it",
            help=f"choose {' or '.join(family.scaled)}, or remove rope_scaling",
        )
        return
    turned = int(head_dim(a) * family.turned)
    for name, why, way in rotation.faults(a.rope_scaling, turned, a.max_position_embeddings):
        yield tree.diagnostic(
            "KC4009",
            f"{at}/{name or 'rope_type'}",
            f"the {who}'s rotation cannot be computed from these fields",
            label=why,
            help=way,
        )


def _lengths(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Beyond some length the angles of all tokens change with that of the text: no table of a package holds them, and
    rows of one batch would change each other's."""
    a = spec.student.architecture
    if a.rope_scaling is None or a.rope_scaling.original_max_position_embeddings is None:
        return
    kind = a.rope_scaling.rope_type
    exact = rotation.exact_to(a.rope_scaling.parameters(), a.max_position_embeddings)
    places = [(f"/shapes/prefill/{i}", length) for i, length in enumerate(spec.shapes.prefill)]
    places += [("/shapes/decode/context", spec.shapes.decode.context)]
    places += [
        (f"/training/stages/{i}/max_length", stage.max_length or 0) for i, stage in enumerate(spec.training.stages)
    ]
    for place, length in places:
        if exact < length <= a.max_position_embeddings:
            yield tree.diagnostic(
                "KC4112",
                place,
                f"the angles of {kind} change with the length of such texts",
                label=f"{length} tokens; up to {exact} every token has one rotation",
                help=f"lower it to {exact}, or choose a rope_type whose angles are fixed: linear, yarn or llama3, in "
                "a family that has one",
                related=(tree.related(f"{_STUDENT}/rope_scaling/original_max_position_embeddings", "this far"),),
            )


CHECKS = (
    Check(_student, "student"),
    Check(_teacher, "teacher"),
    Check(_lengths, "student", "shapes", "training"),
)
