"""Ops that read or write at computed positions: gather and scatter in their forms; and the one that gives positions.

Up to iOS16 a negative index of a gather counts from the end; whether one of a scatter does its text leaves open, so it
is not modelled. From iOS17 an index outside [0, size) is an error with
`validate_indices` and undefined without; here it is an error (IndexError) always, so that no result rests on it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array
from runtime.mil.ops.registry import Anything, Indices, Numbers, op


def _bounded(indices: Array, size: int) -> Array:
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise IndexError(f"indices in [{indices.min()}, {indices.max()}] for an axis of {size}")
    return indices


def _gather(x: Array, indices: Array, axis: int, batch_dims: int) -> Array:
    if not batch_dims:
        return np.take(x, indices, axis)
    where = axis % x.ndim
    batch = x.shape[:batch_dims]
    # open the remaining axes of x around `axis`, and lay the indices along it
    lead = np.ix_(*(np.arange(size) for size in batch))
    moved = np.moveaxis(x, where, batch_dims)
    picks = tuple(grid.reshape(*grid.shape, *[1] * (indices.ndim - batch_dims)) for grid in lead)
    taken = moved[(*picks, indices)]
    # taken: batch, indices' rest, x's rest before and after `axis`
    rest = indices.ndim - batch_dims
    return np.moveaxis(taken, range(batch_dims, batch_dims + rest), range(where, where + rest))


@op("gather", moves=True, added={"batch_dims": 6})
def gather(x: Anything, indices: Indices, axis: int = 0, batch_dims: int = 0) -> Array:
    return _gather(x, indices, axis, batch_dims)


@op("gather", since=7, moves=True, ignores=("validate_indices",))
def gather_ios17(x: Anything, indices: Indices, axis: int = 0, batch_dims: int = 0) -> Array:
    return _gather(x, _bounded(indices, x.shape[axis]), axis, batch_dims)


@op("gather_along_axis", moves=True)
def gather_along_axis(x: Anything, indices: Indices, axis: int = 0) -> Array:
    return np.take_along_axis(x, indices, axis)


@op("gather_along_axis", since=7, moves=True, ignores=("validate_indices",))
def gather_along_axis_ios17(x: Anything, indices: Indices, axis: int = 0) -> Array:
    return np.take_along_axis(x, _bounded(indices, x.shape[axis]), axis)


def _gather_nd(x: Array, indices: Array, batch_dims: int) -> Array:
    lead = np.ix_(*(np.arange(size) for size in x.shape[:batch_dims])) if batch_dims else ()
    picks = tuple(grid.reshape(*grid.shape, *[1] * (indices.ndim - 1 - batch_dims)) for grid in lead)
    return x[(*picks, *np.moveaxis(indices, -1, 0))]


@op("gather_nd", moves=True, added={"batch_dims": 6})
def gather_nd(x: Anything, indices: Indices, batch_dims: int = 0) -> Array:
    """The last axis of `indices` addresses leading axes of x (after `batch_dims` shared ones)."""
    return _gather_nd(x, indices, batch_dims)


@op("gather_nd", since=7, moves=True, ignores=("validate_indices",))
def gather_nd_ios17(x: Anything, indices: Indices, batch_dims: int = 0) -> Array:
    for place in range(indices.shape[-1]):
        _bounded(indices[..., place], x.shape[batch_dims + place])
    return _gather_nd(x, indices, batch_dims)


_COMBINE: dict[str, Callable[..., None]] = {
    "add": np.add.at,
    "sub": np.subtract.at,
    "mul": np.multiply.at,
    "div": np.divide.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _scattered(data: Array, index: tuple[Array | slice, ...], updates: Array, mode: str) -> Array:
    result = np.array(data)
    if mode == "update":
        result[index] = updates
    elif mode in _COMBINE:
        _COMBINE[mode](result, index, updates)
    else:
        raise UnsupportedOp(f"scatter mode {mode!r} is not modelled", op="scatter")
    return result


def _open(indices: Array, op_type: str) -> None:
    """Raises UnsupportedOp for an index whose meaning the op's text before iOS17 leaves open."""
    if indices.size and indices.min() < 0:
        raise UnsupportedOp(
            f"op {op_type}: a negative index ({indices.min()}) before CoreML7 is not modelled", op=op_type
        )


@op("scatter")
def scatter(data: Numbers, indices: Indices, updates: Numbers, axis: int = 0, mode: str = "add") -> Array:
    _open(indices, "scatter")
    return scatter_ios17(data, indices, updates, axis, mode)


@op("scatter", since=7, ignores=("validate_indices",))
def scatter_ios17(data: Numbers, indices: Indices, updates: Numbers, axis: int = 0, mode: str = "add") -> Array:
    """`updates` combined into `data` at one-dimensional `indices` along `axis`; the default mode is what coremltools
    writes, "add"."""
    where = axis % data.ndim
    return _scattered(data, (*[slice(None)] * where, _bounded(indices, data.shape[where])), updates, mode)


@op("scatter_along_axis")
def scatter_along_axis(data: Numbers, indices: Indices, updates: Numbers, axis: int = 0, mode: str = "add") -> Array:
    _open(indices, "scatter_along_axis")
    return scatter_along_axis_ios17(data, indices, updates, axis, mode)


@op("scatter_along_axis", since=7, ignores=("validate_indices",))
def scatter_along_axis_ios17(
    data: Numbers, indices: Indices, updates: Numbers, axis: int = 0, mode: str = "add"
) -> Array:
    where = axis % data.ndim
    index: list[Array | slice] = list(np.indices(indices.shape, sparse=True))
    index[where] = _bounded(indices, data.shape[where])
    return _scattered(data, tuple(index), updates, mode)


@op("scatter_nd")
def scatter_nd(data: Numbers, indices: Indices, updates: Numbers, mode: str = "add") -> Array:
    _open(indices, "scatter_nd")
    return scatter_nd_ios17(data, indices, updates, mode)


@op("scatter_nd", since=7, ignores=("validate_indices",))
def scatter_nd_ios17(data: Numbers, indices: Indices, updates: Numbers, mode: str = "add") -> Array:
    """The last axis of `indices` addresses leading axes of `data`."""
    for place in range(indices.shape[-1]):
        _bounded(indices[..., place], data.shape[place])
    return _scattered(data, tuple(np.moveaxis(indices, -1, 0)), updates, mode)


@op("non_zero", result="int32")
def non_zero(x: Anything) -> Array:
    """Indices of the elements that are not zero, one row each, in the order of the elements; NaN is one of them."""
    return np.argwhere(x).astype(np.int32)
