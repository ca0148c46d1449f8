"""Normalising ops: softmax, norms over axes, batches, channels and neighbours.

Composite: float32 inside, except in `fp16_strict`.
"""

from __future__ import annotations

import numpy as np

from runtime.mil.errors import UnsupportedOp
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


@op("layer_norm", loose=7)
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
    return _scaled(_standard(x, over, epsilon, inner), gamma, beta, shape, inner)


def _standard(x: Array, over: tuple[int, ...], epsilon: float, inner: Rounding) -> Array:
    """(x - mean) / sqrt(variance + epsilon), both taken over the axes `over`."""
    count = np.float32(np.prod([x.shape[axis] for axis in over]))
    centred = inner(x - inner(total(x, over, True, inner) / count))
    variance = inner(total(inner(centred * centred), over, True, inner) / count)
    return centred * inner(_ONE / inner(np.sqrt(inner(variance + np.float32(epsilon)))))


def _scaled(normal: Array, gamma: Array | None, beta: Array | None, shape: list[int], inner: Rounding) -> Array:
    """normal · gamma + beta, both laid out as `shape`."""
    if gamma is not None:
        normal = inner(normal) * gamma.reshape(shape)
    return normal if beta is None else inner(normal) + beta.reshape(shape)


def _channels(x: Array) -> list[int]:
    return [1, -1, *[1] * (x.ndim - 2)]


@op("batch_norm", loose=7)
def batch_norm(
    x: Floats,
    mean: Floats,
    variance: Floats,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    epsilon: float = 1e-5,
    *,
    inner: Rounding,
) -> Array:
    """x_NC*, the others C: (x - mean) / sqrt(variance + epsilon) · gamma + beta per channel."""
    shape = _channels(x)
    inverse = inner(_ONE / inner(np.sqrt(inner(variance + np.float32(epsilon)))))
    return _scaled(inner(x - mean.reshape(shape)) * inverse.reshape(shape), gamma, beta, shape, inner)


@op("instance_norm", loose=7)
def instance_norm(
    x: Floats, gamma: Floats | None = None, beta: Floats | None = None, epsilon: float = 1e-5, *, inner: Rounding
) -> Array:
    """x_NC*, gamma_C, beta_C: standardised over the spatial dimensions of every channel of every example."""
    return _scaled(_standard(x, tuple(range(2, x.ndim)), epsilon, inner), gamma, beta, _channels(x), inner)


@op("local_response_norm")
def local_response_norm(
    x: Floats, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, inner: Rounding
) -> Array:
    """x_NC* / (k + alpha/size · sum of squares over `size` neighbouring channels)^beta. Which channels an even size
    means is not documented: refused."""
    if size % 2 == 0:
        raise UnsupportedOp(f"local_response_norm over {size} channels: an even size", op="local_response_norm")
    squares = inner(x * x)
    padded = np.pad(squares, [(0, 0), (size // 2, size // 2), *[(0, 0)] * (x.ndim - 2)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)
    around = total(windows, (-1,), False, inner)
    scale = inner(np.float32(k) + inner(np.float32(alpha / size) * around))
    return x / inner(np.power(scale, np.float32(beta)))


@op("l2_norm")
def l2_norm(x: Floats, epsilon: float = 1e-6, *, inner: Rounding) -> Array:
    """x / sqrt(sum of squares over the last three axes + epsilon)."""
    squares = total(inner(x * x), (-3, -2, -1), True, inner)
    return x / inner(np.sqrt(inner(squares + np.float32(epsilon))))
