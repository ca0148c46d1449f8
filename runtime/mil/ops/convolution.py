"""Convolution in one, two or three spatial dimensions, and its transpose, as products with a float32 accumulator."""

from __future__ import annotations

import itertools
from typing import Annotated

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array, Rounding
from runtime.mil.ops.padding import around, custom, halves
from runtime.mil.ops.registry import Domain, Floats, op

Sizes = tuple[int, ...]
#: weights of `conv_quantized`, as they are stored
Bytes = Annotated[Array, Domain(frozenset({"uint8"}), same=False)]


@op("conv", loose=7)
def conv(
    x: Floats,
    weight: Floats,
    bias: Floats | None = None,
    strides: Sizes | None = None,
    pad_type: str = "valid",
    pad: Sizes | None = None,
    dilations: Sizes | None = None,
    groups: int = 1,
) -> Array:
    """x_NC*, weight_O(C/groups)*, bias_O → NO*."""
    rank = x.ndim - 2
    steps, spread = strides or (1,) * rank, dilations or (1,) * rank
    dilated = [(size - 1) * gap + 1 for size, gap in zip(weight.shape[2:], spread, strict=True)]
    pads = around("conv", pad_type, pad, x.shape[2:], dilated, steps)
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
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


def _per_filter(what: str, numbers: Array, weight: Array) -> Array:
    """One number, or one for each of the O filters, beside weight_O(C/groups)*."""
    if numbers.size not in (1, weight.shape[0]) or numbers.size not in (1, numbers.shape[0]):
        raise UnsupportedOp(
            f"conv_quantized: {what} of shape {numbers.shape} for {weight.shape[0]} filters is not modelled",
            op="conv_quantized",
        )
    return numbers.reshape(-1, *[1] * (weight.ndim - 1))


@op("conv_quantized")
def conv_quantized(
    x: Floats,
    weight: Bytes,
    bias: Bytes | None = None,
    quant_scale: Floats | None = None,
    quant_bias: Floats | None = None,
    quantization_type: str = "",
    nbits: int = 8,
    strides: Sizes | None = None,
    pad_type: str = "valid",
    pad: Sizes | None = None,
    dilations: Sizes | None = None,
    groups: int = 1,
    *,
    inner: Rounding,
) -> Array:
    """`conv` with weight · quant_scale + quant_bias, as the TensorFlow front end writes a convolution of a quantized
    graph. Of the other forms (a look-up table, fewer bits, a bias of bytes) no text says what they mean."""
    form = (quantization_type, nbits, bias is None)
    if form != ("linear", 8, True):
        raise UnsupportedOp(
            f"conv_quantized of type {quantization_type!r} with {nbits} bits{'' if form[2] else ' and a bias'}"
            " is not modelled",
            op="conv_quantized",
        )
    if quant_scale is None or quant_bias is None:
        raise ValueError("a quantized convolution without quant_scale or quant_bias")
    scale, offset = _per_filter("quant_scale", quant_scale, weight), _per_filter("quant_bias", quant_bias, weight)
    wide = inner(inner(weight.astype(np.float32) * scale) + offset)
    return conv(x, wide, None, strides, pad_type, pad, dilations, groups)


def _transposed_pads(
    pad_type: str, pad: Sizes | None, output_shape: Sizes | None, whole: list[int], inputs: Sizes, strides: Sizes
) -> list[tuple[int, int]]:
    """(what is cut before, what is left) per spatial dimension; `whole` are the sizes before any cut."""
    wanted = None if output_shape is None else output_shape[2:]
    if pad_type == "same":
        # the gradient of a convolution whose padding is `same`
        sizes = [size * step for size, step in zip(inputs, strides, strict=True)] if wanted is None else list(wanted)
        return [(halves(max(0, full - size))[0], size) for full, size in zip(whole, sizes, strict=True)]
    if pad_type not in ("valid", "custom"):
        raise UnsupportedOp(f"conv_transpose pad_type {pad_type!r} is not modelled", op="conv_transpose")
    pads = custom("conv_transpose", pad if pad_type == "custom" else None, len(whole))
    left = [full - sum(both) for full, both in zip(whole, pads, strict=True)]
    if wanted is not None and list(wanted) != left:
        raise UnsupportedOp(
            f"conv_transpose: output_shape {list(wanted)} where {left} is left after the padding", op="conv_transpose"
        )
    return [(before, size) for (before, _), size in zip(pads, left, strict=True)]


@op("conv_transpose", loose=7)
def conv_transpose(
    x: Floats,
    weight: Floats,
    bias: Floats | None = None,
    pad: Sizes | None = None,
    output_shape: Sizes | None = None,
    pad_type: str = "valid",
    strides: Sizes | None = None,
    dilations: Sizes | None = None,
    groups: int = 1,
) -> Array:
    """x_NC*, weight_C(O/groups)*, bias_O → NO*: every element adds its multiple of the kernel to the result."""
    rank = x.ndim - 2
    steps, spread = strides or (1,) * rank, dilations or (1,) * rank
    batch, channels, *sizes = x.shape
    per_group, *kernel = weight.shape[1:]
    whole = [
        (size - 1) * step + (length - 1) * gap + 1
        for size, step, length, gap in zip(sizes, steps, kernel, spread, strict=True)
    ]
    cuts = _transposed_pads(pad_type, pad, output_shape, whole, tuple(sizes), steps)
    # G (O/G·kernel) (C/G) · N G (C/G) places
    filters = weight.reshape(groups, channels // groups, -1).swapaxes(-1, -2)
    parts = np.matmul(filters, x.reshape(batch, groups, channels // groups, -1))
    parts = parts.reshape(batch, groups * per_group, *kernel, *sizes)
    room = [max(full, before + left) for full, (before, left) in zip(whole, cuts, strict=True)]
    result = np.zeros((batch, groups * per_group, *room), dtype=x.dtype)
    for place in itertools.product(*map(range, kernel)):
        target = tuple(
            slice(at * gap, at * gap + (size - 1) * step + 1, step)
            for at, gap, size, step in zip(place, spread, sizes, steps, strict=True)
        )
        result[(slice(None), slice(None), *target)] += parts[(slice(None), slice(None), *place)]
    result = result[(slice(None), slice(None), *(slice(before, before + left) for before, left in cuts))]
    return result if bias is None else result + bias.reshape(-1, *[1] * rank)
