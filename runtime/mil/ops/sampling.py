"""Images sampled at given coordinates: resample and affine.

Meaning: Apple's MIL op reference, module `image_resizing` of iOS15, iOS16 and iOS17. Coordinates are (x, y), so the
last dimension of the image comes first.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array
from runtime.mil.ops.registry import FLOAT, INT, Domain, Floats, op

Places = Annotated[Array, Domain(FLOAT | INT, same=False)]


def _elements(op_type: str, places: Array, size: int, mode: str, align_corners: bool) -> Array:
    """Coordinates of one dimension in elements: 0 is the centre of the first one."""
    match mode:
        case "unnormalized":
            return places
        case "normalized_minus_one_to_one":
            share = (places + 1) / 2
        case "normalized_zero_to_one":
            share = places
        case _:
            raise UnsupportedOp(f"{op_type}: coordinates_mode {mode!r} is not modelled", op=op_type)
    return share * (size - 1) if align_corners else share * size - 0.5


def _within(places: Array, size: int, padding: str) -> Array:
    """Element numbers outside the axis, by the ones inside that they repeat."""
    match padding:
        case "border" | "constant":
            return np.clip(places, 0, size - 1)
        case "reflection":
            period = max(1, 2 * (size - 1))
            around = np.abs(places) % period
            return np.minimum(around, period - around) if size > 1 else places * 0
        case "symmetric":
            around = places % (2 * size)
            return np.minimum(around, 2 * size - 1 - around)
        case _:
            raise UnsupportedOp(f"resample: padding_mode {padding!r} is not modelled", op="resample")


def _taken(x: Array, rows: Array, columns: Array, padding: str, value: float) -> Array:
    """x_BCHW at whole rows_BPQ and columns_BPQ → BCPQ, `value` outside in mode "constant"."""
    high, wide = x.shape[2:]
    inside = (rows >= 0) & (rows < high) & (columns >= 0) & (columns < wide)
    picked = x[np.arange(x.shape[0])[:, None, None], :, _within(rows, high, padding), _within(columns, wide, padding)]
    if padding == "constant":
        picked = np.where(inside[..., None], picked, np.float32(value))
    return np.moveaxis(picked, -1, 1)


def _sampled(x: Array, across: Array, down: Array, sampling: str, padding: str, value: float) -> Array:
    """x_BCHW at across_BPQ, down_BPQ, in elements."""
    # beyond 2^30 elements every place repeats or is outside; whole numbers stay exact
    across, down = (np.clip(np.nan_to_num(part), -(2.0**30), 2.0**30) for part in (across, down))
    if sampling == "nearest":
        return _taken(x, np.rint(down).astype(np.int64), np.rint(across).astype(np.int64), padding, value)
    if sampling != "bilinear":
        raise UnsupportedOp(f"resample: sampling_mode {sampling!r} is not modelled", op="resample")
    top, left = np.floor(down).astype(np.int64), np.floor(across).astype(np.int64)
    low = (down - top).astype(np.float32)[:, None]
    right = (across - left).astype(np.float32)[:, None]
    result = np.zeros((), np.float32)
    for row, vertical in ((top, 1 - low), (top + 1, low)):
        for column, horizontal in ((left, 1 - right), (left + 1, right)):
            share = vertical * horizontal
            # an element with no share says nothing, whatever it holds
            result = result + np.where(share == 0, np.float32(0), share * _taken(x, row, column, padding, value))
    return result


@op("resample")
def resample(
    x: Floats,
    coordinates: Places,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Array:
    """x_BCHW, coordinates_BPQ2 → BCPQ. Halfway between two elements the nearest is the even one (PyTorch's rule)."""
    places = coordinates.astype(np.float64)
    across = _elements("resample", places[..., 0], x.shape[3], coordinates_mode, align_corners)
    down = _elements("resample", places[..., 1], x.shape[2], coordinates_mode, align_corners)
    return _sampled(x, across, down, sampling_mode, padding_mode, padding_value)


@op("affine")
def affine(
    x: Floats,
    transform_matrix: Floats,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Array:
    """x_BCHW at (a0·x + a1·y + a2, b0·x + b1·y + b2) for x and y over the result, from -1 to 1; transform_matrix_B6 (or
    16). What the text calls not supported is refused."""
    form = (sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners)
    if form != ("bilinear", "constant", 0, "normalized_minus_one_to_one", True):
        raise UnsupportedOp(f"affine with {form} is not modelled", op="affine")
    rows, columns = np.linspace(-1, 1, output_height), np.linspace(-1, 1, output_width)
    y, x_ = np.meshgrid(rows, columns, indexing="ij")
    grid = np.stack([x_, y, np.ones_like(x_)], axis=-1)
    places = np.einsum("hwk,bjk->bhwj", grid, transform_matrix.reshape(-1, 2, 3).astype(np.float64))
    places = np.broadcast_to(places, (x.shape[0], *places.shape[1:]))
    across = _elements("affine", places[..., 0], x.shape[3], coordinates_mode, align_corners)
    down = _elements("affine", places[..., 1], x.shape[2], coordinates_mode, align_corners)
    return _sampled(x, across, down, "bilinear", "constant", 0)
