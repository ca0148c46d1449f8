"""Lengths that must agree: prefill shapes, decode cache, training rows, and the contexts of student and teacher."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from kcompiler.checks import Check, World
from kcompiler.checks._models import teacher_architectures
from kcompiler.checks._teacher import CONTEXT_KEYS, folder_of
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec

_CONTEXT = "/student/architecture/max_position_embeddings"


def _ascending(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    lengths = spec.shapes.prefill
    for i, (before, length) in enumerate(pairwise(lengths), start=1):
        if length <= before:
            wanted = ", ".join(map(str, sorted(set(lengths))))
            yield tree.diagnostic(
                "KC4101",
                f"/shapes/prefill/{i}",
                "prefill lengths must ascend, each once",
                label=f"{length} comes after {before}",
                help=f"write [{wanted}]",
            )
            return


def _prefill(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    context, cache = spec.student.architecture.max_position_embeddings, spec.shapes.decode.context
    for i, length in enumerate(spec.shapes.prefill):
        if length > context:
            yield tree.diagnostic(
                "KC4102",
                f"/shapes/prefill/{i}",
                "a prefill shape is longer than the student's context",
                label=f"{length} tokens, {length - context} too many",
                help=f"remove it, or raise max_position_embeddings to {length}",
                related=(tree.related(_CONTEXT, f"the student reads {context} tokens"),),
            )
        elif length > cache:
            yield tree.diagnostic(
                "KC4103",
                f"/shapes/prefill/{i}",
                "a prefill shape is longer than the decode cache",
                label=f"{length} tokens, the cache holds {cache}",
                help=f"remove it, or raise decode.context to {length}",
                related=(tree.related("/shapes/decode/context", f"the cache holds {cache} tokens"),),
            )


def _decode(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    context, cache = spec.student.architecture.max_position_embeddings, spec.shapes.decode.context
    if cache > context:
        yield tree.diagnostic(
            "KC4104",
            "/shapes/decode/context",
            "the decode cache is longer than the student's context",
            label=f"{cache} tokens, {cache - context} too many",
            help=f"lower it to {context}, or raise max_position_embeddings",
            related=(tree.related(_CONTEXT, f"the student reads {context} tokens"),),
        )


def _rows(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    context = spec.student.architecture.max_position_embeddings
    for i, stage in enumerate(spec.training.stages):
        if stage.max_length is not None and stage.max_length > context:
            yield tree.diagnostic(
                "KC4105",
                f"/training/stages/{i}/max_length",
                "training rows are longer than the student's context",
                label=f"{stage.max_length} tokens, {stage.max_length - context} too many",
                help=f"lower it to {context}",
                related=(tree.related(_CONTEXT, f"the student reads {context} tokens"),),
            )


def _teacher(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Rows are as long as a stage allows, or as the longest prefill shape; the teacher reads every one of them."""
    longest, where = max(spec.shapes.prefill), "/shapes/prefill"
    for i, stage in enumerate(spec.training.stages):
        if stage.max_length is not None and stage.max_length > longest:
            longest, where = stage.max_length, f"/training/stages/{i}/max_length"
    reads, place = _teacher_context(spec, world)
    if reads is not None and reads < longest:
        yield tree.diagnostic(
            "KC4106",
            place,
            "rows are longer than the teacher's context",
            label=f"the teacher reads {reads} tokens, rows have up to {longest}",
            help=f"shorten the rows to {reads}, or take a teacher that reads {longest}",
            related=(tree.related(where, f"rows of up to {longest} tokens"),),
        )


def _teacher_context(spec: Spec, world: World) -> tuple[int | None, str]:
    for pointer, architecture in teacher_architectures(spec):
        return architecture.max_position_embeddings, f"{pointer}/max_position_embeddings"
    folder = folder_of(spec, world)
    return (folder.number(*CONTEXT_KEYS) if folder else None), "/teacher/model"


CHECKS = (
    Check(_ascending, "shapes"),
    Check(_prefill, "shapes", "student"),
    Check(_decode, "shapes", "student"),
    Check(_rows, "training", "student"),
    Check(_teacher, "training", "shapes", "teacher"),
)
