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
from kcompiler.facts.sizes import EMBEDDING, operations, tensors, text
from kcompiler.tables import Figure, Machine
from runtime.contract.architecture import Architecture
from runtime.contract.forecast import WORK
from runtime.contract.recipe import FLOAT32, HEAD
from runtime.contract.validation import Validation

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


@dataclass(frozen=True)
class _Looks:
    """Validations of one training: how many, of how many rows, and the operations of each of these, forward alone."""

    count: int
    rows: int
    work: int

    @property
    def operations(self) -> int:
        return self.count * self.rows * self.work


def of_training(
    a: Architecture, steps: int, batch_size: int, machine: Machine, validation: Validation | None = None
) -> Least | None:
    """What `steps` optimiser steps over rows of at least four tokens take; None for a machine without any figure.

    With patience it may be over as soon as that can run out. A row is read at each validation, at least.
    """
    least = steps if validation is None else fewest(steps, validation)
    looks = None if validation is None else _Looks(1 + least // validation.every, 1, _row(a))
    return _longest(a, least, _BACKWARD * batch_size * _row(a), f"{batch_size:,} rows", machine, looks)


def fewest(steps: int, validation: Validation) -> int:
    """Steps that a validated training makes at least: so many validations without a gain come after the one before the
    first step."""
    return steps if validation.patience is None else min(steps, validation.every * validation.patience)


def _longest(
    a: Architecture, steps: int, work: int, rows: str, machine: Machine, looks: _Looks | None = None
) -> Least | None:
    """The longer of what the bus and the arithmetic take; None for a machine without any figure."""
    bandwidth, peak = machine.bandwidth_gb_s.value, _peak(machine)
    found = []
    if bandwidth is not None:
        moved, read = MOVED * total(a), FLOAT32 * total(a)
        whole = steps * moved + (looks.count * read if looks else 0)
        more = f" + {looks.count:,} validations × {text(read)} of weights" if looks else ""
        shown = f"{steps:,} steps × {text(moved)} of optimiser state{more} / {bandwidth:g} GB/s"
        found.append(Least(whole / (Fraction(str(bandwidth)) * 10**9), shown))
    if peak is not None:
        whole = steps * work + (looks.operations if looks else 0)
        more = f" + {looks.count:,} validations × {looks.rows * looks.work:.3g} of {looks.rows:,}" if looks else ""
        shown = f"{steps:,} steps × {work:.3g} operations of {rows}{more} / {peak:g} TFLOP/s"
        found.append(Least(whole / (Fraction(str(peak)) * 10**12), shown))
    return max(found, key=lambda one: one.seconds, default=None)


def of_step(step: Mapping[str, Any], machine: Machine | None, rows: int = 0) -> dict[str, Any] | None:
    """What a plan says of a step that trains: operations of its own model, and on a machine with figures the seconds
    that they take and how that is known. None for one that trains nothing. All steps that are allowed are counted, and
    `rows` at each validation: how many there will be, as far as that is known."""
    params = step["params"]
    if not {"architecture", "steps", "batch_size", "max_length"} <= set(params):
        return None
    a = Architecture.model_validate(params["architecture"])
    steps, batch_size, length = (int(params[name]) for name in ("steps", "batch_size", "max_length"))
    # what is not kept for the backward pass is computed once more
    passes = _BACKWARD + bool(params.get("gradient_checkpointing"))
    row = operations(_layers(a) + a.vocab_size * a.hidden_size, length)
    work, looks = passes * batch_size * row, None
    if params.get("validation"):
        looks = _Looks(1 + -(-steps // int(params["validation"]["every"])), rows, row)
    whole = steps * work + (looks.operations if looks else 0)
    found: dict[str, Any] = {WORK: math.ceil(Fraction(whole, 10**9))}
    said = f"{batch_size:,} rows of {length:,} tokens"
    least = None if machine is None else _longest(a, steps, work, said, machine, looks)
    if machine is None or least is None:
        return found
    # a bus alone says little of long rows
    more = "" if _peak(machine) is not None else "; longer by its arithmetic, of which there is no figure"
    return {**found, "wall_s": round(float(least.seconds), 6), "how": f"{least.how}{more}"}


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
