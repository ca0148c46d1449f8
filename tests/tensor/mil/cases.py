"""Random but reproducible operands for the ops that compute, with the dtypes and parameters MIL allows for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from runtime.mil.numerics import Array

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass
class Case:
    """Operands of one op: `dynamic` become inputs of the program, `static` constants of it."""

    dynamic: dict[str, Any]
    static: dict[str, Any] = field(default_factory=dict)


def shapes(draw: Draw, low: int = 1, high: int = 4, most: int = 4) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(1, most), min_size=low, max_size=high)))


def generator(draw: Draw) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def floats(draw: Draw, shape: tuple[int, ...], scale: float = 2.0) -> Array:
    return (generator(draw).normal(size=shape) * scale).astype(np.float32)


def positive(draw: Draw, shape: tuple[int, ...]) -> Array:
    return generator(draw).uniform(0.05, 4, size=shape).astype(np.float32)


def integers(draw: Draw, shape: tuple[int, ...], low: int = -9, high: int = 9) -> Array:
    return generator(draw).integers(low, high + 1, size=shape).astype(np.int32)


def booleans(draw: Draw, shape: tuple[int, ...]) -> Array:
    return generator(draw).integers(0, 2, size=shape).astype(np.bool_)


def anything(draw: Draw, shape: tuple[int, ...]) -> Array:
    return draw(st.sampled_from([floats, integers, booleans]))(draw, shape)


def numbers(draw: Draw, shape: tuple[int, ...]) -> Array:
    return draw(st.sampled_from([floats, integers]))(draw, shape)


def axis_of(draw: Draw, rank: int) -> int:
    return draw(st.integers(-rank, rank - 1))


def axes_of(draw: Draw, rank: int) -> list[int]:
    """A non-empty choice of axes, some of them counted from the end."""
    chosen = draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True))
    return [axis - rank if draw(st.booleans()) else axis for axis in chosen]


def partner(draw: Draw, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts with `shape`: some leading axes dropped, some sizes 1."""
    kept = shape[draw(st.integers(0, len(shape))) :] or shape[-1:]
    return tuple(1 if draw(st.booleans()) else size for size in kept)


def optional(draw: Draw, static: dict[str, Any]) -> dict[str, Any]:
    """Some of the parameters; the others keep MIL's defaults."""
    return {name: value for name, value in static.items() if draw(st.booleans())}


# --- elementwise -------------------------------------------------------------------------------------------------


def unary(draw: Draw) -> Case:
    return Case({"x": floats(draw, shapes(draw))})


def unary_positive(draw: Draw) -> Case:
    return Case({"x": positive(draw, shapes(draw))})


def unary_unit(draw: Draw) -> Case:
    return Case({"x": generator(draw).uniform(-0.95, 0.95, size=shapes(draw)).astype(np.float32)})


def unary_number(draw: Draw) -> Case:
    return Case({"x": numbers(draw, shapes(draw))})


def unary_anything(draw: Draw) -> Case:
    return Case({"x": anything(draw, shapes(draw))})


def unary_bool(draw: Draw) -> Case:
    return Case({"x": booleans(draw, shapes(draw))})


def with_epsilon(draw: Draw) -> Case:
    return Case(
        {"x": positive(draw, shapes(draw))}, optional(draw, {"epsilon": np.float32(draw(st.sampled_from([1e-3, 0.5])))})
    )


def with_alpha(draw: Draw) -> Case:
    return Case({"x": floats(draw, shapes(draw))}, {"alpha": np.float32(draw(st.floats(0.01, 2)))})


def with_alpha_beta(draw: Draw) -> Case:
    # beta stays positive: coremltools folds clamped_relu with a negative one against its own documentation
    alpha, beta = draw(st.floats(-1, 0.05)), draw(st.floats(0.1, 2))
    return Case({"x": floats(draw, shapes(draw))}, {"alpha": np.float32(alpha), "beta": np.float32(beta)})


