"""Dimensions of the declared models: heads, rotary halves, number of parameters."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.checks._models import ROTARY_PARTS, head_dim, parameters, teacher_architectures
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.architecture import Architecture


def _student(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    yield from _heads(tree, "student", "/student/architecture", spec.student.architecture)


def _teacher(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, architecture in teacher_architectures(spec):
        yield from _heads(tree, "teacher", pointer, architecture)


def _heads(tree: Tree, who: str, pointer: str, a: Architecture) -> Iterator[Diagnostic]:
    heads, pairs = a.num_attention_heads, a.num_key_value_heads
    if heads % pairs:
        near = [n for n in range(1, heads + 1) if heads % n == 0]
        yield tree.diagnostic(
            "KC4001",
            f"{pointer}/num_key_value_heads",
            f"the {who}'s query heads cannot be shared out evenly among its key/value heads",
            label=f"{heads} / {pairs} leaves {heads % pairs}",
            help=f"use one of {', '.join(map(str, near))}",
        )
    if a.hidden_size % heads:
        yield tree.diagnostic(
            "KC4002",
            f"{pointer}/num_attention_heads",
            f"the {who}'s width cannot be divided into its heads",
            label=f"{a.hidden_size} / {heads} leaves {a.hidden_size % heads}",
            help=f"make hidden_size a multiple of {heads}",
        )
    elif a.family == "phi" and head_dim(a) != a.hidden_size // heads:
        yield tree.diagnostic(
            "KC4005",
            f"{pointer}/head_dim",
            "a phi model has no head width of its own",
            label=f"{a.head_dim}, but {a.hidden_size} / {heads} = {a.hidden_size // heads}",
            help="remove head_dim, or choose llama or qwen3",
        )
    elif head_dim(a) % ROTARY_PARTS[a.family]:
        yield tree.diagnostic(
            "KC4003",
            f"{pointer}/head_dim" if a.head_dim is not None else f"{pointer}/hidden_size",
            f"the {who}'s rotary embedding would pair up an odd number of channels",
            label=f"heads are {head_dim(a)} wide, not a multiple of {ROTARY_PARTS[a.family]}",
            detail="rotation turns pairs of channels; phi rotates half of each head, llama and qwen3 all of it",
            help=f"choose a head width that is a multiple of {ROTARY_PARTS[a.family]}",
        )


def _count(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    declared = spec.student.parameters
    if declared is None:
        return
    parts = parameters(spec.student.architecture)
    actual = sum(part.count for part in parts)
    if declared.allows(actual):
        return
    off = (actual - declared.count) / declared.count
    yield tree.diagnostic(
        "KC4004",
        "/student/parameters",
        "the student does not have the declared number of parameters",
        label=f"the architecture has {actual:,}, {off:+.1%} from {declared.count:,}",
        help=f"declare {actual:_}, or change the architecture",
        notes=(*(f"{part.name}: {part.formula} = {part.count:,}" for part in parts), f"total {actual:,}"),
        related=(tree.related("/student/architecture", "of this architecture", "key"),),
    )


CHECKS = (Check(_student, "student"), Check(_teacher, "teacher"), Check(_count, "student"))
