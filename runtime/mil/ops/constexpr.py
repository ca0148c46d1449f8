"""Compressed constants → dense ones: scaled integers, palettes, sparse masks; and the run-time quantize pair.

Meaning: Apple's MIL op reference, modules `iOS16.constexpr_ops`, `iOS17.quantization_ops`, `iOS18.compression`.
Integers are widened to float32 before any arithmetic, so that nothing wraps.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from runtime.mil.blob import unpack
from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import BY_NAME, Array
from runtime.mil.ops.elementwise import cast_dtype
from runtime.mil.ops.registry import Floats, Stored, op

#: elements looked up at once: each index takes eight bytes on the way
_PART = 1 << 18


def _along(parameter: Array, axis: int, rank: int) -> Array:
    """A scalar as it is; a vector laid along `axis` of `rank` dimensions."""
    if parameter.ndim == 0:
        return parameter
    return parameter.reshape([-1 if index == axis % rank else 1 for index in range(rank)])


@op("constexpr_affine_dequantize", since=6, result="scale")
def constexpr_affine_dequantize(quantized_data: Stored, zero_point: Stored, scale: Stored, axis: int) -> Array:
    """scale · (data - zero_point); scale and zero_point are scalars or vectors along `axis`."""
    rank, values = quantized_data.ndim, quantized_data.astype(np.float32)
    values -= _along(zero_point, axis, rank).astype(np.float32)
    values *= _along(scale, axis, rank)
    return values


def _in_blocks(values: Array, parts: tuple[int, ...]) -> Array:
    """A view of contiguous `values` with two axes for each: its `parts`, and the elements of one; each must divide."""
    for size, count in zip(values.shape, parts, strict=True):
        if count == 0 or size % count:
            raise ValueError(f"{count} blocks do not divide a dimension of {size}")
    return values.reshape(
        [axis for size, count in zip(values.shape, parts, strict=True) for axis in (count, size // count)]
    )


def _each_block(parameter: Array) -> Array:
    """One element a block, laid so that it broadcasts over a view in blocks."""
    return parameter.reshape([axis for parts in parameter.shape for axis in (parts, 1)])


@op("constexpr_blockwise_shift_scale", since=8, result="scale")
def constexpr_blockwise_shift_scale(data: Stored, scale: Stored, offset: Stored | None = None) -> Array:
    """scale · (data - offset), one scale and offset per block; block size = data size / scale size per dimension."""
    values = data.astype(np.float32, order="C")
    if offset is not None:
        shifted = _in_blocks(values, offset.shape)
        shifted -= _each_block(offset.astype(np.float32))
    scaled = _in_blocks(values, scale.shape)
    scaled *= _each_block(scale)
    return values


@op("constexpr_lut_to_dense", since=6, result="lut")
def constexpr_lut_to_dense(indices: Stored, lut: Stored, shape: tuple[int, ...]) -> Array:
    """`indices` is a bit stream, log2(entries) bits per element of `shape`, least significant bit first."""
    bits = max(1, (lut.size - 1).bit_length())
    dense = np.empty(prod(shape), dtype=lut.dtype)
    places = unpack(indices, bits, dense.size, signed=False)
    for start in range(0, dense.size, _PART):
        dense[start : start + _PART] = lut[places[start : start + _PART]]
    return dense.reshape(shape)


@op("constexpr_lut_to_dense", since=8, result="lut")
def constexpr_lut_to_dense_ios18(indices: Stored, lut: Stored, vector_axis: int | None = None) -> Array:
    """indices_S…, lut_G…·entries·vector: one palette per block of `indices`; each entry fills `vector` consecutive
    elements along `vector_axis`."""
    rank, vector = indices.ndim, lut.shape[-1]
    groups = lut.shape[:rank]
    if any(parts == 0 or size % parts for size, parts in zip(indices.shape, groups, strict=True)):
        raise ValueError(f"palettes {lut.shape} do not divide indices {indices.shape}")
    blocks = [np.arange(size) // (size // parts) for size, parts in zip(indices.shape, groups, strict=True)]
    dense = np.empty((*indices.shape, vector), dtype=lut.dtype)
    rows = max(1, _PART // max(1, indices[:1].size))
    for start in range(0, len(indices), rows):
        part = slice(start, start + rows)
        dense[part] = lut[(*np.ix_(blocks[0][part], *blocks[1:]), indices[part])]
    if vector == 1:
        return dense[..., 0]
    if vector_axis is None:
        raise UnsupportedOp("a vector palette without vector_axis", op="constexpr_lut_to_dense")
    where = vector_axis % rank
    filled = np.moveaxis(dense, -1, where + 1)
    return filled.reshape(*indices.shape[:where], indices.shape[where] * vector, *indices.shape[where + 1 :])


def _cast_result(_: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
    return (cast_dtype(static["output_dtype"]),)


@op("constexpr_cast", since=6, result=_cast_result)
def constexpr_cast(source_val: Stored, output_dtype: str) -> Array:
    return source_val.astype(BY_NAME[cast_dtype(output_dtype)].carrier)


def _filled(nonzero_data: Array, mask: Array) -> Array:
    if np.count_nonzero(mask) != nonzero_data.size:
        raise ValueError(f"{np.count_nonzero(mask)} set bits for {nonzero_data.size} elements")
    dense = np.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


@op("constexpr_sparse_to_dense", since=6)
def constexpr_sparse_to_dense(nonzero_data: Stored, mask: Stored, shape: tuple[int, ...]) -> Array:
    """`mask` is a bit stream with one bit per element of `shape`."""
    return _filled(nonzero_data, unpack(mask, 1, prod(shape), signed=False)).reshape(shape)


@op("constexpr_sparse_to_dense", since=8)
def constexpr_sparse_to_dense_ios18(nonzero_data: Stored, mask: Stored) -> Array:
    return _filled(nonzero_data, mask)


def _sparse_lut_result(dtypes: Mapping[str, str], _: Mapping[str, Any]) -> tuple[str, ...]:
    return "uint1", dtypes["lut"]


@op("constexpr_lut_to_sparse", since=8, result=_sparse_lut_result)
def constexpr_lut_to_sparse(
    indices_mask: Stored, indices_nonzero_data: Stored, lut: Stored, vector_axis: int | None = None
) -> tuple[Array, Array]:
    """The mask (spread over vectors) and the palettized elements where it is set."""
    dense = constexpr_lut_to_dense_ios18(_filled(indices_nonzero_data, indices_mask), lut, vector_axis)
    vector = lut.shape[-1]
    wide = indices_mask if vector == 1 else np.repeat(indices_mask, vector, axis=vector_axis)
    return wide, dense[wide != 0]


def _sparse_scale_result(dtypes: Mapping[str, str], _: Mapping[str, Any]) -> tuple[str, ...]:
    return "uint1", dtypes["scale"]


@op("constexpr_sparse_blockwise_shift_scale", since=8, result=_sparse_scale_result)
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Stored, nonzero_data: Stored, scale: Stored, offset: Stored | None = None
) -> tuple[Array, Array]:
    """The mask and the scaled elements where it is set."""
    dense = constexpr_blockwise_shift_scale(_filled(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]


def _quantize_result(_: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
    return (cast_dtype(static["output_dtype"]),)


@op("quantize", since=7, result=_quantize_result)
def quantize(
    input: Floats, scale: Floats, zero_point: Stored | None = None, axis: int | None = None, *, output_dtype: str
) -> Array:
    """clip(round(input / scale) + zero_point) to the range of `output_dtype`."""
    info = BY_NAME[cast_dtype(output_dtype)]
    steps = np.rint(input / _along(scale, axis or 0, input.ndim))
    if zero_point is not None:
        steps = steps + _along(zero_point, axis or 0, input.ndim).astype(np.float32)
    return np.clip(steps, info.low, info.high).astype(info.carrier)


@op("dequantize", since=7, result="scale")
def dequantize(input: Stored, scale: Floats, zero_point: Stored | None = None, axis: int | None = None) -> Array:
    """scale · (input - zero_point)."""
    steps = input.astype(np.float32)
    if zero_point is not None:
        steps = steps - _along(zero_point, axis or 0, input.ndim).astype(np.float32)
    return _along(scale, axis or 0, input.ndim) * steps
