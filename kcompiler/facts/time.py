"""Trainings × a machine → the seconds that they cannot do without: a lower bound, never a forecast.

An AdamW step in float32 reads weights, gradients and both moments and writes weights and moments: 28 bytes a parameter
(arXiv 1711.05101, algorithm 2). A token costs six operations a parameter, two forward and four backward (arXiv
2001.08361, section 2.1). No machine is faster than its bus and its arithmetic (Williams, Waterman and Patterson 2009).
What the teacher, the data and every fixed cost take comes on top and is not counted.

An estimate counts the same of rows as long as they may be. It is too low by what is not counted and by what the machine
does not reach, and too high where rows are short; once a step has run, what was recorded takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from kcompiler.facts.models import total
from kcompiler.facts.sizes import EMBEDDING, FLOAT32, HEAD, operations, tensors, text
from kcompiler.tables import Figure, Machine
from runtime.contract.architecture import Architecture
from runtime.contract.forecast import WORK

#: reads of weights, gradients, two moments; writes of weights and two moments
MOVED = 7 * FLOAT32
#: beginning, one token of a prompt, one of a response, end; the last two are predicted
LEAST_TOKENS, LEAST_PREDICTED = 4, 2
_BACKWARD = 3


@dataclass(frozen=True)
class Least:
    """Seconds of one training at least, and the arithmetic in words."""

    seconds: Fraction
    how: str


def of_training(a: Architecture, steps: int, batch_size: int, machine: Machine) -> Least | None:
    """What `steps` optimiser steps over rows of at least four tokens take; None for a machine without any figure."""
    return _longest(a, steps, _BACKWARD * batch_size * _row(a), f"{batch_size:,} rows", machine)


def _longest(a: Architecture, steps: int, work: int, rows: str, machine: Machine) -> Least | None:
    """The longer of what the bus and the arithmetic take; None for a machine without any figure."""
    bandwidth, peak = machine.bandwidth_gb_s.value, _peak(machine)
    found = []
    if bandwidth is not None:
        moved = MOVED * total(a)
        seconds = steps * Fraction(moved) / (Fraction(str(bandwidth)) * 10**9)
        found.append(Least(seconds, f"{steps:,} steps × {text(moved)} of optimiser state / {bandwidth:g} GB/s"))
    if peak is not None:
        seconds = steps * Fraction(work) / (Fraction(str(peak)) * 10**12)
        shown = f"{steps:,} steps × {work:.3g} operations of {rows} / {peak:g} TFLOP/s"
        found.append(Least(seconds, shown))
    return max(found, key=lambda one: one.seconds, default=None)


def of_step(step: Mapping[str, Any], machine: Machine | None) -> dict[str, Any] | None:
    """What a plan says of a step that trains: operations of its own model, and on a machine with figures the seconds
    that they take and how that is known. None for one that trains nothing."""
    params = step["params"]
    if not {"architecture", "steps", "batch_size", "max_length"} <= set(params):
        return None
    a = Architecture.model_validate(params["architecture"])
    steps, batch_size, length = (int(params[name]) for name in ("steps", "batch_size", "max_length"))
    # what is not kept for the backward pass is computed once more
    passes = _BACKWARD + bool(params.get("gradient_checkpointing"))
    work = passes * operations(_layers(a) + a.vocab_size * a.hidden_size, batch_size * length)
    found: dict[str, Any] = {WORK: math.ceil(Fraction(steps * work, 10**9))}
    rows = f"{batch_size:,} rows of {length:,} tokens"
    least = None if machine is None else _longest(a, steps, work, rows, machine)
    return found if least is None else {**found, "wall_s": round(float(least.seconds), 6), "how": least.how}


def _row(a: Architecture) -> int:
    """Operations of the shortest row, forward: the layers at every token, the head where something is predicted."""
    return operations(_layers(a), LEAST_TOKENS) + operations(a.vocab_size * a.hidden_size, LEAST_PREDICTED)


def _layers(a: Architecture) -> int:
    """Elements of a model but for its embedding, which is looked up, and its head."""
    return sum(one.elements for one in tensors(a) if one.name not in (EMBEDDING, HEAD))


def _peak(machine: Machine) -> float | None:
    """The fastest arithmetic of a machine in 10^12 operations a second, on whichever unit."""
    figures: list[Figure] = []
    if machine.gpu is not None:
        figures += [machine.gpu.fp16_tflops, machine.gpu.fp32_tflops]
    if machine.cpu is not None:
        figures.append(machine.cpu.fp32_tflops)
    return max((figure.value for figure in figures if figure.value is not None), default=None)


def seconds(value: Fraction | float) -> str:
    """A duration for people, rounded down: what is said is certain to pass."""
    if value < Fraction(1, 1000):
        return "less than 0.001 s"
    return f"{int(value):,} s" if value >= 10 else f"{int(value * 1000) / 1000:g} s"