def prelu(draw: Draw) -> Case:
    shape = shapes(draw, 4, 4)
    return Case({"x": floats(draw, shape)}, {"alpha": floats(draw, (shape[1],))})


def softplus_parametric(draw: Draw) -> Case:
    shape = shapes(draw, 3, 4)
    return Case({"x": floats(draw, shape)}, {"alpha": floats(draw, (shape[1],)), "beta": floats(draw, (shape[1],))})


def gelu(draw: Draw) -> Case:
    modes = st.sampled_from(["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"])
    return Case({"x": floats(draw, shapes(draw))}, optional(draw, {"mode": draw(modes)}))


def cast(draw: Draw) -> Case:
    names = ["int8", "uint8", "int16", "uint16", "int32", "fp16", "fp32", "bool"]
    x = generator(draw).uniform(0, 120, size=shapes(draw))
    given = draw(st.sampled_from(["float32", "int32", "int16", "uint8", "bool"]))
    return Case({"x": x.astype(given)}, {"dtype": draw(st.sampled_from(names))})


def binary(draw: Draw) -> Case:
    shape, make = shapes(draw), draw(st.sampled_from([floats, integers]))
    x, y = make(draw, shape), make(draw, partner(draw, shape))
    return Case({"x": x, "y": y} if draw(st.booleans()) else {"x": y, "y": x})


def binary_nonzero(draw: Draw) -> Case:
    shape = shapes(draw)
    if draw(st.booleans()):
        return Case({"x": integers(draw, shape), "y": integers(draw, partner(draw, shape), 1, 5)})
    return Case({"x": floats(draw, shape, 20), "y": positive(draw, partner(draw, shape))})


def division(draw: Draw) -> Case:
    shape = shapes(draw)
    return Case({"x": floats(draw, shape), "y": positive(draw, partner(draw, shape))})


def power(draw: Draw) -> Case:
    shape = shapes(draw)
    return Case({"x": positive(draw, shape), "y": floats(draw, partner(draw, shape))})


def binary_bool(draw: Draw) -> Case:
    shape = shapes(draw)
    return Case({"x": booleans(draw, shape), "y": booleans(draw, partner(draw, shape))})


def select(draw: Draw) -> Case:
    shape = shapes(draw)
    a = anything(draw, shape)
    b = generator(draw).permutation(a.reshape(-1)).reshape(shape)
    return Case({"cond": booleans(draw, partner(draw, shape)), "a": a, "b": b})


# --- reductions and order ----------------------------------------------------------------------------------------


def reduction(draw: Draw) -> Case:
    shape = shapes(draw)
    static = optional(draw, {"axes": axes_of(draw, len(shape)), "keep_dims": draw(st.booleans())})
    return Case({"x": floats(draw, shape)}, static)


def reduction_positive(draw: Draw) -> Case:
    case = reduction(draw)
    case.dynamic["x"] = np.abs(case.dynamic["x"]) + np.float32(0.1)
    return case


def reduction_number(draw: Draw) -> Case:
    case = reduction(draw)
    if draw(st.booleans()):
        case.dynamic["x"] = integers(draw, case.dynamic["x"].shape)
    return case


def arg(draw: Draw) -> Case:
    shape = shapes(draw)
    static = {"axis": axis_of(draw, len(shape)), "keep_dims": draw(st.booleans())}
    return Case({"x": floats(draw, shape)}, optional(draw, static))


def cumsum(draw: Draw) -> Case:
    shape = shapes(draw)
    axis = draw(st.integers(-1, len(shape) - 1))
    static = {"axis": axis, "reverse": draw(st.booleans()), "exclusive": draw(st.booleans())}
    return Case({"x": numbers(draw, shape)}, optional(draw, static))


def argsort(draw: Draw) -> Case:
    shape = shapes(draw)
    return Case(
        {"x": floats(draw, shape)},
        optional(draw, {"axis": axis_of(draw, len(shape)), "ascending": draw(st.booleans())}),
    )


