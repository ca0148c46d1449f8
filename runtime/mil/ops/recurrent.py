"""Recurrent layers over a sequence: lstm, gru and rnn. Composite: float32 inside, except in `fp16_strict`.

Meaning: Apple's MIL op reference, module `recurrent` of iOS15 and iOS17. x_SBI; weights have one block of H rows
per gate. What the text leaves open (peepholes, clipping, scaled activations) is refused. Where the reset gate of a gru
stands its text leaves open too. Apple's `NeuralNetwork.proto` (GRULayerParams) says it, and coremltools' own tests of
the op do (`TestGRU` of iOS14 to iOS18, which run on a device): before the product, and with iOS18's `reset_after`
after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array, Rounding
from runtime.mil.ops.registry import Floats, op

_ONE, _ZERO = np.float32(1), np.float32(0)
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: _ONE / (_ONE + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
}
#: a step: (input's product, states) → states, the first of which is the output
Cell = Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]


def _activation(op_type: str, name: str, inner: Rounding) -> Callable[[Array], Array]:
    if name not in _ACTIVATIONS:
        raise UnsupportedOp(f"{op_type}: activation {name!r} is not modelled", op=op_type)
    compute = _ACTIVATIONS[name]
    return lambda x: inner(compute(x))


def _products(x: Array, weight: Array, bias: Array | None, inner: Rounding) -> Array:
    """x_SBI · weight_GIᵀ + bias_G for every step at once."""
    product = np.matmul(x, weight.T)
    return inner(product if bias is None else product + bias)


def _unrolled(cell: Cell, products: Array, states: tuple[Array, ...], *, back: bool) -> tuple[Array, tuple[Array, ...]]:
    """Every step's output, each at its input's place, and the last states."""
    outputs: list[Array] = []
    for step in reversed(products) if back else products:
        states = cell(step, states)
        outputs.append(states[0])
    if not outputs:
        raise ValueError("a sequence of no steps")
    return np.stack(outputs[::-1] if back else outputs), states


def _direction(op_type: str, name: str, *known: str) -> bool:
    if name not in known:
        raise UnsupportedOp(f"{op_type}: direction {name!r} is not modelled", op=op_type)
    return name == "reverse"


def _rnn_result(dtypes: Mapping[str, str], _: Mapping[str, Any]) -> tuple[str, ...]:
    return (dtypes["x"],) * 2


@op("rnn", result=_rnn_result)
def rnn(
    x: Floats,
    initial_h: Floats,
    weight_ih: Floats,
    weight_hh: Floats,
    bias: Floats | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
    *,
    inner: Rounding,
) -> tuple[Array, ...]:
    """x_SBI, initial_h_BH → every step (or the last) SBH, last BH."""
    act = _activation("rnn", activation, inner)

    def cell(step: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        return (act(inner(step + inner(states[0] @ weight_hh.T))),)

    back = _direction("rnn", direction, "forward", "reverse")
    outputs, (last,) = _unrolled(cell, _products(x, weight_ih, bias, inner), (initial_h,), back=back)
    return outputs if output_sequence else last[None], last


@op("gru", result=_rnn_result, added={"reset_after": 8, "input_bias": 8})
def gru(
    x: Floats,
    initial_h: Floats,
    weight_ih: Floats,
    weight_hh: Floats,
    bias: Floats | None = None,
    input_bias: Floats | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    *,
    inner: Rounding,
) -> tuple[Array, ...]:
    """x_SBI, initial_h_BH, weight_*_(3·H)(I or H) for the gates reset, output and update → every step (or the last)
    SBH, last BH. The reset gate scales the state before its product; with `reset_after` the product and `bias`, as
    PyTorch's layer does."""
    gate, act = (_activation("gru", name, inner) for name in (recurrent_activation, activation))
    across = [part.T for part in np.split(weight_hh, 3)]
    offsets = [_ZERO] * 3 if bias is None else np.split(bias, 3)

    def carried(h: Array, which: int) -> Array:
        return inner(inner(h @ across[which]) + offsets[which])

    def cell(step: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        reset, new, update = np.split(step, 3, axis=-1)
        r, z = gate(inner(reset + carried(h, 0))), gate(inner(update + carried(h, 2)))
        turned = inner(r * carried(h, 1)) if reset_after else carried(inner(r * h), 1)
        return (inner(inner((_ONE - z) * act(inner(new + turned))) + inner(z * h)),)

    back = _direction("gru", direction, "forward", "reverse")
    products = _products(x, weight_ih, input_bias, inner)
    outputs, (last,) = _unrolled(cell, products, (initial_h,), back=back)
    return outputs if output_sequence else last[None], last


def _lstm_cell(
    weight_hh: Array,
    gate: Callable[[Array], Array],
    cell_gate: Callable[[Array], Array],
    act: Callable[[Array], Array],
    inner: Rounding,
) -> Cell:
    def cell(step: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = states
        to_in, to_forget, to_out, to_cell = np.split(inner(step + inner(h @ weight_hh.T)), 4, axis=-1)
        c = inner(inner(gate(to_forget) * c) + inner(gate(to_in) * cell_gate(to_cell)))
        return inner(gate(to_out) * act(c)), c

    return cell


def _lstm_result(dtypes: Mapping[str, str], _: Mapping[str, Any]) -> tuple[str, ...]:
    return (dtypes["x"],) * 3


@op("lstm", result=_lstm_result)
def lstm(
    x: Floats,
    initial_h: Floats,
    initial_c: Floats,
    weight_ih: Floats,
    weight_hh: Floats,
    bias: Floats | None = None,
    peephole: Floats | None = None,
    weight_ih_back: Floats | None = None,
    weight_hh_back: Floats | None = None,
    bias_back: Floats | None = None,
    peephole_back: Floats | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
    *,
    inner: Rounding,
) -> tuple[Array, ...]:
    """x_SBI, initial_*_B(D·H), weight_*_(4·H)(I or H) for the gates input, forget, output and cell → every step (or the
    last) SB(D·H), last h and last c B(D·H). D is 2 when `bidirectional`, forward states first."""
    if peephole is not None or peephole_back is not None or clip is not None:
        raise UnsupportedOp("lstm with peepholes or clip is not modelled", op="lstm")
    back = _direction("lstm", direction, "forward", "reverse", "bidirectional")
    names = (recurrent_activation, cell_activation, activation)
    gate, cell_gate, act = (_activation("lstm", name, inner) for name in names)
    ways = [(weight_ih, weight_hh, bias, back)]
    if direction == "bidirectional":
        if weight_ih_back is None or weight_hh_back is None:
            raise ValueError("a bidirectional lstm without weights of its way back")
        ways.append((weight_ih_back, weight_hh_back, bias_back, True))
    sequences, hidden, cells = [], [], []
    starts = zip(np.split(initial_h, len(ways), axis=-1), np.split(initial_c, len(ways), axis=-1), strict=True)
    for (inward, across, offset, reverse), start in zip(ways, starts, strict=True):
        cell = _lstm_cell(across, gate, cell_gate, act, inner)
        outputs, (h, c) = _unrolled(cell, _products(x, inward, offset, inner), start, back=reverse)
        sequences.append(outputs)
        hidden.append(h)
        cells.append(c)
    last = np.concatenate(hidden, axis=-1)
    every = np.concatenate(sequences, axis=-1) if output_sequence else last[None]
    return every, last, np.concatenate(cells, axis=-1)
