"""Convolution in one, two or three spatial dimensions, as products over sliding windows (float32 accumulator)."""

from __future__ import annotations

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array
from runtime.mil.ops.registry import Floats, op


def _padding(
    pad_type: str, pad: tuple[int, ...] | None, sizes: tuple[int, ...], kernel: list[int], strides: tuple[int, ...]
) -> list[tuple[int, int]]:
    """(before, after) per spatial dimension; `kernel` holds the dilated kernel sizes."""
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        if pad is None or len(pad) != 2 * len(sizes):
            raise UnsupportedOp(f"conv with pad_type custom and pad {pad}", op="conv")
        return list(zip(pad[::2], pad[1::2], strict=True))
    if pad_type not in ("same", "same_lower"):
        raise UnsupportedOp(f"conv pad_type {pad_type!r} is not modelled", op="conv")
    both = [max(0, -(-size // s) * s - size + k - s) for size, k, s in zip(sizes, kernel, strides, strict=True)]
    if any(amount % 2 for amount in both):
        # which side gets the odd element is documented in two contradictory ways
        raise UnsupportedOp(f"conv pad_type {pad_type!r} with an odd padding {both} is not modelled", op="conv")
    return [(amount // 2, amount // 2) for amount in both]


@op("conv")
def conv(
    x: Floats,
    weight: Floats,
    bias: Floats | None = None,
    strides: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    pad: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Array:
    """x_NC*, weight_O(C/groups)*, bias_O → NO*."""
    rank = x.ndim - 2
    steps, spread = strides or (1,) * rank, dilations or (1,) * rank
    dilated = [(size - 1) * gap + 1 for size, gap in zip(weight.shape[2:], spread, strict=True)]
    around = _padding(pad_type, pad, x.shape[2:], dilated, steps)
    padded = np.pad(x, [(0, 0), (0, 0), *around])
    axes = tuple(range(2, 2 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(padded, dilated, axis=axes)
    picks = [slice(None, None, step) for step in steps] + [slice(None, None, gap) for gap in spread]
    windows = windows[(slice(None), slice(None), *picks)]
    places = windows.shape[2 : 2 + rank]
    # N G (C/G) places kernel → N G places (C/G·kernel)
    batch, channels = windows.shape[:2]
    split = windows.reshape(batch, groups, channels // groups, *places, *weight.shape[2:])
    order = (0, 1, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
    columns = split.transpose(order).reshape(batch, groups, int(np.prod(places)), -1)
    filters = weight.reshape(groups, weight.shape[0] // groups, -1).swapaxes(-1, -2)
    product = np.matmul(columns, filters).swapaxes(-1, -2).reshape(batch, weight.shape[0], *places)
    if bias is not None:
        product = product + bias.reshape(-1, *[1] * rank)
    return product
