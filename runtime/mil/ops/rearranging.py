"""Ops that move elements between batch, channels and space, and in windows along an axis.

Meaning: Apple's MIL op reference, module `tensor_transformation` of iOS15 and iOS16. The order of the channels of
`depth_to_space` and `space_to_depth` is TensorFlow's, the block before the channel; that of the pixel ops PyTorch's.
"""

from __future__ import annotations

import numpy as np

from runtime.mil.numerics import Array
from runtime.mil.ops.registry import Anything, Floats, Indices, op

Numbers4 = tuple[int, ...]


@op("depth_to_space", moves=True)
def depth_to_space(x: Floats, block_size: int) -> Array:
    """x_N(b·b·C)HW → NC(H·b)(W·b)."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, block_size, block_size, channels // block_size**2, height, width)
    return blocks.transpose(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block_size, width * block_size)


@op("space_to_depth", moves=True)
def space_to_depth(x: Floats, block_size: int) -> Array:
    """x_NC(H·b)(W·b) → N(b·b·C)HW."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // block_size, block_size, width // block_size, block_size)
    return blocks.transpose(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // block_size, width // block_size)


@op("pixel_shuffle", moves=True)
def pixel_shuffle(x: Floats, upscale_factor: int) -> Array:
    """x_N(C·f·f)HW → NC(H·f)(W·f)."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels // upscale_factor**2, upscale_factor, upscale_factor, height, width)
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * upscale_factor, width * upscale_factor)


@op("pixel_unshuffle", since=6, moves=True)
def pixel_unshuffle(x: Floats, downscale_factor: int) -> Array:
    """x_NC(H·f)(W·f) → N(C·f·f)HW."""
    batch, channels, height, width = x.shape
    high, wide = height // downscale_factor, width // downscale_factor
    blocks = x.reshape(batch, channels, high, downscale_factor, wide, downscale_factor)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(batch, -1, high, wide)


@op("space_to_batch", moves=True)
def space_to_batch(x: Floats, block_shape: Numbers4, paddings: Numbers4) -> Array:
    """x_NCHW, padded with zeros by (top, bottom, left, right) → (b·b·N)C(H/b)(W/b)."""
    down, right = block_shape
    padded = np.pad(x, [(0, 0), (0, 0), paddings[:2], paddings[2:]])
    batch, channels, height, width = padded.shape
    blocks = padded.reshape(batch, channels, height // down, down, width // right, right)
    return blocks.transpose(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // down, width // right)


@op("batch_to_space", moves=True)
def batch_to_space(x: Floats, block_shape: Numbers4, crops: Numbers4) -> Array:
    """x_(b·b·N)CHW → NC(H·b)(W·b), of which (top, bottom, left, right) is cut."""
    down, right = block_shape
    batch, channels, height, width = x.shape
    blocks = x.reshape(down, right, batch // (down * right), channels, height, width)
    whole = blocks.transpose(2, 3, 4, 0, 5, 1).reshape(-1, channels, height * down, width * right)
    return whole[:, :, crops[0] : height * down - crops[1], crops[2] : width * right - crops[3]]


@op("crop", moves=True)
def crop(x: Floats, crop_height: Numbers4, crop_width: Numbers4) -> Array:
    """Without the first and last rows and columns of the last two dimensions."""
    height, width = x.shape[-2:]
    return x[..., crop_height[0] : height - crop_height[1], crop_width[0] : width - crop_width[1]]


@op("sliding_windows", moves=True)
def sliding_windows(x: Anything, axis: int, size: int, stride: int = 1) -> Array:
    """The windows of `size` along `axis` every `stride` elements; their elements stand on the axis after it."""
    where = axis % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=where)
    picked = windows[(*[slice(None)] * where, slice(None, None, stride))]
    return np.moveaxis(picked, -1, where + 1)


@op("reverse_sequence", moves=True)
def reverse_sequence(x: Anything, lengths: Indices, seq_axis: int = 0, batch_axis: int = 0) -> Array:
    """The first `lengths[i]` elements along `seq_axis` of each slice of `batch_axis` in reverse order."""
    rows = np.moveaxis(x, (batch_axis, seq_axis), (0, 1))
    size = rows.shape[1]
    if lengths.size and (lengths.min() < 0 or lengths.max() > size):
        raise IndexError(f"lengths in [{lengths.min()}, {lengths.max()}] for an axis of {size}")
    steps = np.arange(size)
    last = lengths.astype(np.int64).reshape(-1, 1)
    order = np.where(steps < last, last - 1 - steps, steps)
    return np.moveaxis(rows[np.arange(rows.shape[0])[:, None], order], (0, 1), (batch_axis, seq_axis))
