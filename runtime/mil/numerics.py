"""Declared dtypes and a numeric mode → how values are carried and rounded.

Floats are carried as float32 whatever their declared dtype; a value declared float16 is rounded to the float16 grid
(round to nearest, ties to even, overflow to infinity, subnormals kept) when the mode asks for it. Integers and booleans
are carried as themselves.

Modes (`Mode`):

    exact32      no rounding to float16 at all: isolates conversion errors from precision
    fp16_round   every op computes in float32 and its result is rounded to the declared dtype (default)
    fp16_strict  also rounds inside composite ops (softmax, layer_norm, attention, reductions, gelu, silu) and sums
                 reductions pairwise in float16: a pessimistic model of an accelerator. Matrix products keep a
                 float32 accumulator
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Mode = Literal["exact32", "fp16_round", "fp16_strict"]
MODES: tuple[Mode, ...] = ("exact32", "fp16_round", "fp16_strict")

Array: TypeAlias = NDArray[Any]
Rounding = Callable[[Array], Array]

#: largest finite float16
FP16_MAX = 65504.0
#: magnitudes from here on round to infinity (halfway between 65504 and 65536, ties to even)
FP16_OVERFLOW = 65520.0
#: non-zero magnitudes up to here round to zero (half of the smallest subnormal, ties to even)
FP16_UNDERFLOW = 2.0**-25


@dataclass(frozen=True)
class DType:
    """One element type of MIL: `name` in numpy's spelling, `bits` as stored, `stored` and `carrier` numpy dtypes."""

    name: str
    kind: Literal["float", "int", "bool", "string"]
    bits: int
    stored: str
    carrier: str

    @property
    def low(self) -> int:
        """Smallest integer of an int dtype."""
        return 0 if self.name.startswith("u") else -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """Largest integer of an int dtype."""
        return (1 << self.bits) - 1 if self.name.startswith("u") else (1 << (self.bits - 1)) - 1


def _integer(name: str, bits: int, stored: str) -> DType:
    return DType(name, "int", bits, stored, stored)


#: MIL's name of an element type (`MIL.proto`, enum DataType) → what it is here. Whatever is absent is not modelled:
#: bfloat16, float8, uint64. Of the labels of a classifier alone are int64, and float64 what it says of each of them.
DTYPES: dict[str, DType] = {
    "FLOAT16": DType("float16", "float", 16, "float16", "float32"),
    "FLOAT32": DType("float32", "float", 32, "float32", "float32"),
    "FLOAT64": DType("float64", "float", 64, "float64", "float64"),
    "BOOL": DType("bool", "bool", 8, "bool", "bool"),
    "STRING": DType("string", "string", 0, "object", "object"),
    "INT8": _integer("int8", 8, "int8"),
    "INT16": _integer("int16", 16, "int16"),
    "INT32": _integer("int32", 32, "int32"),
    "INT64": _integer("int64", 64, "int64"),
    "UINT8": _integer("uint8", 8, "uint8"),
    "UINT16": _integer("uint16", 16, "uint16"),
    "UINT32": _integer("uint32", 32, "uint32"),
    "INT4": _integer("int4", 4, "int8"),
    "UINT1": _integer("uint1", 1, "uint8"),
    "UINT2": _integer("uint2", 2, "uint8"),
    "UINT3": _integer("uint3", 3, "uint8"),
    "UINT4": _integer("uint4", 4, "uint8"),
    "UINT6": _integer("uint6", 6, "uint8"),
}
BY_NAME: dict[str, DType] = {dtype.name: dtype for dtype in DTYPES.values()}

_EXPONENT = np.uint32(0x7F800000)
_SMALLEST_NORMAL = np.uint32((127 - 14) << 23)
_LIFT = np.uint32((13 << 23) | 0x400000)
#: elements from which each of the faster ways is faster
_SMALL, _SMALL_TORCH = 3000, 2000
#: elements that stay in the processor's cache between the steps of a conversion, of numpy's and of torch's
_PART, _PART_TORCH = 1 << 16, 1 << 18
#: sign, exponent and mantissa of a float16 in their places in a float32, and the difference of the exponents' biases
_WIDE, _UP = np.array(0x8FFFE000, dtype=np.uint32).view(np.int32)[()], np.float32(2.0**112)


def exact(x: Array) -> Array:
    """No rounding."""
    return x


def round16(x: Array) -> Array:
    """float32 → nearest float16 value, carried as float32. Bit for bit what `astype(float16)` gives.

    Large arrays go through torch's conversion where somebody has loaded torch (it uses the processor's own, six times
    faster than numpy's); else they add and subtract 1.5·2^(e+13), where 2^e is the magnitude of the element (at least
    the smallest normal): the sum then has the float16 spacing in its last bit, two to three times faster than numpy's
    conversion, which is faster for small arrays. Very large ones are taken part by part, so that what is between stays
    in the processor's cache and takes next to no memory.
    """
    torch = sys.modules.get("torch")
    if torch is not None and x.size >= _SMALL_TORCH and x.flags.c_contiguous and x.flags.writeable:
        if x.size <= _PART_TORCH:
            halved: Array = torch.from_numpy(x).half().float().numpy()
            return halved
        return _rounded(x, np.empty_like(x))
    if x.size < _SMALL:
        return x.astype(np.float16).astype(np.float32)
    contiguous = np.ascontiguousarray(x)
    return _rounded(contiguous, np.empty_like(contiguous))


