"""Slices by begin and end, reading (slice_by_index, slice_by_size) and writing (slice_update, iOS18).

Meaning: Apple's MIL op reference: `begin_mask[i]` takes the start of axis i, `end_mask[i]` its end, `squeeze_mask[i]`
takes the one element at `begin[i]` and drops the axis. Constant slices are prepared once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.mil.numerics import Array
from runtime.mil.ops.registry import Anything, Kernel, Sizes, op

Flags = tuple[bool, ...] | None
Steps = tuple[int, ...] | None


def _index(
    begin: Sequence[int], end: Sequence[int], stride: Steps, begin_mask: Flags, end_mask: Flags, squeeze_mask: Flags
) -> tuple[slice | int, ...]:
    rank = len(begin)
    steps = stride or (1,) * rank
    from_start, to_end, squeeze = ((mask or (False,) * rank) for mask in (begin_mask, end_mask, squeeze_mask))
    index: list[slice | int] = []
    for axis in range(rank):
        if squeeze[axis]:
            index.append(0 if from_start[axis] else int(begin[axis]))
        else:
            start = None if from_start[axis] else int(begin[axis])
            stop = None if to_end[axis] else int(end[axis])
            index.append(slice(start, stop, steps[axis]))
    return tuple(index)


def _plan_slice(
    begin: Array,
    end: Array,
    stride: Steps = None,
    begin_mask: Flags = None,
    end_mask: Flags = None,
    squeeze_mask: Flags = None,
) -> Kernel:
    index = _index(begin.tolist(), end.tolist(), stride, begin_mask, end_mask, squeeze_mask)
    return lambda x: x[index]


@op("slice_by_index", moves=True, plan=_plan_slice)
def slice_by_index(
    x: Anything,
    begin: Sizes,
    end: Sizes,
    stride: Steps = None,
    begin_mask: Flags = None,
    end_mask: Flags = None,
    squeeze_mask: Flags = None,
) -> Array:
    return x[_index(begin.tolist(), end.tolist(), stride, begin_mask, end_mask, squeeze_mask)]


@op("slice_by_size", moves=True)
def slice_by_size(x: Anything, begin: Sizes, size: Sizes) -> Array:
    """A size of -1 takes the rest of the axis; a negative begin counts from its end."""
    index = []
    for axis, (start, count) in enumerate(zip(begin.tolist(), size.tolist(), strict=True)):
        first = start + x.shape[axis] if start < 0 else start
        index.append(slice(first, None if count == -1 else first + count))
    return x[tuple(index)]


def _plan_update(
    begin: Array,
    end: Array,
    stride: Steps = None,
    begin_mask: Flags = None,
    end_mask: Flags = None,
    squeeze_mask: Flags = None,
) -> Kernel:
    index = _index(begin.tolist(), end.tolist(), stride, begin_mask, end_mask, squeeze_mask)
    return lambda x, update: _updated(x, update, index)


def _updated(x: Array, update: Array, index: tuple[slice | int, ...]) -> Array:
    result = np.array(x)
    if result[index].shape != update.shape:
        raise ValueError(f"an update of shape {update.shape} for a slice of shape {result[index].shape}")
    result[index] = update
    return result


@op("slice_update", since=8, moves=True, plan=_plan_update)
def slice_update(
    x: Anything,
    update: Anything,
    begin: Sizes,
    end: Sizes,
    stride: Steps = None,
    begin_mask: Flags = None,
    end_mask: Flags = None,
    squeeze_mask: Flags = None,
) -> Array:
    """A copy of x whose slice is `update`; their shapes must be equal (no broadcasting)."""
    return _updated(x, update, _index(begin.tolist(), end.tolist(), stride, begin_mask, end_mask, squeeze_mask))
