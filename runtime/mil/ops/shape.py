"""Ops that change a tensor's shape, order or extent without computing on its elements.

Meaning: Apple's MIL op reference, modules `tensor_transformation` and `tensor_operation`. Sizes may be constants or
values; a constant shape is prepared once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Annotated, Any

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array
from runtime.mil.ops.registry import (
    BOOL,
    FLOAT,
    INT,
    Anything,
    Domain,
    Floats,
    Indices,
    Kernel,
    Many,
    Numbers,
    Reference,
    Sizes,
    op,
)

#: tensors of which only the shapes are read, and one number and one flag for each of them
References = Annotated[tuple[Array, ...], Domain(FLOAT | INT | BOOL, same=False, variadic=True)]
Places = Annotated[tuple[Array, ...], Domain(INT, same=False, variadic=True)]
Flags = Annotated[tuple[Array, ...], Domain(BOOL, same=False, variadic=True)]


def _reshaped(x: Array, shape: Sequence[int]) -> Array:
    """Zeros are current sizes, counted from the last dimension, and 1 where `x` has none; -1 is left to numpy."""
    ahead = (1,) * (len(shape) - x.ndim)
    current = (*ahead, *x.shape)[-len(shape) :] if len(shape) else ()
    return x.reshape([size if size else current[index] for index, size in enumerate(map(int, shape))])


def _reshaped_ios15(x: Array, shape: Sequence[int]) -> Array:
    """A zero is defined only where the ranks are equal."""
    if len(shape) != x.ndim and not all(shape):
        raise ValueError(f"a size of 0 in {[int(size) for size in shape]} for a tensor of rank {x.ndim}")
    return _reshaped(x, shape)


def _planned(compute: Callable[[Array, Sequence[int]], Array]) -> Callable[[Array], Kernel]:
    def plan(shape: Array) -> Kernel:
        wanted = tuple(int(size) for size in shape)
        return lambda x: compute(x, wanted) if 0 in wanted else x.reshape(wanted)

    return plan


@op("reshape", moves=True, plan=_planned(_reshaped_ios15))
def reshape(x: Anything, shape: Sizes) -> Array:
    return _reshaped_ios15(x, list(shape))


@op("reshape", since=7, moves=True, plan=_planned(_reshaped))
def reshape_ios17(x: Anything, shape: Sizes) -> Array:
    return _reshaped(x, list(shape))


@op("reshape_like", since=6, moves=True)
def reshape_like(x: Anything, ref_tensors: References, begins: Places, ends: Places, end_masks: Flags) -> Array:
    """To the sizes [begin:end] of each reference in turn; a mask leaves the end open."""
    sizes: list[int] = []
    for other, begin, end, is_open in zip(ref_tensors, begins, ends, end_masks, strict=True):
        sizes += other.shape[int(begin) : None if is_open else int(end)]
    return x.reshape(sizes)


@op("transpose", moves=True)
def transpose(x: Anything, perm: tuple[int, ...]) -> Array:
    return x.transpose(perm)


@op("expand_dims", moves=True)
def expand_dims(x: Anything, axes: tuple[int, ...]) -> Array:
    """Negative axes count from the end of the result."""
    return np.expand_dims(x, axes)


@op("squeeze", moves=True)
def squeeze(x: Anything, axes: tuple[int, ...] | None = None) -> Array:
    """Axes whose size is not 1 are left alone."""
    wanted = range(x.ndim) if axes is None else axes
    return np.squeeze(x, tuple(axis for axis in wanted if x.shape[axis] == 1))


@op("flatten2d", moves=True)
def flatten2d(x: Anything, axis: int = 1) -> Array:
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


@op("concat", result="values", moves=True)
def concat(values: Many, axis: int, interleave: bool = False) -> Array:
    """`interleave` takes one slice of each operand in turn. Scalars are stacked."""
    if values[0].ndim == 0:
        return np.stack(values)
    if interleave:
        where = axis % values[0].ndim
        return np.stack(values, axis=where + 1).reshape(
            *values[0].shape[:where], len(values) * values[0].shape[where], *values[0].shape[where + 1 :]
        )
    return np.concatenate(values, axis=axis)


@op("stack", result="values", moves=True)
def stack(values: Many, axis: int) -> Array:
    return np.stack(values, axis=axis)


def _split_result(dtypes: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
    sizes = static.get("split_sizes")
    return (dtypes["x"],) * (static["num_splits"] if sizes is None else len(sizes))


@op("split", result=_split_result, moves=True)
def split(
    x: Anything, axis: int, num_splits: int | None = None, split_sizes: tuple[int, ...] | None = None
) -> tuple[Array, ...]:
    if split_sizes is None:
        if num_splits is None:
            raise UnsupportedOp("split without num_splits and split_sizes", op="split")
        return tuple(np.split(x, num_splits, axis=axis))
    if sum(split_sizes) != x.shape[axis]:
        raise ValueError(f"split sizes {split_sizes} do not add up to {x.shape[axis]}")
    return tuple(np.split(x, np.cumsum(split_sizes)[:-1], axis=axis))


def _plan_tile(reps: Array) -> Kernel:
    times = tuple(int(count) for count in reps)
    return lambda x: np.tile(x, times)


@op("tile", moves=True, plan=_plan_tile)
def tile(x: Anything, reps: Sizes) -> Array:
    return np.tile(x, tuple(int(count) for count in reps))


@op("reverse", moves=True)
def reverse(x: Anything, axes: tuple[int, ...] | None = None) -> Array:
    return np.flip(x, axes)


@op("pad")
def pad(x: Floats, pad: Sizes, mode: str = "constant", constant_val: float = 0.0) -> Array:
    """`pad` holds (before, after) of the last dimensions."""
    amounts = [int(amount) for amount in pad]
    around = [(0, 0)] * (x.ndim - len(amounts) // 2) + list(zip(amounts[::2], amounts[1::2], strict=True))
    match mode:
        case "constant":
            return np.pad(x, around, constant_values=constant_val)
        case "reflect":
            return np.pad(x, around, mode="reflect")
        case "replicate":
            return np.pad(x, around, mode="edge")
        case _:
            raise UnsupportedOp(f"pad mode {mode!r} is not modelled", op="pad")


@op("shape", result="int32")
def shape(x: Anything) -> Array:
    return np.array(x.shape, dtype=np.int32)


def _value_result(dtypes: Mapping[str, str], _: Mapping[str, Any]) -> tuple[str, ...]:
    return (dtypes.get("value", "float32"),)


@op("fill", result=_value_result, moves=True)
def fill(shape: Sizes, value: Anything | None = None) -> Array:
    """A tensor of `value` (float32 zero by default)."""
    return np.full(tuple(int(size) for size in shape), np.float32(0) if value is None else value)


@op("fill_like", since=6, result=_value_result, moves=True)
def fill_like(ref_tensor: Reference, value: Anything | None = None) -> Array:
    return np.full(ref_tensor.shape, np.float32(0) if value is None else value)


@op("range_1d", result="start")
def range_1d(start: Numbers, end: Numbers, step: Numbers) -> Array:
    return np.arange(start, end, step, dtype=np.asarray(start).dtype)


@op("band_part", moves=True)
def band_part(x: Anything, lower: int = -1, upper: int = -1) -> Array:
    """Zero outside a band of `lower` sub- and `upper` super-diagonals (negative: all of them). The op multiplies by the
    band: an infinity outside it becomes NaN, as in the op's definition."""
    below = np.subtract.outer(np.arange(x.shape[-2]), np.arange(x.shape[-1]))
    band = ((lower < 0) | (below <= lower)) & ((upper < 0) | (-below <= upper))
    return x * band.astype(x.dtype)


def _one_hot_result(dtypes: Mapping[str, str], _: Mapping[str, Any]) -> tuple[str, ...]:
    return (dtypes.get("on_value", "int32"),)


@op("one_hot", result=_one_hot_result, moves=True)
def one_hot(
    indices: Indices,
    one_hot_vector_size: Sizes,
    on_value: Anything | None = None,
    off_value: Anything | None = None,
    axis: int = -1,
) -> Array:
    """A new axis of `one_hot_vector_size` at `axis`, on at each index; an index outside is off everywhere."""
    classes = np.arange(int(one_hot_vector_size))
    where = axis % (indices.ndim + 1)
    hit = np.expand_dims(indices, where) == classes.reshape(-1, *[1] * (indices.ndim - where))
    on, off = (np.int32(1) if on_value is None else on_value), (np.int32(0) if off_value is None else off_value)
    return np.where(hit, on, off)
