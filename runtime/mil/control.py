"""Control flow: a `cond` or a `while_loop` → one step that runs the steps of its blocks over the same slots.

Meaning: Apple's MIL op reference, module `iOS15.control_flow`. What a block made is overwritten by its next round;
nothing outside reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.mil.step import State, Step, Values

#: rounds of a loop that nobody waits for
ROUNDS = 1_000_000
#: runs one step of a block
Each = Callable[[Step], None]
Drive = Callable[[Values, Each], None]


@dataclass(frozen=True)
class Inner:
    """A compiled block: the slots of its inputs and outputs, and its steps."""

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def run(self, values: Values, given: Sequence[Any], each: Each) -> list[Any]:
        """Enter the inputs, run every step, take the outputs."""
        for slot, value in zip(self.inputs, given, strict=True):
            values[slot] = value
        for step in self.steps:
            each(step)
        return [values[slot] for slot in self.outputs]

    def reads(self) -> set[int]:
        """Slots it reads and does not make."""
        made = set(self.inputs) | {output.slot for step in self.steps for output in step.outputs}
        read = {slot for step in self.steps for slot in step.operands} | set(self.outputs)
        return read - made


def _nothing(_values: Values, _each: Each) -> None:
    return None


@dataclass
class Nested(Step):
    """A step with blocks. `drive` runs them and stores the results."""

    drive: Drive = _nothing


def _store(values: Values, targets: Sequence[int], found: Sequence[Any]) -> None:
    for slot, value in zip(targets, found, strict=True):
        values[slot] = value


def branch(predicate: int, then: Inner, otherwise: Inner, targets: Sequence[int]) -> Drive:
    """`cond`: one of two blocks without inputs."""

    def drive(values: Values, each: Each) -> None:
        taken = then if np.asarray(values[predicate]).item() else otherwise
        _store(values, targets, taken.run(values, (), each))

    return drive


def loop(variables: Sequence[int], condition: Inner, body: Inner, targets: Sequence[int]) -> Drive:
    """`while_loop`: the body's outputs are the next round's variables, as long as the condition's output is true."""

    def drive(values: Values, each: Each) -> None:
        current = [values[slot] for slot in variables]
        for _ in range(ROUNDS):
            (more,) = condition.run(values, current, each)
            if not np.asarray(more).item():
                _store(values, targets, current)
                return
            current = body.run(values, current, each)
        raise ValueError(f"no end after {ROUNDS} rounds")

    return drive


def fast(drive: Drive) -> Callable[[Values, State], None]:
    """The step without a watch."""

    def run(values: Values, buffers: State) -> None:
        drive(values, lambda step: step.fast(values, buffers))

    return run
