"""Boxes of images, resized to one size: crop_resize.

Meaning: Apple's MIL op reference, module `image_resizing` of iOS15, iOS16 and iOS17, and `SamplingMode` of its
`NeuralNetwork.proto`, which speaks of any interval: the grid of `resize_bilinear`, from the first place of a box to its
last. What lies beyond the image is `pad_value` from iOS16 on, as coremltools' own tests of the op have it; before, it
is refused.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array
from runtime.mil.ops.registry import FLOAT, Domain, Floats, Indices, op
from runtime.mil.ops.resizing import blend, grid

_OP = "crop_resize"
Boxes = Annotated[Array, Domain(FLOAT | {"uint16"}, same=False)]
#: how a box is written → the places of its first row, first column, last row and last column
_CORNERS = {"CORNERS_HEIGHT_FIRST": (0, 1, 2, 3), "CORNERS_WIDTH_FIRST": (1, 0, 3, 2)}
#: a grid that is symmetric in the two ends of its interval
_EITHER_WAY = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS")


class _Form(NamedTuple):
    """How boxes are written and sampled; `beyond` is what the outside of an image holds, None where nothing says it."""

    sizes: tuple[int, int]
    normalized: bool
    scale: float
    corners: str
    mode: str
    beyond: float | None


def _interval(mode: str, start: float, end: float, wanted: int) -> Array:
    """Where samples stand between two places of an axis."""
    if end < start and mode not in _EITHER_WAY:
        raise UnsupportedOp(f"{_OP}: {mode} of a box whose end is before its start is not modelled", op=_OP)
    steps = grid(_OP, mode, abs(end - start) + 1, wanted)
    return start + np.copysign(steps, end - start)


def _crop(x: Array, box: Array, form: _Form) -> Array:
    """x_CHW in a box of (first row, first column, last row, last column), in elements → CPQ."""
    inside = []
    for axis, wanted, start, end in ((-2, form.sizes[0], box[0], box[2]), (-1, form.sizes[1], box[1], box[3])):
        points, last = _interval(form.mode, start, end, wanted), x.shape[axis] - 1
        inside.append((points >= 0) & (points <= last))
        x = blend(x, axis, np.clip(np.nan_to_num(points), 0, last))
    within = inside[0][:, None] & inside[1]
    if form.beyond is None and not within.all():
        raise UnsupportedOp(f"{_OP}: a box beyond the image, of which CoreML5 does not say what it holds there", op=_OP)
    return np.where(within, x, np.float32(form.beyond or 0))


def _boxes(x: Array, boxes: Array, form: _Form) -> Array:
    """boxes_N4 as (first row, first column, last row, last column) in elements of x_BCHW."""
    if form.corners not in _CORNERS:
        # whether a size counts elements or the steps between them is not documented
        raise UnsupportedOp(f"{_OP}: box_coordinate_mode {form.corners!r} is not modelled", op=_OP)
    scale = [form.scale * (size - 1 if form.normalized else 1) for size in x.shape[2:]]
    return boxes.astype(np.float64)[:, _CORNERS[form.corners]] * np.array([*scale, *scale])


def _crops(x: Array, boxes: Array, indices: Array, form: _Form) -> Array:
    """x_BCHW, boxes_N4 of the images indices_N → NCPQ."""
    whole = indices.astype(np.int64)
    if not np.array_equal(whole, indices) or (whole < 0).any() or (whole >= x.shape[0]).any():
        raise ValueError(f"boxes of the images {indices.tolist()}, of which there are {x.shape[0]}")
    pairs = zip(whole, _boxes(x, boxes, form), strict=True)
    return np.stack([_crop(x[index], box, form) for index, box in pairs])


def _regions(x: Array, roi: Array, form: _Form) -> Array:
    """x_BCHW, roi_N1411 → NBCPQ; roi_N1511, which begins with the image → N1CPQ."""
    rows = roi.reshape(roi.shape[0], -1)
    if rows.shape[1] == 4:
        return np.stack([[_crop(image, box, form) for image in x] for box in _boxes(x, rows, form)])
    return _crops(x, rows[:, 1:], rows[:, 0], form)[:, None]


@op(_OP)
def crop_resize(
    x: Floats,
    roi: Floats,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
) -> Array:
    how = (normalized_coordinates, spatial_scale, box_coordinate_mode, sampling_mode)
    return _regions(x, roi, _Form((target_height, target_width), *how, None))


@op(_OP, since=6)
def crop_resize_ios16(
    x: Floats,
    roi: Floats,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Array:
    """A sample beyond the image is `pad_value`, as TensorFlow's `crop_and_resize` extrapolates."""
    how = (normalized_coordinates, spatial_scale, box_coordinate_mode, sampling_mode)
    return _regions(x, roi, _Form((target_height, target_width), *how, pad_value))


@op(_OP, since=7)
def crop_resize_ios17(
    x: Floats,
    boxes: Boxes,
    box_indices: Indices | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Array:
    """x_BCHW, boxes_N4, box_indices_N (default: the n-th box of the n-th image) → NCPQ."""
    how = (normalized_coordinates, spatial_scale, box_coordinate_mode, sampling_mode)
    images = np.arange(boxes.shape[0]) if box_indices is None else box_indices
    return _crops(x, boxes, images, _Form((target_height, target_width), *how, pad_value))