def non_zero(draw: Draw) -> Case:
    """Most elements of some tensors are zero, and all of others; of any type."""
    x = anything(draw, shapes(draw))
    kept = booleans(draw, x.shape) if draw(st.booleans()) else np.zeros(x.shape, bool)
    return Case({"x": np.where(kept, x, x.dtype.type(0))})


def topk(draw: Draw) -> Case:
    shape = shapes(draw)
    axis = axis_of(draw, len(shape))
    static = {"k": draw(st.integers(1, shape[axis])), "axis": axis}
    extra = {
        "ascending": draw(st.booleans()),
        "sort": True,
        "output_indices_dtype": draw(st.sampled_from(["int32", "uint16"])),
    }
    return Case({"x": floats(draw, shape)}, static | optional(draw, extra))


# --- linear algebra and normalisation ----------------------------------------------------------------------------


def linear(draw: Draw) -> Case:
    *lead, inner = shapes(draw, 1, 3)
    outer = draw(st.integers(1, 5))
    static = {"weight": floats(draw, (outer, inner))} | optional(draw, {"bias": floats(draw, (outer,))})
    return Case({"x": floats(draw, (*lead, inner))}, static)


def matmul(draw: Draw) -> Case:
    m, k, n = (draw(st.integers(1, 4)) for _ in range(3))
    lead = shapes(draw, 0, 2)
    flip_x, flip_y = draw(st.booleans()), draw(st.booleans())
    x = floats(draw, (*lead, k, m) if flip_x else (*lead, m, k))
    y = floats(draw, (*(partner(draw, lead) if lead else ()), *((n, k) if flip_y else (k, n))))
    static = {"transpose_x": flip_x, "transpose_y": flip_y}
    return Case({"x": x, "y": y}, static if flip_x or flip_y else optional(draw, static))


def einsum(draw: Draw) -> Case:
    n, c, h, w, u = (draw(st.integers(1, 4)) for _ in range(5))
    if draw(st.booleans()):
        small = draw(st.booleans())
        values = (floats(draw, (n, c, h, w)), floats(draw, (1 if small else n, w, 1 if small else h, u)))
        return Case({"values": values}, {"equation": "nchw,nwhu->nchu"})
    return Case({"values": (floats(draw, (c, h, w)), floats(draw, (w, h, u)))}, {"equation": "chw,whr->chr"})


def softmax(draw: Draw) -> Case:
    shape = shapes(draw)
    return Case({"x": floats(draw, shape, 8)}, optional(draw, {"axis": axis_of(draw, len(shape))}))


def layer_norm(draw: Draw) -> Case:
    shape = shapes(draw, 2, 4)
    axes = sorted({axis % len(shape) for axis in axes_of(draw, len(shape))})
    sizes = tuple(shape[axis] for axis in axes)
    static: dict[str, Any] = {"axes": [axis - len(shape) if draw(st.booleans()) else axis for axis in axes]}
    if draw(st.booleans()):
        static |= {"gamma": floats(draw, sizes), "beta": floats(draw, sizes)}
    return Case({"x": floats(draw, shape)}, static | optional(draw, {"epsilon": np.float32(1e-3)}))


def l2_norm(draw: Draw) -> Case:
    return Case({"x": floats(draw, shapes(draw, 3, 4))}, optional(draw, {"epsilon": np.float32(1e-2)}))


def attention(draw: Draw) -> Case:
    lead = shapes(draw, 1, 2, 3)
    long, short, inner, outer = (draw(st.integers(1, 5)) for _ in range(4))
    dynamic = {
        "query": floats(draw, (*lead, long, inner)),
        "key": floats(draw, (*lead, short, inner)),
        "value": floats(draw, (*lead, short, outer)),
    }
    form = draw(st.sampled_from(["none", "float", "bool"]))
    if form == "float":
        dynamic["attn_mask"] = floats(draw, (long, short), 5)
    if form == "bool":
        mask = booleans(draw, (long, short))
        mask[:, 0] = True
        dynamic["attn_mask"] = mask
    return Case(dynamic)
