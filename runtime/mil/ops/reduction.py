"""Ops that fold axes away, and the running sum.

`axes=None` folds all axes. Meaning: Apple's MIL op reference, module `reduction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.mil.numerics import BY_NAME, Array, Rounding, total
from runtime.mil.ops.elementwise import cast_dtype
from runtime.mil.ops.registry import Floats, Numbers, op

Axes = tuple[int, ...] | None


def _count(x: Array, axes: Axes) -> int:
    return x.size if axes is None else int(np.prod([x.shape[axis] for axis in axes]))


@op("reduce_sum")
def reduce_sum(x: Numbers, axes: Axes = None, keep_dims: bool = False, *, inner: Rounding) -> Array:
    return total(x, axes, keep_dims, inner)


@op("reduce_mean")
def reduce_mean(x: Floats, axes: Axes = None, keep_dims: bool = False, *, inner: Rounding) -> Array:
    return total(x, axes, keep_dims, inner) / np.float32(_count(x, axes))


@op("reduce_sum_square")
def reduce_sum_square(x: Numbers, axes: Axes = None, keep_dims: bool = False, *, inner: Rounding) -> Array:
    return total(inner(x * x), axes, keep_dims, inner)


@op("reduce_l1_norm")
def reduce_l1_norm(x: Numbers, axes: Axes = None, keep_dims: bool = False, *, inner: Rounding) -> Array:
    return total(np.abs(x), axes, keep_dims, inner)


@op("reduce_l2_norm")
def reduce_l2_norm(x: Floats, axes: Axes = None, keep_dims: bool = False, *, inner: Rounding) -> Array:
    return np.sqrt(total(inner(x * x), axes, keep_dims, inner))


@op("reduce_log_sum")
def reduce_log_sum(x: Floats, axes: Axes = None, keep_dims: bool = False, *, inner: Rounding) -> Array:
    return np.log(total(x, axes, keep_dims, inner))


@op("reduce_log_sum_exp")
def reduce_log_sum_exp(x: Floats, axes: Axes = None, keep_dims: bool = False, *, inner: Rounding) -> Array:
    peak = np.max(x, axis=axes, keepdims=True)
    summed = np.log(total(inner(np.exp(inner(x - peak))), axes, keep_dims, inner))
    return summed + (peak if keep_dims else peak.reshape(summed.shape))


@op("reduce_prod")
def reduce_prod(x: Numbers, axes: Axes = None, keep_dims: bool = False) -> Array:
    return np.prod(x, axis=axes, keepdims=keep_dims, dtype=x.dtype)


@op("reduce_max", moves=True)
def reduce_max(x: Numbers, axes: Axes = None, keep_dims: bool = False) -> Array:
    return np.max(x, axis=axes, keepdims=keep_dims)


@op("reduce_min", moves=True)
def reduce_min(x: Numbers, axes: Axes = None, keep_dims: bool = False) -> Array:
    return np.min(x, axis=axes, keepdims=keep_dims)


def _index_result(_: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
    return (cast_dtype(static.get("output_dtype", "int32")),)


@op("reduce_argmax", result=_index_result, added={"output_dtype": 7})
def reduce_argmax(x: Numbers, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Array:
    """First position of the largest element; MIL leaves ties open."""
    return np.argmax(x, axis=axis, keepdims=keep_dims).astype(BY_NAME[cast_dtype(output_dtype)].carrier)


@op("reduce_argmin", result=_index_result, added={"output_dtype": 7})
def reduce_argmin(x: Numbers, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Array:
    """First position of the smallest element; MIL leaves ties open."""
    return np.argmin(x, axis=axis, keepdims=keep_dims).astype(BY_NAME[cast_dtype(output_dtype)].carrier)


@op("cumsum")
def cumsum(x: Numbers, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Array:
    """Running sum; `exclusive` leaves the element itself out, `reverse` runs from the end."""
    ordered = np.flip(x, axis) if reverse else x
    running = np.cumsum(ordered, axis=axis, dtype=x.dtype)
    if exclusive:
        running = running - ordered
    return np.flip(running, axis) if reverse else running