def round16_over(x: Array) -> Array:
    """`round16` of an array that nobody else has: a very large one is overwritten."""
    if x.size > _PART_TORCH and x.flags.c_contiguous and x.flags.writeable:
        return _rounded(x, x)
    return round16(x)


def _rounded(x: Array, into: Array) -> Array:
    """The rounding of contiguous `x`, part by part, in `into`, which may be `x`."""
    flat, out = x.reshape(-1), into.reshape(-1)
    torch = sys.modules.get("torch")
    if torch is not None and x.flags.writeable:
        every, places = (torch.from_numpy(one).split(_PART_TORCH) for one in (flat, out))
        for part, place in zip(every, places, strict=True):
            place.copy_(part.half())
        return into
    for start in range(0, x.size, _PART):
        part, place = flat[start : start + _PART], out[start : start + _PART]
        _round_part(part.copy() if into is x else part, place)
    return into


def _round_part(x: Array, out: Array) -> None:
    if not max(x.max(), -x.min()) <= FP16_MAX:
        out[...] = x.astype(np.float16)
        return
    lift = x.view(np.uint32) & _EXPONENT
    np.maximum(lift, _SMALLEST_NORMAL, out=lift)
    lift += _LIFT
    anchor = lift.view(np.float32)
    np.add(x, anchor, out=out)
    out -= anchor
    np.copysign(out, x, out=out)


def widen(x: Array, room: Array | None = None) -> Array:
    """float16 → float32 in the same order, every element as it is. In `room` (flat, float32, as large or larger) where
    one is given and the elements lie without gaps.

    Bit for bit what `astype(float32)` gives (a NaN stays one). Without torch: the bits of exponent and mantissa moved
    to their places and multiplied by 2^112, a power of two, which is exact and makes normal numbers of subnormal ones.
    """
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return widen(x.T, room).T
    if not x.flags.c_contiguous:
        return x.astype(np.float32)
    flat = x.reshape(-1)
    out = np.empty(x.size, dtype=np.float32) if room is None else room[: x.size]
    torch = sys.modules.get("torch")
    if torch is not None and x.size >= _SMALL_TORCH and x.flags.writeable:
        torch.from_numpy(out).copy_(torch.from_numpy(flat))
    else:
        for start in range(0, x.size, _PART):
            _widen_part(flat[start : start + _PART], out[start : start + _PART])
    return out.reshape(x.shape)


def _widen_part(x: Array, out: Array) -> None:
    if x.size < _SMALL or has_extremes(x):
        out[...] = x
        return
    bits = out.view(np.int32)
    # the sign fills everything above; all but its own bit goes with the mask
    np.left_shift(x.view(np.int16), 13, out=bits, dtype=np.int32)
    np.bitwise_and(bits, _WIDE, out=bits)
    np.multiply(out, _UP, out=out)


def has_extremes(x: Array) -> bool:
    """Whether a contiguous float16 array has a NaN or an infinity: every bit of an exponent set."""
    flat = x.reshape(-1, order="A")
    return bool(flat.size and (flat.view(np.int16).max() >= 0x7C00 or flat.view(np.uint16).max() >= 0xFC00))


def narrow(x: Array) -> Array:
    """float32, contiguous in C or Fortran order → nearest float16 in that order: what `round16` gives, in half the
    bytes."""
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return narrow(x.T).T
    torch = sys.modules.get("torch")
    if torch is not None and x.size >= _SMALL_TORCH and x.flags.writeable:
        halved: Array = torch.from_numpy(x).half().numpy()
        return halved
    return x.astype(np.float16)


def rounding(mode: Mode, dtype: str) -> Rounding | None:
    """How a result declared `dtype` is rounded in `mode`; None when it is kept."""
    return round16 if dtype == "float16" and mode != "exact32" else None


def inner_rounding(mode: Mode, dtype: str) -> Rounding:
    """How intermediate results inside a composite op with a result declared `dtype` are rounded."""
    return round16 if dtype == "float16" and mode == "fp16_strict" else exact


def total(x: Array, axes: Sequence[int] | None, keep_dims: bool, inner: Rounding) -> Array:
    """Sum over `axes` (all when None). With a rounding `inner`, pairwise with every partial sum rounded."""
    over = tuple(range(x.ndim)) if axes is None else tuple(axis % x.ndim for axis in axes)
    if inner is exact or not np.issubdtype(x.dtype, np.floating):
        return np.sum(x, axis=over, keepdims=keep_dims, dtype=x.dtype)
    kept = [axis for axis in range(x.ndim) if axis not in over]
    flat = x.transpose([*kept, *over]).reshape([x.shape[axis] for axis in kept] + [-1])
    while flat.shape[-1] > 1:
        half = flat.shape[-1] // 2
        pairs = inner(flat[..., :half] + flat[..., half : 2 * half])
        flat = np.concatenate([pairs, flat[..., 2 * half :]], axis=-1)
    if flat.shape[-1] == 0:
        flat = np.zeros((*flat.shape[:-1], 1), dtype=x.dtype)
    shape = [1 if axis in over else x.shape[axis] for axis in range(x.ndim)] if keep_dims else flat.shape[:-1]
    return flat.reshape(shape)
