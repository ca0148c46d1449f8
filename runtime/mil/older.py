"""Compressed constants as they were before iOS 18: scales and palettes of whole channels or tensors, bits in streams.

    constexpr_affine_dequantize   int8, one scale and one zero point (0) for a tensor, or a vector of them along axis 0
    constexpr_lut_to_dense        one palette of 2, 4, 16, 64 or 256 numbers for a tensor, its indices a stream of bits
    constexpr_sparse_to_dense     the numbers that are kept, and a stream of one bit for each element

A stream begins with the least significant bit of its first byte (coremltools' iOS16 operators).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.mil.quantize import Form, Palette, Quantized

AFFINE_OP = "constexpr_affine_dequantize"
#: elements that are packed at a time, a whole number of bytes of any width
_PART = 1 << 20


def along(shape: tuple[int, ...], scales: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape of a number or vector of scales, laid along an axis of what they scale."""
    single = (1,) * len(shape)
    return (*single[:axis], scales[0], *single[axis + 1 :]) if scales else single


def packed(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """The lowest `bits` of each value as one stream, its last byte filled up with zeros."""
    flat = values.reshape(-1)
    places = np.arange(bits, dtype=np.uint8)
    pieces = [
        np.packbits((flat[start : start + _PART, None] >> places) & 1, bitorder="little")
        for start in range(0, flat.size, _PART)
    ]
    return np.concatenate(pieces) if pieces else np.empty(0, np.uint8)


def constant(stored: Form, **at: Any) -> Any:
    """The constant of a form in such an operator (call inside the block that it stands in).

    Raises TypeError for scales or palettes of parts of a tensor, which these operators do not have.
    """
    from coremltools.converters.mil.mil import Builder as mb

    if isinstance(stored, Quantized):
        scale = stored.scale.reshape(-1)
        if stored.scale.size not in (1, stored.data.shape[0]) or stored.scale.shape[0] != scale.size:
            raise TypeError("scales of blocks")
        scale = scale if scale.size > 1 else scale[0]
        zero = np.zeros_like(scale, dtype=np.int8) if scale.ndim else np.int8(0)
        return mb.constexpr_affine_dequantize(
            quantized_data=stored.data, zero_point=zero, scale=scale, axis=np.int32(0), **at
        )
    if isinstance(stored, Palette):
        if stored.lut.size != stored.lut.shape[-2]:
            raise TypeError("several palettes")
        lut = stored.lut.reshape(-1)
        indices = packed(stored.indices, (lut.size - 1).bit_length())
        return mb.constexpr_lut_to_dense(
            indices=indices, lut=lut, shape=np.array(stored.indices.shape, np.uint32), **at
        )
    return mb.constexpr_sparse_to_dense(
        nonzero_data=stored.nonzero_fp16,
        mask=packed(stored.mask, 1),
        shape=np.array(stored.mask.shape, np.uint32),
        **at,
    )
