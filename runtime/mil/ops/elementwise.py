"""Ops that act on each element by itself: arithmetic, comparison, activations, selection and casts.

Meaning: Apple's MIL op reference (`coremltools.converters.mil.mil.ops.defs`, documentation strings). Shapes broadcast
as in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import BY_NAME, Array, Rounding
from runtime.mil.ops.registry import Anything, Bools, Floats, Numbers, Predicate, op

_ONE = np.float32(1)


def _unary(name: str, compute: Callable[[Array], Array], *, moves: bool = False, integers: bool = False) -> None:
    if integers:

        @op(name, moves=moves)
        def kernel_numbers(x: Numbers) -> Array:
            return compute(x)

    else:

        @op(name, moves=moves)
        def kernel(x: Floats) -> Array:
            return compute(x)


for _name, _compute in {
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "round": np.rint,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
    "softplus": lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
}.items():
    _unary(_name, _compute)
for _name, _compute in {"relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6)}.items():
    _unary(_name, _compute, moves=True)
for _name, _compute in {"abs": np.abs, "sign": np.sign}.items():
    _unary(_name, _compute, moves=True, integers=True)
_unary("square", np.square, integers=True)


@op("identity", moves=True)
def identity(x: Anything) -> Array:
    return x


@op("inverse")
def inverse(x: Floats, epsilon: float = 1e-4) -> Array:
    return _ONE / (x + np.float32(epsilon))


@op("log")
def log(x: Floats, epsilon: float = 1e-45) -> Array:
    return np.log(x + np.float32(epsilon))


@op("rsqrt")
def rsqrt(x: Floats, epsilon: float = 1e-12, *, inner: Rounding) -> Array:
    return _ONE / inner(np.sqrt(inner(x + np.float32(epsilon))))


@op("clip")
def clip(x: Floats, alpha: float, beta: float) -> Array:
    return np.minimum(np.maximum(x, np.float32(alpha)), np.float32(beta))


@op("threshold")
def threshold(x: Numbers, alpha: float) -> Array:
    return np.maximum(x, x.dtype.type(alpha))


@op("logical_not")
def logical_not(x: Bools) -> Array:
    return np.logical_not(x)


# --- activations -------------------------------------------------------------------------------------------------


def _sigmoid(x: Array, inner: Rounding) -> Array:
    return inner(_ONE / inner(1 + inner(np.exp(-x))))


@op("sigmoid")
def sigmoid(x: Floats, *, inner: Rounding) -> Array:
    return _sigmoid(x, inner)


@op("silu")
def silu(x: Floats, *, inner: Rounding) -> Array:
    return x * _sigmoid(x, inner)


@op("gelu")
def gelu(x: Floats, mode: str = "EXACT", *, inner: Rounding) -> Array:
    half = np.float32(0.5)
    match mode:
        case "EXACT":
            return half * x * inner(1 + inner(erf(x * np.float32(math.sqrt(0.5)))))
        case "TANH_APPROXIMATION":
            argument = inner(np.float32(math.sqrt(2 / math.pi)) * inner(x + inner(np.float32(0.044715) * x * x * x)))
            return half * x * inner(1 + inner(np.tanh(argument)))
        case "SIGMOID_APPROXIMATION":
            return x * _sigmoid(inner(np.float32(1.702) * x), inner)
        case _:
            raise UnsupportedOp(f"gelu mode {mode!r} is not modelled", op="gelu")


@op("elu")
def elu(x: Floats, alpha: float) -> Array:
    return np.where(x > 0, x, np.float32(alpha) * np.expm1(np.minimum(x, 0)))


@op("leaky_relu")
def leaky_relu(x: Floats, alpha: float) -> Array:
    return np.where(x >= 0, x, np.float32(alpha) * x)


@op("clamped_relu")
def clamped_relu(x: Floats, alpha: float, beta: float) -> Array:
    return np.minimum(np.where(x >= 0, x, np.float32(alpha) * x), np.float32(beta))


@op("thresholded_relu", moves=True)
def thresholded_relu(x: Floats, alpha: float) -> Array:
    return np.where(x >= np.float32(alpha), x, np.float32(0))


@op("linear_activation")
def linear_activation(x: Floats, alpha: float, beta: float) -> Array:
    return np.float32(alpha) * x + np.float32(beta)


@op("scaled_tanh")
def scaled_tanh(x: Floats, alpha: float, beta: float) -> Array:
    return np.float32(alpha) * np.tanh(np.float32(beta) * x)


@op("sigmoid_hard")
def sigmoid_hard(x: Floats, alpha: float, beta: float) -> Array:
    return np.clip(np.float32(alpha) * x + np.float32(beta), 0, 1)


@op("prelu", loose=7)
def prelu(x: Floats, alpha: Floats) -> Array:
    """x_BC…, alpha_C."""
    return np.where(x >= 0, x, alpha.reshape(-1, *[1] * (x.ndim - 2)) * x)


@op("softplus_parametric", loose=7)
def softplus_parametric(x: Floats, alpha: Floats, beta: Floats, *, inner: Rounding) -> Array:
    """x_BC…, alpha_C, beta_C: alpha · log(1 + exp(beta · x)), without overflow."""
    shape = (-1, *[1] * (x.ndim - 2))
    scaled = inner(beta.reshape(shape) * x)
    return alpha.reshape(shape) * inner(np.log1p(np.exp(-np.abs(scaled))) + np.maximum(scaled, 0))


@cache
def _erf_coefficients() -> Array:
    """Chebyshev coefficients of erf(√t)/√t on t ∈ [0, 16]: relative accuracy 1e-15 after the odd factor returns."""
    return np.polynomial.chebyshev.chebinterpolate(
        lambda u: np.array([math.erf(math.sqrt(8 * (v + 1))) / math.sqrt(8 * (v + 1)) for v in np.atleast_1d(u)]), 48
    )


@op("erf")
def erf(x: Floats) -> Array:
    # beyond |x| = 4 erf differs from ±1 by 1.5e-8, less than half a unit in the last place of float32
    wide = np.clip(x.astype(np.float64), -4, 4)
    series = np.polynomial.chebyshev.chebval(wide * wide / 8 - 1, _erf_coefficients())
    return (wide * series).astype(np.float32)


# --- two operands ------------------------------------------------------------------------------------------------


def _binary(name: str, compute: Callable[[Array, Array], Array], *, result: str = "x", moves: bool = False) -> None:
    @op(name, result=result, moves=moves)
    def kernel(x: Numbers, y: Numbers) -> Array:
        return compute(x, y)


for _name, _pair in {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floor_div": np.floor_divide,
    "mod": np.mod,
}.items():
    _binary(_name, _pair)
_binary("maximum", np.maximum, moves=True)
_binary("minimum", np.minimum, moves=True)
for _name, _pair in {
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}.items():
    _binary(_name, _pair, result="bool")


@op("equal", result="bool")
def equal(x: Anything, y: Anything) -> Array:
    return np.equal(x, y)


@op("not_equal", result="bool")
def not_equal(x: Anything, y: Anything) -> Array:
    return np.not_equal(x, y)


@op("real_div")
def real_div(x: Floats, y: Floats) -> Array:
    return np.true_divide(x, y)


@op("pow")
def power(x: Floats, y: Floats) -> Array:
    return np.power(x, y)


@op("logical_and")
def logical_and(x: Bools, y: Bools) -> Array:
    return np.logical_and(x, y)


@op("logical_or")
def logical_or(x: Bools, y: Bools) -> Array:
    return np.logical_or(x, y)


@op("logical_xor")
def logical_xor(x: Bools, y: Bools) -> Array:
    return np.logical_xor(x, y)


@op("select", result="a", moves=True)
def select(cond: Predicate, a: Anything, b: Anything) -> Array:
    return np.where(cond, a, b)


# --- casts -------------------------------------------------------------------------------------------------------

#: what `cast` calls a dtype → its name here
CAST_NAMES = {
    "fp16": "float16",
    "fp32": "float32",
    **{name: name for name in ("int8", "uint8", "int16", "uint16", "int32", "bool")},
}


def cast_dtype(name: str) -> str:
    """The dtype a `cast` to `name` yields. Raises UnsupportedOp for a name outside the op's documentation."""
    if name not in CAST_NAMES:
        raise UnsupportedOp(f"cast to {name!r} is not modelled", op="cast")
    return CAST_NAMES[name]


def _cast_result(_: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
    return (cast_dtype(static["dtype"]),)


@op("cast", result=_cast_result)
def cast(x: Anything, dtype: str) -> Array:
    """Towards zero for integers, `x != 0` for bool. An integer out of range is undefined in MIL and reported."""
    return x.astype(BY_NAME[cast_dtype(dtype)].carrier)
