"""Linear layers that are to read integers: there are such layers, they can, and rows choose their scales.

Names are those of the checkpoint. The conversion refuses the same, hours of training later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts import sizes
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.activations import ACTIONS, Kind, faults, matrices, plain
from runtime.contract.targets import UNITS

_PLACE = "/quantization/activations"
_CODES: Mapping[Kind, str] = {
    "none": "KC4926",
    "embedding": "KC4927",
    "tied": "KC4927",
    "island": "KC4927",
    "weights": "KC4928",
}
_TITLES = {
    "KC4926": "this pattern matches no linear layer of the student",
    "KC4927": "this pattern matches what cannot read integers",
    "KC4928": "this pattern matches layers whose weights are not int8 per channel or per tensor",
}


def _able(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    asked = spec.quantization.activations
    if asked is None:
        return
    architecture = spec.student.architecture
    named = matrices(sizes.tensors(architecture))
    for fault in faults(asked.match, named, spec.quantization, spec.quantization.islands):
        code = _CODES[fault.kind]
        several = f", and {fault.layers - 1} more" if fault.layers > 1 else ""
        words = sorted({plain(names[0]).rpartition(".")[2] for names in named})
        yield tree.diagnostic(
            code,
            f"{_PLACE}/match/{fault.pattern}",
            _TITLES[code],
            label=f"a {architecture.family} has no such layer" if fault.kind == "none" else f"{fault.text}{several}",
            help=did_you_mean(asked.match[fault.pattern].rpartition(".")[2].strip("*"), words)
            if fault.kind == "none"
            else ACTIONS[fault.kind],
        )


def _chosen(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if spec.quantization.activations is None or spec.quantization.calibration is not None:
        return
    yield tree.diagnostic(
        "KC4929",
        _PLACE,
        "nothing chooses the scales by which these layers read integers",
        on="key",
        label="there is no `calibration`",
        help="write `calibration: {sources: {NAME: 64}}` in `quantization`",
        related=(tree.related("/data/sources", "the sources", "key"),),
    )


def _gains(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Integers where no unit may compute that multiplies them (coremltools, performance of quantized models)."""
    if spec.quantization.activations is None or "ane" in UNITS[spec.export.compute_units]:
        return
    yield tree.diagnostic(
        "KC4934",
        _PLACE,
        "layers read integers, and no unit that multiplies integers may compute them",
        severity="warning",
        on="key",
        label="the CPU and the GPU widen them while the model runs",
        help="store weights alone in int8, or write `compute_units: cpu_and_ne` or `all` in `export`",
        related=(tree.related("/export/compute_units", "keeps Core ML off the Neural Engine"),),
    )


CHECKS = (
    Check(_able, "quantization", "student"),
    Check(_chosen, "quantization", "data"),
    Check(_gains, "quantization", "export"),
)
