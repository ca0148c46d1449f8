"""A bound op → a step over numbered slots: closures without any look-up left for run time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from runtime.contract import BrokenEvidence
from runtime.mil.findings import Source
from runtime.mil.held import Held
from runtime.mil.numerics import BY_NAME, Array, Rounding
from runtime.mil.ops.registry import Kernel

#: values by slot: of a run, or of the operands of one op alone
Values: TypeAlias = "list[Any] | dict[int, Any]"
State = dict[str, Array]
#: slots of a step's positional operands; a tuple of slots for a variadic one
Slots = Sequence[int | tuple[int, ...]]
#: what a kernel may raise on operands that do not fit together
MISFITS = (ValueError, LookupError, ArithmeticError, TypeError, MemoryError)


@dataclass(frozen=True)
class Output:
    """One result of a step: where it is stored and how it is rounded first."""

    slot: int
    rounding: Rounding | None
    source: Source


@dataclass
class Step:
    """One op, ready to run: `raw` computes its result(s), `fast` also rounds and stores them."""

    position: int
    op_type: str
    op_name: str
    operands: tuple[int, ...]
    outputs: tuple[Output, ...]
    raw: Callable[[Values, State], Any]
    fast: Callable[[Values, State], None]
    #: slots nobody reads afterwards
    dead: tuple[int, ...] = ()
    #: operands that are loaded just before and dropped just after
    loads: tuple[tuple[int, Held], ...] = ()
    #: whether it may give integers that its dtype does not hold; not a cast, whose operand shows it, nor a list
    counts: bool = field(init=False)

    def __post_init__(self) -> None:
        kinds = {BY_NAME[item.source.declared.dtype].kind for item in self.outputs}
        listed = any(item.source.declared.form for item in self.outputs)
        self.counts = "int" in kinds and not listed and self.op_type != "cast"


def misfit(
    op_type: str, op_name: str, function: str, error: Exception, kind: type[BrokenEvidence] = BrokenEvidence
) -> BrokenEvidence:
    """An op whose operands do not fit it, as evidence that the program is broken."""
    # a want of memory says nothing of itself
    said = str(error) or type(error).__name__
    return kind(f"op {op_type} ({function}.{op_name}) cannot be executed: {said}", subject="model.mlmodel")


def raw_call(kernel: Kernel, arguments: Slots) -> Callable[[Values, State], Any]:
    def raw(values: Values, _: State) -> Any:
        return kernel(
            *[tuple(values[slot] for slot in item) if isinstance(item, tuple) else values[item] for item in arguments]
        )

    return raw


def fast_call(kernel: Kernel, arguments: Slots, outputs: Sequence[Output]) -> Callable[[Values, State], None]:
    """The common shapes of a step without any loop over operands."""
    slots = [item for item in arguments if isinstance(item, int)]
    if len(outputs) != 1 or len(slots) < len(arguments) or len(slots) not in (1, 2):
        return store_call(raw_call(kernel, arguments), outputs)
    (output,) = outputs
    if len(slots) == 1:
        return _unary(kernel, slots[0], output.slot, output.rounding)
    return _binary(kernel, slots[0], slots[1], output.slot, output.rounding)


def _unary(kernel: Kernel, only: int, target: int, how: Rounding | None) -> Callable[[Values, State], None]:
    def unary(values: Values, _: State) -> None:
        values[target] = kernel(values[only])

    if how is None:
        return unary

    def rounded(values: Values, _: State) -> None:
        values[target] = how(kernel(values[only]))

    return rounded


def _binary(
    kernel: Kernel, left: int, right: int, target: int, how: Rounding | None
) -> Callable[[Values, State], None]:
    def binary(values: Values, _: State) -> None:
        values[target] = kernel(values[left], values[right])

    if how is None:
        return binary

    def rounded(values: Values, _: State) -> None:
        values[target] = how(kernel(values[left], values[right]))

    return rounded


def results(result: Any) -> tuple[Array, ...]:
    """A kernel's result as one array per output; a write without output yields none."""
    if isinstance(result, tuple):
        return result
    return () if result is None else (result,)


def exact_integers(step: Step, values: Values, state: State) -> tuple[Array, ...]:
    """The results of a step whose integer operands have 64 bits; nothing when it computes no integers from integers.

    A cast is left out: what it cannot hold is seen at its operand. So are lists, which hold what others computed.
    """
    if not step.counts:
        return ()
    whole = [slot for slot in set(step.operands) if np.asarray(values[slot]).dtype.kind in "iu"]
    if not whole:
        return ()
    wide = values.copy()
    for slot in whole:
        wide[slot] = np.asarray(values[slot]).astype(np.int64)
    return results(step.raw(wide, state))


def store_call(raw: Callable[[Values, State], Any], outputs: Sequence[Output]) -> Callable[[Values, State], None]:
    def store(values: Values, state: State) -> None:
        for output, value in zip(outputs, results(raw(values, state)), strict=True):
            values[output.slot] = value if output.rounding is None else output.rounding(value)

    return store


def read_call(state: str) -> Callable[[Values, State], Any]:
    return lambda _, buffers: buffers[state]


def write_call(state: str, source: int, outputs: Sequence[Output]) -> Callable[[Values, State], Any]:
    def write(values: Values, buffers: State) -> Any:
        if buffers[state].shape != values[source].shape:
            raise ValueError(f"state {state} has shape {buffers[state].shape}, written {values[source].shape}")
        buffers[state] = values[source]
        return values[source] if outputs else None

    return write
