"""Normalising ops: softmax, layer_norm, l2_norm. Composite: float32 inside, except in `fp16_strict`."""

from __future__ import annotations

import numpy as np

from runtime.mil.numerics import Array, Rounding, total
from runtime.mil.ops.registry import Floats, op

_ONE = np.float32(1)


def stable_softmax(x: Array, axis: int, inner: Rounding) -> Array:
    """exp(x - max) / sum over `axis`."""
    weights = inner(np.exp(inner(x - np.max(x, axis=axis, keepdims=True))))
    return weights / total(weights, (axis,), True, inner)


@op("softmax")
def softmax(x: Floats, axis: int = -1, *, inner: Rounding) -> Array:
    return stable_softmax(x, axis, inner)


@op("layer_norm")
def layer_norm(
    x: Floats,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    axes: tuple[int, ...] | None = None,
    epsilon: float = 1e-5,
    *,
    inner: Rounding,
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) · gamma + beta over `axes` (all when None)."""
    over = tuple(sorted(axis % x.ndim for axis in (range(x.ndim) if axes is None else axes)))
    shape = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    count = np.float32(np.prod(shape))
    centred = inner(x - inner(total(x, over, True, inner) / count))
    variance = inner(total(inner(centred * centred), over, True, inner) / count)
    normal = centred * inner(_ONE / inner(np.sqrt(inner(variance + np.float32(epsilon)))))
    if gamma is not None:
        normal = inner(normal) * gamma.reshape(shape)
    return normal if beta is None else inner(normal) + beta.reshape(shape)


@op("l2_norm")
def l2_norm(x: Floats, epsilon: float = 1e-6, *, inner: Rounding) -> Array:
    """x / sqrt(sum of squares over the last three axes + epsilon)."""
    squares = total(inner(x * x), (-3, -2, -1), True, inner)
    return x / inner(np.sqrt(inner(squares + np.float32(epsilon))))
