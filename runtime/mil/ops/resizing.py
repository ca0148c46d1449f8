"""Ops that sample the last two dimensions at other places: upsample and resize.

Meaning: Apple's MIL op reference, module `image_resizing` of iOS15, iOS16 and iOS17. Its text says where linear
interpolation samples. Where the nearest element is taken it does not: what every reading gives is computed, and sizes
for which readings differ are refused.
"""

from __future__ import annotations

from math import floor

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array
from runtime.mil.ops.registry import Floats, Numbers, Sizes, op


def grid(op_type: str, mode: str, size: float, wanted: int) -> Array:
    """Where `wanted` samples stand on an axis of `size` elements, in elements and inside the axis."""
    steps = np.arange(wanted, dtype=np.float64)
    gaps = max(1, wanted - 1)
    match mode:
        case "STRICT_ALIGN_CORNERS":
            points = steps * ((size - 1) / gaps)
        case "ALIGN_CORNERS":
            points = steps * ((size - 1) / gaps) if wanted > 1 else np.array([(size - 1) / 2])
        case "DEFAULT":
            points = steps * (size / wanted)
        case "OFFSET_CORNERS":
            points = (steps + 0.5) * (max(1, size - 1) / wanted)
        case "UNALIGN_CORNERS":
            points = (steps + 0.5) * (size / wanted) - 0.5
        case _:
            raise UnsupportedOp(f"{op_type}: sampling mode {mode!r} is not modelled", op=op_type)
    return np.clip(points, 0, size - 1)


def blend(x: Array, axis: int, points: Array) -> Array:
    """Linear interpolation along `axis` at `points`."""
    low = np.floor(points).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    share = (points - low).astype(np.float32).reshape(-1, *[1] * (-1 - axis))
    # exact where a sample stands on an element, whatever its neighbour holds
    above = np.where(share == 0, np.float32(0), share * np.take(x, high, axis))
    return (1 - share) * np.take(x, low, axis) + above


def _linear(op_type: str, x: Array, modes: tuple[str, str], sizes: tuple[int, int]) -> Array:
    for axis, mode, wanted in zip((-2, -1), modes, sizes, strict=True):
        x = blend(x, axis, grid(op_type, mode, x.shape[axis], wanted))
    return x


def _nearest(op_type: str, x: Array, axis: int, readings: list[Array]) -> Array:
    """The elements that all `readings` take. Raises UnsupportedOp when they differ."""
    if any(not np.array_equal(readings[0], other) for other in readings[1:]):
        raise UnsupportedOp(
            f"{op_type} of {x.shape[axis]} to {len(readings[0])} elements: which is the nearest is not documented",
            op=op_type,
        )
    return np.take(x, readings[0], axis)


def _readings(size: int, wanted: int, *, halves: bool) -> list[Array]:
    """Nearest elements by their corners, and (with `halves`) by their centres too."""
    steps = np.arange(wanted, dtype=np.int64)
    corners = steps * size // wanted
    return [corners, (2 * steps + 1) * size // (2 * wanted)] if halves else [corners]


@op("upsample_nearest_neighbor", moves=True)
def upsample_nearest_neighbor(x: Floats, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Array:
    """Both front ends write it for the element at floor(i / scale), and for the one at floor(i · size / new size)."""
    for axis, scale in ((-2, scale_factor_height), (-1, scale_factor_width)):
        size = x.shape[axis]
        wanted = floor(np.float32(scale) * size)
        by_scale = np.minimum((np.arange(wanted) / np.float64(scale)).astype(np.int64), size - 1)
        x = _nearest("upsample_nearest_neighbor", x, axis, [*_readings(size, wanted, halves=False), by_scale])
    return x


@op("resize_nearest_neighbor", moves=True)
def resize_nearest_neighbor(x: Floats, target_size_height: int, target_size_width: int) -> Array:
    for axis, wanted in ((-2, target_size_height), (-1, target_size_width)):
        x = _nearest("resize_nearest_neighbor", x, axis, _readings(x.shape[axis], wanted, halves=True))
    return x


def _upsample_bilinear(
    x: Array, height: float, width: float, align_corners: bool, half_pixel_centers: bool | None
) -> Array:
    centres = not align_corners if half_pixel_centers is None else half_pixel_centers
    if align_corners and centres:
        raise UnsupportedOp("upsample_bilinear with aligned corners and half-pixel centres", op="upsample_bilinear")
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if centres else "DEFAULT"
    sizes = (floor(np.float32(height) * x.shape[-2]), floor(np.float32(width) * x.shape[-1]))
    return _linear("upsample_bilinear", x, (mode, mode), sizes)


@op("upsample_bilinear", added={"half_pixel_centers": 6})
def upsample_bilinear(
    x: Floats,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Array:
    """The step between samples follows from the new size, not from the factor."""
    return _upsample_bilinear(x, scale_factor_height, scale_factor_width, align_corners, half_pixel_centers)


@op("resize_bilinear")
def resize_bilinear(
    x: Floats, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Array:
    return _linear("resize_bilinear", x, (sampling_mode, sampling_mode), (target_size_height, target_size_width))


@op("resize", since=7)
def resize(
    x: Numbers,
    shape: Sizes,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Array:
    """The last `resized_dims` of `shape` are the new sizes of x's last dimensions; 0 keeps one."""
    if x.dtype.kind != "f" and interpolation_mode == "LINEAR":
        raise UnsupportedOp("resize: linear interpolation of integers is not modelled", op="resize")
    for axis in range(-resized_dims, 0):
        wanted = int(shape[axis]) or x.shape[axis]
        if interpolation_mode == "LINEAR":
            x = blend(x, axis, grid("resize", sampling_mode, x.shape[axis], wanted))
        elif interpolation_mode == "NEAREST_NEIGHBOR" and sampling_mode == "DEFAULT":
            x = _nearest("resize", x, axis, _readings(x.shape[axis], wanted, halves=True))
        else:
            raise UnsupportedOp(f"resize: {interpolation_mode} with {sampling_mode} is not modelled", op="resize")
    return x
