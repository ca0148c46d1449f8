"""Rows that decide how weights are rounded: of sources that have them, and for matrices that have values to choose."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts import sizes
from kcompiler.facts.rows import first_wrong, held, whole
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import GeneratorSource, Source

_SOURCES = "/quantization/calibration/sources"
#: read by row and multiplied by nothing; a head that is tied to it is stored as it is
_EMBEDDING = "embed_tokens.weight"
#: forms without values to choose among
_FIXED = ("fp16", "sparse")


def _there(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    calibration = spec.quantization.calibration
    if calibration is None:
        return
    sources = {source.name: (i, source) for i, source in enumerate(spec.data.sources)}
    for name, count in calibration.sources.items():
        at = f"{_SOURCES}/{name}"
        if name not in sources:
            yield tree.diagnostic(
                "KC4917",
                at,
                f"no source of `data` is called `{name}`",
                on="key",
                label="calibrates on rows of it",
                help=did_you_mean(name, list(sources)),
                related=(tree.related("/data/sources", "the sources", "key"),),
            )
            continue
        index, source = sources[name]
        if spec.data.shares.share(source.split, calibration.split) == 0:
            yield tree.diagnostic(
                "KC4918",
                at,
                f"source `{name}` has no row in split `{calibration.split}`",
                on="key",
                label="nothing to calibrate on",
                help="name a source that feeds it"
                if source.split == "test"
                else "name a source that feeds it, or another `split`",
                related=(tree.related(f"/data/sources/{index}", f"its rows are `{source.split}`"),),
            )
            continue
        held = _held(spec, world, name, calibration.split)
        made = _made(source)
        if held is None and made is not None and made < count:
            yield tree.diagnostic(
                "KC4918",
                at,
                f"source `{name}` has fewer rows than calibration asks for",
                label=f"{count}, and it makes {made} for all splits together",
                help=f"ask for fewer than {made}, or let it make more",
                related=(tree.related(f"/data/sources/{index}", "this source"),),
            )
        if held is not None and held < count:
            yield tree.diagnostic(
                "KC4918",
                at,
                f"source `{name}` has fewer rows than calibration asks for",
                label=f"{count}, and split `{calibration.split}` has {held} of it",
                help=f"ask for at most {held}, or give it more rows" if held else "name another source",
                related=(tree.related(f"/data/sources/{index}", "this source"),),
            )


def _held(spec: Spec, world: World, name: str, split: str) -> int | None:
    """Rows of a source in a split, by the data step's own rules; None where they cannot be read here."""
    reads = whole(spec.data, world)
    return None if reads is None or first_wrong(reads) else held(reads, spec.data.shares, name, split)


def _made(source: Source) -> int | None:
    """Rows that a generator makes, of all splits together; None of what is read from a file."""
    rows = getattr(source.params, "rows", None) if isinstance(source, GeneratorSource) else None
    return rows if isinstance(rows, int) else None


def _chooses(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if spec.quantization.calibration is None:
        return
    matrices = [
        tensor
        for tensor in sizes.tensors(spec.student.architecture)
        if len(tensor.shape) > 1 and not tensor.name.endswith(_EMBEDDING)
    ]
    if all(spec.quantization.of(tensor.name).weights in _FIXED for tensor in matrices):
        yield tree.diagnostic(
            "KC4925",
            "/quantization/calibration",
            "no matrix that is multiplied is stored in integers or a palette",
            on="key",
            label="nothing would be chosen by these rows",
            help="remove `calibration`, or write a rule for the projections",
            related=(tree.related("/quantization/default", "what matrices get", "key"),),
        )


CHECKS = (
    Check(_there, "quantization", "data"),
    Check(_chooses, "quantization", "student"),
)
