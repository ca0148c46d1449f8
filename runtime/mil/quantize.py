"""Float32 weight + what the recipe asks → the stored form: float16, integers with float16 scales, a palette, or a mask.

Integers are symmetric, without offset, one scale s for each channel, tensor or block of neighbouring inputs:

    w ≈ s · q,   q in −Q … Q,   Q = 127 (int8) or 7 (int4),   s = ceil₁₆(max|w| / Q)

The scale is rounded *up* to float16 before anything is quantized with it, so that no value saturates and the stored
scale is the one that was used (coremltools quantizes with a float32 scale and rounds it afterwards).

A palette holds the 2ᵇ values with the least sum of squares (`kmeans`), in float16 and in order, for a tensor or for a
group of its rows; every weight is the index of the nearest one.

A sparse tensor keeps the given part of its weights, the largest in magnitude, in float16; the others are zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import Refusal
from runtime.contract.recipe import BITS, SCALED, Recipe, Rule, Weights
from runtime.mil.kmeans import centres

#: elements that are quantized at a time
_PART = 1 << 20
#: largest integer of each scaled form
QMAX = {form: (1 << (BITS[form] - 1)) - 1 for form in SCALED}
Float: TypeAlias = NDArray[np.float32]


class Quantized(NamedTuple):
    """data with the weight's shape; scale_fp16 of the same rank, extent 1 on every axis it does not follow, and as many
    along an axis as there are blocks."""

    data: NDArray[np.int8]
    scale: NDArray[np.float16]


class Palette(NamedTuple):
    """indices with the weight's shape; lut_fp16 of its rank and two more: groups of rows, 1 …, entries, 1."""

    indices: NDArray[np.uint8]
    lut: NDArray[np.float16]


class Sparse(NamedTuple):
    """mask of ones and zeros with the weight's shape; the weights where it is one, in its order."""

    nonzero_fp16: NDArray[np.float16]
    mask: NDArray[np.uint8]


Form: TypeAlias = Quantized | Palette | Sparse


def wanted(recipe: Recipe, tensor: str, aliases: list[str], shape: Sequence[int]) -> Weights:
    """What the recipe asks for one tensor of the checkpoint.

    The default speaks of matrices: a vector (norm weight, bias) stays float16 unless a rule names it. Raises Refusal
    when a rule asks for vectors in another form, when blocks or groups do not divide the tensor, or when the names of
    one tied tensor get different answers.
    """
    answers = {name: _one(recipe, name, len(shape)) for name in (tensor, *aliases)}
    if len(set(answers.values())) > 1:
        text = ", ".join(f"{name}: {answer.said}" for name, answer in answers.items())
        raise Refusal(
            f"one tied tensor gets different quantization ({text})",
            place="quantization.rules",
            action="write one rule that matches every name of the tensor, or untie the embeddings",
        )
    if why := answers[tensor].misfit(tuple(shape)):
        raise Refusal(
            f"`{tensor}` cannot be stored {answers[tensor].said}: {why}",
            place="quantization",
            action="take a size that divides it, or add a later rule that stores it otherwise",
        )
    return answers[tensor]


def _one(recipe: Recipe, name: str, rank: int) -> Weights:
    chosen = recipe.of(name).plain
    if rank >= 2 or chosen.weights == "fp16":
        return chosen
    named_by_rule = any(matches(rule, name) for rule in recipe.rules)
    if named_by_rule:
        raise Refusal(
            f"`{name}` is a vector; {chosen.weights} is for matrices",
            place="quantization.rules",
            action=f"add a later rule that keeps `{name.removesuffix('.weight')}` at fp16",
        )
    return Weights(weights="fp16", granularity=chosen.granularity)


def matches(rule: Rule, name: str) -> bool:
    """Whether a rule speaks of a tensor, named as in the checkpoint."""
    return fnmatchcase(name.removesuffix(".weight"), rule.match)


def quantize(weight: Float, asked: Weights) -> Form:
    """The stored form of a float32 weight; channels are axis 0 (rows of a linear, words of an embedding), inputs the
    last one. Raises ValueError for float16, which stores the weight itself."""
    if asked.weights in SCALED:
        return _scaled(weight, asked)
    if asked.weights == "fp16":
        raise ValueError("float16 is no quantization")
    return _sparse(weight, asked) if asked.weights == "sparse" else _palette(weight, asked)


def _sparse(weight: Float, asked: Weights) -> Sparse:
    mask = np.zeros(weight.size, np.uint8)
    # of equal ones the first
    mask[np.argsort(-np.abs(weight), axis=None, kind="stable")[: asked.kept(weight.size)]] = 1
    return Sparse(weight.reshape(-1)[mask == 1].astype(np.float16), mask.reshape(weight.shape))


