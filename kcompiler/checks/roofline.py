"""Wanted speeds against bandwidth and peak arithmetic: what the machine cannot do is refused before money is spent.

Decoding reads every weight and the whole cache for each token, so tok/s ≤ bandwidth / (weights + cache). A prompt costs
2 × parameters × tokens operations, so seconds ≥ operations / peak. Both are ceilings no software can break (Williams,
Waterman and Patterson 2009); what lies beyond them needs a declared reason that changes one of the factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from kcompiler import tables
from kcompiler.checks import Check, World
from kcompiler.checks.memory import target
from kcompiler.diagnostic import Diagnostic, Severity
from kcompiler.facts import sizes
from kcompiler.facts.models import total
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.hardware import Targets
from kcompiler.tables import Machine

_DECODE, _TTFT = "/hardware/targets/decode_tok_s", "/hardware/targets/ttft_s"
#: the fastest published reading of weights on a Neural Engine is believed up to so many times; a judgement
ANE_MARGIN = 2


def _context(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    targets = spec.hardware.targets
    if targets is not None and targets.at_context is not None and targets.at_context > spec.shapes.decode.context:
        yield tree.diagnostic(
            "KC4717",
            "/hardware/targets/at_context",
            "the target speaks of a context that the cache cannot hold",
            label=f"{targets.at_context:,} tokens, the cache holds {spec.shapes.decode.context:,}",
            help=f"lower it to {spec.shapes.decode.context}, or raise decode.context",
            related=(tree.related("/shapes/decode/context", "the cache"),),
        )


def _decode(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    machine, targets = target(spec.hardware), spec.hardware.targets
    bandwidth = None if machine is None else machine.bandwidth_gb_s.value
    if machine is None or targets is None or targets.decode_tok_s is None or bandwidth is None:
        return
    a = spec.student.architecture
    context = targets.at_context or spec.shapes.decode.context
    weights, cache = (
        sizes.read_per_token(a, spec.quantization, spec.quantization.islands),
        context * sizes.kv_per_token(a),
    )
    limit, wanted = sizes.ceiling(bandwidth, weights + cache), Fraction(str(targets.decode_tok_s))
    notes = (
        f"a token reads {sizes.text(weights)} of weights and {sizes.text(cache)} of cache ({context:,} tokens × "
        f"{sizes.kv_per_token(a):,} B)",
        f"{bandwidth:g} GB/s / {sizes.text(weights + cache)} = {float(limit):,.1f} tok/s; with an empty cache "
        f"{float(sizes.ceiling(bandwidth, weights)):,.1f}",
    )
    if wanted > limit:
        yield tree.diagnostic(
            "KC4711",
            _DECODE,
            f"{machine.title} cannot decode this student so fast",
            label=f"{float(wanted):g} tok/s wanted, the ceiling is {float(limit):,.1f}",
            help=f"lower it to {_round(limit, down=True)}, or take a smaller student",
            notes=notes,
        )
        return
    reached, told = _reached(machine, targets, bandwidth, weights + cache)
    if reached is None:
        yield _unjudged(tree, _DECODE, told)
    elif wanted > reached:
        severity: Severity = "error" if targets.compute_unit == "ane" else "warning"
        yield tree.diagnostic(
            "KC4715",
            _DECODE,
            f"nobody has decoded so fast on the {targets.compute_unit.upper()} of such a machine",
            severity=severity,
            label=f"{float(wanted):g} tok/s wanted, about {float(reached):,.1f} is credible",
            detail=told,
            help="lower the target, or aim at another compute_unit",
            notes=notes,
        )


def _reached(machine: Machine, targets: Targets, bandwidth: float, read: int) -> tuple[Fraction | None, str]:
    """The speed that measurements make credible, and what they are; None when nobody has measured."""
    table = tables.hardware()
    if targets.compute_unit == "ane" and machine.ane is not None and machine.ane.reached_gb_s.value is not None:
        figure = machine.ane.reached_gb_s
        told = f"the fastest published reads {figure.value} GB/s ({table.sources[figure.source].title}); {ANE_MARGIN} "
        return sizes.ceiling(figure.value or 0.0, read) * ANE_MARGIN, told + "times that is still believed"
    if targets.compute_unit == "gpu" and machine.ane is not None and table.gpu_share.value is not None:
        share = table.gpu_share
        told = f"{share.value:.0%} of the bus has been reached ({table.sources[share.source].title})"
        return sizes.ceiling(bandwidth, read) * Fraction(str(share.value)), told
    return None, f"no decoding speed on the {targets.compute_unit.upper()} of {machine.title} is in the table"


def _first_token(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    machine, targets = target(spec.hardware), spec.hardware.targets
    if machine is None or targets is None or targets.ttft_s is None:
        return
    a = spec.student.architecture
    tokens, count = targets.at_context or spec.shapes.decode.context, total(a)
    taken = min((length for length in spec.shapes.prefill if length >= tokens), default=None)
    if taken is None:
        yield tree.diagnostic(
            "KC4719",
            "/hardware/targets/at_context" if targets.at_context is not None else _TTFT,
            "no prefill takes the prompt that the target speaks of",
            label=f"{tokens:,} tokens, the longest prefill takes {max(spec.shapes.prefill):,}",
            help=f"write `at_context: {max(spec.shapes.prefill)}`, or add a prefill of {tokens} tokens",
            related=(tree.related("/shapes/prefill", "the lengths there are"),),
        )
        taken = tokens
    peak, bandwidth = _peak(machine, targets), machine.bandwidth_gb_s.value
    if peak is None:
        told = f"no peak of the {targets.compute_unit.upper()} of {machine.title} is in the table"
        yield _unjudged(tree, _TTFT, told)
        return
    work, wanted = sizes.operations(count, tokens), Fraction(str(targets.ttft_s))
    counting = Fraction(sizes.prompt_operations(a, taken)) / (Fraction(str(peak)) * 10**12)
    read = sizes.read_per_token(a, spec.quantization, spec.quantization.islands)
    reading = Fraction(0) if bandwidth is None else 1 / sizes.ceiling(bandwidth, read)
    floor = max(counting, reading)
    notes = (
        f"2 × {count:,} parameters × {tokens:,} tokens = {_figure(work / 10**12)} × 10^12 operations",
        f"in {float(wanted):g} s that is {_figure(float(work / wanted) / 10**12)} TFLOP/s; the peak is {peak:g}",
        f"least: the layers of the prefill of {taken:,} tokens, and the head once: {_figure(float(counting))} s; "
        f"reading {sizes.text(read)} of weights once: {_figure(float(reading))} s",
    )
    if wanted >= floor:
        return
    yield tree.diagnostic(
        "KC4712",
        _TTFT,
        f"{machine.title} cannot read such a prompt so fast",
        label=f"{float(wanted):g} s wanted, {_figure(float(floor))} s is the least",
        help=f"raise it to {_round(floor, down=False)}, shorten at_context, or take a smaller student",
        notes=notes,
    )


def _figure(value: float) -> str:
    """With one digit behind the point, or with two digits that are not zero."""
    return f"{value:,.1f}" if value >= 1 else f"{value:.2g}"


def _peak(machine: Machine, targets: Targets) -> float | None:
    """Peak of a compute unit in 10^12 operations a second, the faster type counts."""
    figures: list[tables.Figure] = []
    if targets.compute_unit == "gpu" and machine.gpu is not None:
        figures = [machine.gpu.fp16_tflops, machine.gpu.fp32_tflops]
    elif targets.compute_unit == "ane" and machine.ane is not None:
        figures = [machine.ane.tops]
    elif targets.compute_unit == "cpu" and machine.cpu is not None:
        figures = [machine.cpu.fp32_tflops]
    return max((figure.value for figure in figures if figure.value is not None), default=None)


def _round(value: Fraction, *, down: bool) -> str:
    """Three digits, on the side of the value that is feasible."""
    unit = Fraction(10) ** (math.floor(math.log10(value)) - 2)
    steps = value / unit
    return f"{float((math.floor(steps) if down else math.ceil(steps)) * unit):g}"


def _unjudged(tree: Tree, pointer: str, why: str) -> Diagnostic:
    return tree.diagnostic(
        "KC4716",
        pointer,
        "nobody can say whether this target is feasible",
        severity="warning",
        label="not judged",
        detail=why,
        help="measure it early, or aim at a compute_unit and a machine with known figures",
    )


CHECKS = (
    Check(_context, "hardware", "shapes"),
    Check(_decode, "hardware", "shapes", "student", "quantization"),
    Check(_first_token, "hardware", "shapes", "student", "quantization"),
)
