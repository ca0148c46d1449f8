"""Pools: the largest, the mean or the root of the squares' sum in a window over one, two or three spatial dimensions.

Meaning: Apple's MIL op reference, module `iOS15.pool`. A window without any element has no defined result and is
refused.
"""

from __future__ import annotations

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array, Rounding, total
from runtime.mil.ops.padding import around, places
from runtime.mil.ops.registry import Floats, op

Sizes = tuple[int, ...]


def _windows(
    name: str,
    x: Array,
    value: float,
    kernel: Sizes,
    strides: Sizes | None,
    pad_type: str,
    pad: Sizes | None,
    ceil: bool,
) -> tuple[Array, list[tuple[Array, Array]]]:
    """NC, places, kernel; and per dimension how many elements of the data, and of data and padding, each window
    holds."""
    rank = x.ndim - 2
    steps = strides or (1,) * rank
    if ceil and (rank > 2 or pad_type in ("same", "same_lower")):
        raise UnsupportedOp(f"{name}: ceil_mode with {rank} dimensions and pad_type {pad_type!r}", op=name)
    pads = around(name, pad_type, pad, x.shape[2:], kernel, steps)
    if ceil and any(before != after for before, after in pads):
        raise UnsupportedOp(f"{name}: ceil_mode with unequal padding {pads} is not modelled", op=name)
    wide, counts = [], []
    for size, both, length, step in zip(x.shape[2:], pads, kernel, steps, strict=True):
        count = places(size, both, length, step, ceil_mode=ceil)
        beyond = max(0, (count - 1) * step + length - size - sum(both))
        wide.append((both[0], both[1] + beyond))
        begin = np.arange(count) * step
        end = begin + length
        data = np.minimum(end, size + both[0]) - np.maximum(begin, both[0])
        counts.append((np.maximum(data, 0), np.minimum(end, size + sum(both)) - begin))
    padded = np.pad(x, [(0, 0), (0, 0), *wide], constant_values=value)
    views = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=tuple(range(2, 2 + rank)))
    return views[(slice(None), slice(None), *(slice(None, None, step) for step in steps))], counts


def _filled(name: str, counts: list[Array]) -> None:
    if any(count.size and count.min() <= 0 for count in counts):
        raise UnsupportedOp(f"{name}: a window holds no element, which leaves its result open", op=name)


def _kernel_axes(x: Array) -> tuple[int, ...]:
    return tuple(range(x.ndim, 2 * x.ndim - 2))


@op("max_pool", moves=True)
def max_pool(
    x: Floats,
    kernel_sizes: Sizes,
    pad_type: str,
    strides: Sizes | None = None,
    pad: Sizes | None = None,
    ceil_mode: bool = False,
) -> Array:
    """x_NC* → NC*; what is padded is never the largest."""
    windows, counts = _windows("max_pool", x, -np.inf, kernel_sizes, strides, pad_type, pad, ceil_mode)
    _filled("max_pool", [data for data, _ in counts])
    return windows.max(axis=_kernel_axes(x))


@op("avg_pool")
def avg_pool(
    x: Floats,
    kernel_sizes: Sizes,
    pad_type: str,
    strides: Sizes | None = None,
    pad: Sizes | None = None,
    ceil_mode: bool = False,
    exclude_padding_from_average: bool = False,
    *,
    inner: Rounding,
) -> Array:
    """x_NC* → NC*. Zeros are padded; they count unless excluded. What lies beyond the padding (`ceil_mode`) never
    counts."""
    windows, counts = _windows("avg_pool", x, 0, kernel_sizes, strides, pad_type, pad, ceil_mode)
    held = [data if exclude_padding_from_average else every for data, every in counts]
    _filled("avg_pool", held)
    area = np.ones((), np.float32)
    for count in held:
        area = np.multiply.outer(area, count.astype(np.float32))
    return total(windows, _kernel_axes(x), False, inner) / area


@op("l2_pool")
def l2_pool(
    x: Floats,
    kernel_sizes: Sizes,
    pad_type: str,
    strides: Sizes | None = None,
    pad: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    inner: Rounding,
) -> Array:
    """x_NC* → NC*: the root of the sum of squares."""
    if x.ndim > 4:
        raise UnsupportedOp(f"l2_pool over {x.ndim - 2} dimensions is not modelled", op="l2_pool")
    windows, _ = _windows("l2_pool", x, 0, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return np.sqrt(total(inner(windows * windows), _kernel_axes(x), False, inner))