def _scaled(weight: Float, asked: Weights) -> Quantized:
    if asked.granularity == "per_tensor":
        return _by_scale(weight, asked, _largest(weight, asked))
    # rows know nothing of each other, and what is between takes several times their bytes
    rows = max(1, _PART * len(weight) // max(1, weight.size))
    each = (weight[start : start + rows] for start in range(0, len(weight), rows))
    data, scale = np.empty(weight.shape, np.int8), []
    for number, part in enumerate(each):
        found = _by_scale(part, asked, _largest(part, asked))
        data[number * rows : number * rows + len(part)] = found.data
        scale.append(found.scale)
    return Quantized(data, np.concatenate(scale))


def _largest(weight: Float, asked: Weights) -> Float:
    """max|w| of each channel, tensor or block, of the weight's rank."""
    if asked.granularity == "per_block":
        assert asked.block is not None
        weight = weight.reshape(*weight.shape[:-1], -1, asked.block)
        return np.abs(weight).max(axis=-1).astype(np.float32)
    axes = tuple(range(1 if asked.granularity == "per_channel" else 0, weight.ndim))
    # of the whole tensor without a copy of it
    largest: Float = np.maximum(weight.max(axis=axes, keepdims=True), -weight.min(axis=axes, keepdims=True))
    return largest.astype(np.float32)


def _by_scale(weight: Float, asked: Weights, largest: Float) -> Quantized:
    qmax = QMAX[asked.weights]
    exact = largest / np.float32(qmax)
    scale = exact.astype(np.float16)
    # of the smallest float32 numbers the quotient is zero, which is no scale
    short = (scale.astype(np.float32) < exact) | (scale == 0)
    scale[short] = np.nextafter(scale[short], np.float16(np.inf))
    # zeros alone have no scale; any positive one represents them exactly
    scale[largest == 0] = np.float16(1.0)
    step = spread(scale.astype(np.float32), weight.shape)
    return Quantized(np.clip(np.rint(weight / step), -qmax, qmax).astype(np.int8), scale)


def digests(stored: Quantized) -> tuple[str, str]:
    """SHA-256 of the integers, a byte each, and of the float16 scales, little-endian; both in the order of rows,
    whatever axes of one they have."""
    codes, scales = (
        hashlib.sha256(np.ascontiguousarray(part, part.dtype.newbyteorder("<"))).hexdigest() for part in stored
    )
    return codes, scales


def laid(stored: Form, shape: Sequence[int]) -> Form:
    """The stored form of a tensor as that of the same tensor with axes of one behind, which a 1×1 convolution has."""
    ones = (1,) * (len(shape) - _whole(stored).ndim)
    if not ones:
        return stored
    if isinstance(stored, Sparse):
        return stored._replace(mask=stored.mask.reshape(*stored.mask.shape, *ones))
    if isinstance(stored, Quantized):
        return Quantized(*(part.reshape(*part.shape, *ones) for part in stored))
    entries = stored.lut.shape[-2:]
    lut = stored.lut.reshape(*stored.lut.shape[:-2], *ones, *entries)
    return Palette(stored.indices.reshape(*stored.indices.shape, *ones), lut)


def _whole(stored: Form) -> NDArray[np.generic]:
    """The part that has the weight's own shape."""
    if isinstance(stored, Sparse):
        return stored.mask
    return stored.data if isinstance(stored, Quantized) else stored.indices


def spread(scale: Float, shape: tuple[int, ...]) -> Float:
    """Each scale laid over its block: along every axis extent 1, or the whole size."""
    for axis, (size, parts) in enumerate(zip(shape, scale.shape, strict=True)):
        if parts not in (1, size):
            scale = np.repeat(scale, size // parts, axis)
    return scale


def _palette(weight: Float, asked: Weights) -> Palette:
    entries = 1 << BITS[asked.weights]
    groups = 1 if asked.group is None else weight.shape[0] // asked.group
    rows = weight.reshape(groups, -1)
    lut, indices = np.empty((groups, entries), np.float16), np.empty(rows.shape, np.uint8)
    for group, numbers in enumerate(rows):
        found = centres(numbers, entries)
        # a tensor of fewer numbers leaves entries over, which nothing points to
        lut[group] = np.pad(found, (0, entries - len(found)), mode="edge").astype(np.float16)
        indices[group] = nearest(numbers, lut[group])
    return Palette(indices.reshape(weight.shape), lut.reshape(groups, *(1,) * (weight.ndim - 1), entries, 1))


def nearest(numbers: NDArray[np.floating], ordered: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Index of the nearest of at most 256 values in order; of two as near, or equal ones, the first."""
    values = ordered.astype(np.float64)
    found: NDArray[np.uint8] = np.searchsorted((values[:-1] + values[1:]) / 2, numbers).astype(np.uint8)
    return found


def restored(stored: Form) -> Float:
    """What it stands for in float32, before any rounding of an executing device: scale · q, the palette's value, or
    what the mask kept."""
    if isinstance(stored, Sparse):
        dense = np.zeros(stored.mask.shape, np.float32)
        dense[stored.mask == 1] = stored.nonzero_fp16
        return dense
    if isinstance(stored, Quantized):
        return stored.data.astype(np.float32) * spread(stored.scale.astype(np.float32), stored.data.shape)
    lut = stored.lut.reshape(-1, stored.lut.shape[-2]).astype(np.float32)
    rows = stored.indices.reshape(len(lut), -1)
    return np.take_along_axis(lut, rows.astype(np.intp), axis=1).reshape(stored.indices.shape)
