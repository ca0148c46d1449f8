"""Random but reproducible operands for the ops that change shapes or address elements."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.tensor.mil.cases import (
    Case,
    Draw,
    anything,
    axes_of,
    axis_of,
    booleans,
    floats,
    integers,
    numbers,
    optional,
    shapes,
)


def reshape(draw: Draw) -> Case:
    shape = shapes(draw)
    target = draw(st.permutations(shape))
    if draw(st.booleans()):
        target = list(target)
        target[draw(st.integers(0, len(shape) - 1))] = -1
    elif draw(st.booleans()):
        target = [0 if draw(st.booleans()) else size for size in shape]
    return Case({"x": anything(draw, shape)}, {"shape": list(target)})


def transpose(draw: Draw) -> Case:
    shape = shapes(draw)
    perm = [axis - len(shape) if draw(st.booleans()) else axis for axis in draw(st.permutations(range(len(shape))))]
    return Case({"x": anything(draw, shape)}, {"perm": perm})


def expand_dims(draw: Draw) -> Case:
    shape, extra = shapes(draw, 1, 3), draw(st.integers(1, 2))
    rank = len(shape) + extra
    axes = draw(st.lists(st.integers(0, rank - 1), min_size=extra, max_size=extra, unique=True))
    return Case({"x": anything(draw, shape)}, {"axes": [a - rank if draw(st.booleans()) else a for a in axes]})


def squeeze(draw: Draw) -> Case:
    shape = (*shapes(draw, 1, 3), 1, 2)
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    axes = draw(st.lists(st.sampled_from(ones), min_size=1, unique=True))
    return Case(
        {"x": anything(draw, shape)},
        optional(draw, {"axes": [a - len(shape) if draw(st.booleans()) else a for a in axes]}),
    )


def flatten2d(draw: Draw) -> Case:
    shape = shapes(draw, 2, 4)
    return Case({"x": anything(draw, shape)}, {"axis": draw(st.integers(1 - len(shape), len(shape) - 1).filter(bool))})


def concat(draw: Draw) -> Case:
    shape = shapes(draw)
    axis, make = axis_of(draw, len(shape)), draw(st.sampled_from([floats, integers, booleans]))
    values = []
    for _ in range(draw(st.integers(1, 3))):
        size = list(shape)
        size[axis] = draw(st.integers(1, 4))
        values.append(make(draw, tuple(size)))
    return Case({"values": tuple(values)}, {"axis": axis})


def stack(draw: Draw) -> Case:
    shape, make = shapes(draw, 1, 3), draw(st.sampled_from([floats, integers, booleans]))
    values = tuple(make(draw, shape) for _ in range(draw(st.integers(1, 3))))
    return Case({"values": values}, {"axis": axis_of(draw, len(shape) + 1)})


def split(draw: Draw) -> Case:
    shape = list(shapes(draw))
    axis = axis_of(draw, len(shape))
    if draw(st.booleans()):
        parts = draw(st.integers(2, 3))
        shape[axis] *= parts
        return Case({"x": anything(draw, tuple(shape))}, {"axis": axis, "num_splits": parts})
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=3))
    shape[axis] = sum(sizes)
    return Case({"x": anything(draw, tuple(shape))}, {"axis": axis, "split_sizes": sizes})


def tile(draw: Draw) -> Case:
    shape = shapes(draw, 1, 3)
    return Case({"x": anything(draw, shape)}, {"reps": [draw(st.integers(1, 3)) for _ in shape]})


def reverse(draw: Draw) -> Case:
    shape = shapes(draw)
    return Case({"x": anything(draw, shape)}, optional(draw, {"axes": axes_of(draw, len(shape))}))


def pad(draw: Draw) -> Case:
    shape = tuple(size + 2 for size in shapes(draw, 1, 3))
    last = draw(st.integers(1, len(shape)))
    static: dict[str, Any] = {"pad": [draw(st.integers(0, 2)) for _ in range(2 * last)]}
    mode = draw(st.sampled_from(["constant", "reflect", "replicate"]))
    if mode != "constant" or draw(st.booleans()):
        static["mode"] = mode
    return Case({"x": floats(draw, shape)}, static | optional(draw, {"constant_val": np.float32(1.5)}))


def fill(draw: Draw) -> Case:
    value = draw(st.sampled_from([np.float32(2.5), np.int32(3), np.bool_(True)]))
    return Case({}, {"shape": list(shapes(draw))} | optional(draw, {"value": value}))


def fill_like(draw: Draw) -> Case:
    return Case(
        {"ref_tensor": floats(draw, shapes(draw))}, {"value": draw(st.sampled_from([np.float32(2.5), np.int32(3)]))}
    )


def range_1d(draw: Draw) -> Case:
    start, step, count = draw(st.integers(-4, 4)), draw(st.sampled_from([-2, -1, 1, 2, 3])), draw(st.integers(1, 6))
    kind = draw(st.sampled_from([np.int32, np.float32]))
    return Case({}, {"start": kind(start), "end": kind(start + step * count), "step": kind(step)})


def band_part(draw: Draw) -> Case:
    bounds = {"lower": draw(st.integers(-1, 3)), "upper": draw(st.integers(-1, 3))}
    return Case({"x": numbers(draw, shapes(draw, 2, 4))}, optional(draw, bounds))


# --- positions ---------------------------------------------------------------------------------------------------


def slice_by_index(draw: Draw) -> Case:
    shape = shapes(draw, 1, 4, 5)
    begin, end, stride, masks = [], [], [], {"begin_mask": [], "end_mask": [], "squeeze_mask": []}
    for size in shape:
        first, last = sorted((draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))))
        backwards = draw(st.integers(0, 4)) == 0
        begin.append(last if backwards else first)
        # the end of a backward slice must exist; -1 would mean the last element
        end.append(max(first - 1, 0) if backwards else last + 1)
        stride.append(-1 if backwards else draw(st.integers(1, 3)))
        whole = backwards and (first == 0 or begin[-1] <= end[-1])
        squeezed = draw(st.integers(0, 4)) == 0
        masks["begin_mask"].append(not squeezed and draw(st.integers(0, 3)) == 0)
        masks["end_mask"].append(not squeezed and (whole or draw(st.integers(0, 3)) == 0))
        masks["squeeze_mask"].append(squeezed)
        if draw(st.booleans()):
            begin[-1] -= size
    if all(masks["squeeze_mask"]):
        masks["squeeze_mask"][0] = False
        begin[0], end[0], stride[0] = 0, shape[0], 1
    make = draw(st.sampled_from([floats, integers]))
    return Case({"x": make(draw, shape)}, {"begin": begin, "end": end, "stride": stride, **masks})


def slice_update(draw: Draw) -> Case:
    case = slice_by_index(draw)
    x, static = case.dynamic["x"], case.static
    index = tuple(
        begin if squeezed else slice(None if from_start else begin, None if to_end else end, step)
        for begin, end, step, from_start, to_end, squeezed in zip(
            static["begin"],
            static["end"],
            static["stride"],
            static["begin_mask"],
            static["end_mask"],
            static["squeeze_mask"],
            strict=True,
        )
    )
    update = np.asarray(x[index])
    return Case({"x": x, "update": (update * 0 + 7).astype(x.dtype)}, static)


def slice_by_size(draw: Draw) -> Case:
    shape = shapes(draw, 1, 4, 5)
    begin = [draw(st.integers(0, size - 1)) for size in shape]
    size = [-1 if draw(st.booleans()) else draw(st.integers(1, n - b)) for n, b in zip(shape, begin, strict=True)]
    return Case({"x": anything(draw, shape)}, {"begin": begin, "size": size})


def gather(draw: Draw) -> Case:
    shape = shapes(draw)
    axis = axis_of(draw, len(shape))
    indices = integers(draw, shapes(draw, 1, 3), 0, shape[axis] - 1)
    return Case(
        {"x": numbers(draw, shape), "indices": indices}, optional(draw, {"axis": axis}) if axis == 0 else {"axis": axis}
    )


def gather_batched(draw: Draw) -> Case:
    shape = shapes(draw, 2, 4)
    batch = draw(st.integers(1, len(shape) - 1))
    axis = draw(st.integers(batch, len(shape) - 1))
    indices = integers(draw, (*shape[:batch], *shapes(draw, 1, 2)), 0, shape[axis] - 1)
    return Case({"x": floats(draw, shape), "indices": indices}, {"axis": axis, "batch_dims": batch})


def gather_along_axis(draw: Draw) -> Case:
    shape = shapes(draw)
    axis = axis_of(draw, len(shape))
    wanted = list(shape)
    wanted[axis] = draw(st.integers(1, 4))
    return Case(
        {"x": floats(draw, shape), "indices": integers(draw, tuple(wanted), 0, shape[axis] - 1)}, {"axis": axis}
    )
