"""Products of matrices: linear, matmul, einsum. They accumulate in float32 in every mode."""

from __future__ import annotations

import numpy as np

from runtime.mil.numerics import Array
from runtime.mil.ops.registry import ManyFloats, Numbers, op


@op("linear")
def linear(x: Numbers, weight: Numbers, bias: Numbers | None = None) -> Array:
    """x_…I · weight_OIᵀ + bias_O."""
    product = (x.reshape(-1, x.shape[-1]) @ weight.T).reshape(*x.shape[:-1], weight.shape[0])
    if bias is not None:
        product += bias
    return product


@op("matmul")
def matmul(x: Numbers, y: Numbers, transpose_x: bool = False, transpose_y: bool = False) -> Array:
    """x_…MK · y_…KN with broadcast leading axes; `transpose_*` swaps the last two axes of an operand of rank ≥ 2."""
    left = x.swapaxes(-1, -2) if transpose_x and x.ndim > 1 else x
    right = y.swapaxes(-1, -2) if transpose_y and y.ndim > 1 else y
    return np.matmul(left, right)


@op("einsum", result="values")
def einsum(values: ManyFloats, equation: str) -> Array:
    """Two operands; axes of size 1 broadcast against the other operand's axis of the same letter."""
    terms, _, _ = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for letters, value in zip(terms.split(","), values, strict=True):
        for letter, size in zip(letters, value.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    wide = [
        np.broadcast_to(value, [sizes[letter] for letter in letters])
        for letters, value in zip(terms.split(","), values, strict=True)
    ]
    return np.einsum(equation.replace(" ", ""), *wide)
