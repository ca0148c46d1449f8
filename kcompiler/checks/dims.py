"""Dimensions of the declared models: heads, rotary halves, number of parameters."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.models import head_dim, parameters, teacher_architectures, total
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract import windows
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES

#: least and most; SmolLM-135M has 19 channels per layer, GPT-3 128; its MLP is 2.7 times the width, Gemma 7B's 8 times
_CHANNELS_PER_LAYER, _MLP_FACTOR = (4.0, 1024.0), (1.0, 16.0)
#: largest share of embedding and head: with more, hardly any parameter is left to compute with
_IN_VOCABULARY = (0.0, 0.9)


_EPSILON, _ROTATION, _HEAD = (1e-8, 1e-3), (1e2, 1e9), (4, 1024)


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
    elif not FAMILIES[a.family].own_head_width and head_dim(a) != a.hidden_size // heads:
        yield tree.diagnostic(
            "KC4005",
            f"{pointer}/head_dim",
            f"a {a.family} model has no head width of its own",
            label=f"{a.head_dim}, but {a.hidden_size} / {heads} = {a.hidden_size // heads}",
            help=f"remove head_dim, or choose {' or '.join(n for n, one in FAMILIES.items() if one.own_head_width)}",
        )
    elif head_dim(a) % FAMILIES[a.family].rotary_parts:
        yield tree.diagnostic(
            "KC4003",
            f"{pointer}/head_dim" if a.head_dim is not None else f"{pointer}/hidden_size",
            f"the {who}'s rotary embedding would pair up an odd number of channels",
            label=f"heads are {head_dim(a)} wide, not a multiple of {FAMILIES[a.family].rotary_parts}",
            detail="rotation turns pairs of channels; phi rotates half of each head, the others all of it",
            help=f"choose a head width that is a multiple of {FAMILIES[a.family].rotary_parts}",
        )


def _windows(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, a in [("/student/architecture", spec.student.architecture), *teacher_architectures(spec)]:
        if why := windows.fault(a):
            field, label, way = why
            yield tree.diagnostic(
                "KC4011" if field.endswith("pattern") or field.startswith("num") else "KC4010",
                f"{pointer}/{field}",
                "these layers cannot be made of this window",
                label=label,
                help=way,
            )


def _caps(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    having = " or ".join(name for name, family in FAMILIES.items() if family.capped)
    for pointer, a in [("/student/architecture", spec.student.architecture), *teacher_architectures(spec)]:
        if a.final_logit_softcapping is not None and not FAMILIES[a.family].capped:
            yield tree.diagnostic(
                "KC4012",
                f"{pointer}/final_logit_softcapping",
                "this family does not bound its logits",
                label=f"a {a.family} would not read it",
                help=f"remove it, or choose {having}",
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


def _proportions(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Kaplan et al. (arXiv 2001.08361, 3.1) find little difference between shapes, but within some bounds."""
    a = spec.student.architecture
    if a.hidden_size % a.num_attention_heads:
        return
    size = total(a)
    embedding = a.vocab_size * a.hidden_size * (1 if a.tie_word_embeddings else 2)
    for key, what, value, (least, most) in (
        ("num_hidden_layers", "channels per layer", a.hidden_size / a.num_hidden_layers, _CHANNELS_PER_LAYER),
        ("intermediate_size", "times the width in the MLP", a.intermediate_size / a.hidden_size, _MLP_FACTOR),
        ("hidden_size", "of all parameters in the vocabulary", embedding / size, _IN_VOCABULARY),
    ):
        if not least <= value <= most:
            bound = f"at least {least:g}" if value < least else f"at most {most:g}"
            yield tree.diagnostic(
                "KC4006",
                f"/student/architecture/{key}",
                "the student's proportions are far from those of any model that is known to learn well",
                severity="warning",
                label=f"{value:.3g} {what}, {bound} is usual",
                help="give the same parameters another shape, unless this one is meant",
            )


def _constants(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Numbers that no published decoder comes near change what attention and norms compute."""
    a = spec.student.architecture
    for key, value, (least, most) in (
        ("rms_norm_eps", a.rms_norm_eps, _EPSILON),
        ("rope_theta", a.rope_theta, _ROTATION),
        # a width that heads do not divide is told of by itself
        *([] if a.head_dim is None and a.hidden_size % a.num_attention_heads else [("head_dim", head_dim(a), _HEAD)]),
    ):
        if not least <= value <= most:
            yield tree.diagnostic(
                "KC4007",
                f"/student/architecture/{key}" if getattr(a, key) is not None else "/student/architecture/hidden_size",
                f"no published decoder has such a {key}",
                severity="warning",
                label=f"{value:g}, usual are {least:g} to {most:g}",
                help=f"write a usual {key}, unless this one is meant",
            )


CHECKS = (
    Check(_constants, "student"),
    Check(_windows, "student", "teacher"),
    Check(_caps, "student", "teacher"),
    Check(_student, "student"),
    Check(_teacher, "teacher"),
    Check(_count, "student"),
    Check(_proportions, "student"),
)
