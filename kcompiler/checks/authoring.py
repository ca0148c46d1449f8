"""What the profile `ane` cannot express, and what the Neural Engine pads."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.models import head_dim
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.families import ANE_NAMES, ane_lacks
from runtime.contract.targets import UNITS

#: elements of float16 that the last axis of an input or output is padded to
_ALIGNED = 32


def _family(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    family = spec.student.architecture.family
    why = ane_lacks(family) if spec.export.profile == "ane" else ""
    if why:
        yield tree.diagnostic(
            "KC4940",
            "/export/profile",
            f"the profile `ane` does not express a {family}",
            label=why,
            help=f"write profile: gpu, or choose one of {ANE_NAMES}",
            related=(tree.related("/student/architecture/family", "the student's family"),),
        )


def _elsewhere(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    allowed = spec.export.compute_units
    if spec.export.profile == "ane" and "ane" not in UNITS[allowed]:
        yield tree.diagnostic(
            "KC4945",
            "/export/compute_units",
            f"the functions are written for the Neural Engine, and `{allowed}` lets nothing compute there",
            severity="warning",
            label=f"allows {' and '.join(UNITS[allowed])}",
            help="write compute_units: cpu_and_ne or all, or profile: gpu",
            related=(tree.related("/export/profile", "what the functions are written for"),),
        )


def _blocks(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Blocks of a tensor's inputs, wherever the recipe asks for them of some matrix."""
    if spec.export.profile != "ane":
        return
    asked = [
        ("default", spec.quantization.default),
        *((f"rules/{i}", r) for i, r in enumerate(spec.quantization.rules)),
    ]
    for place, one in asked:
        if one.weights != "fp16" and one.granularity == "per_block":
            yield tree.diagnostic(
                "KC4941",
                f"/quantization/{place}/granularity",
                "the Neural Engine reads no weights with a scale per block",
                label=f"{one.plain.said}",
                help="write granularity: per_channel, or a palette (lut4, lut6, lut8); blocks are for the profile gpu",
                related=(tree.related("/export/profile", "what the functions are written for"),),
            )


def _static(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if spec.export.profile == "ane" and spec.export.strategy == "enumerated":
        yield tree.diagnostic(
            "KC4944",
            "/export/strategy",
            "the profile `ane` has a function for each length",
            label="one prefill of several lengths is for the profile gpu",
            help="remove the line, or write profile: gpu",
            related=(tree.related("/export/profile", "what the functions are written for"),),
        )


def _padded(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Lengths that are the last axis of an input or output there."""
    if spec.export.profile != "ane":
        return
    lengths = [(f"/shapes/prefill/{i}", "tokens", length) for i, length in enumerate(spec.shapes.prefill)]
    width = head_dim(spec.student.architecture)
    for pointer, what, size in (
        *lengths,
        ("/shapes/decode/context", "slots", spec.shapes.decode.context),
        ("/student/architecture", "channels of a head", width),
    ):
        if size % _ALIGNED:
            yield tree.diagnostic(
                "KC4942",
                pointer,
                f"{size} {what} are padded to {-(-size // _ALIGNED) * _ALIGNED} on the Neural Engine",
                severity="warning",
                on="key" if pointer == "/student/architecture" else "value",
                label=f"no multiple of {_ALIGNED}",
                help=f"take a multiple of {_ALIGNED}: the last axis of an input or output has 64 bytes at least",
            )


def _islands(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Its norms need none, and float32 is computed elsewhere."""
    for i, kind in enumerate(spec.quantization.islands if spec.export.profile == "ane" else ()):
        yield tree.diagnostic(
            "KC4943",
            f"/quantization/islands/{i}",
            f"the island `{kind}` is computed outside of the Neural Engine",
            severity="warning",
            label="it has no float32",
            help="remove the island: norms of the profile `ane` do not overflow in float16, and verification says what "
            "rounding costs",
            related=(tree.related("/export/profile", "what the functions are written for"),),
        )


CHECKS = (
    Check(_family, "export", "student"),
    Check(_static, "export"),
    Check(_elsewhere, "export"),
    Check(_blocks, "export", "quantization"),
    Check(_islands, "export", "quantization"),
    Check(_padded, "export", "shapes", "student"),
)
