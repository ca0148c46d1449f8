"""Float32 weight + what the recipe asks → the stored form: float16, or INT8 with float16 scales. Symmetric, no offset.

    w[c, …] ≈ scale[c] · q[c, …],   q in −127 … 127,   scale = ceil₁₆(max|w[c]| / 127)

The scale is rounded *up* to float16 before anything is quantized with it, so that no value saturates and the stored
scale is the one that was used (coremltools quantizes with a float32 scale and rounds it afterwards).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import Refusal
from runtime.contract.recipe import Recipe, Rule, Weights

QMAX = 127
Float: TypeAlias = NDArray[np.float32]


class Quantized(NamedTuple):
    """data_int8 with the weight's shape; scale_fp16 of the same rank, extent 1 on every axis it does not follow."""

    data: NDArray[np.int8]
    scale: NDArray[np.float16]


def wanted(recipe: Recipe, tensor: str, aliases: list[str], rank: int) -> Weights:
    """What the recipe asks for one tensor of the checkpoint.

    The default speaks of matrices: a vector (norm weight, bias) stays float16 unless a rule names it. Raises Refusal
    when a rule asks for INT8 vectors, or when the names of one tied tensor get different answers.
    """
    answers = {name: _one(recipe, name, rank) for name in (tensor, *aliases)}
    if len(set(answers.values())) > 1:
        text = ", ".join(f"{name}: {answer.weights}/{answer.granularity}" for name, answer in answers.items())
        raise Refusal(
            f"one tied tensor gets different quantization ({text})",
            place="quantization.rules",
            action="write one rule that matches every name of the tensor, or untie the embeddings",
        )
    return answers[tensor]


def _one(recipe: Recipe, name: str, rank: int) -> Weights:
    asked = recipe.of(name)
    chosen = Weights(weights=asked.weights, granularity=asked.granularity)
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
    probe = Recipe(default=Weights(weights="fp16"), rules=[rule.model_copy(update={"weights": "int8"})])
    return probe.of(name).weights == "int8"


def quantize(weight: Float, granularity: Literal["per_channel", "per_tensor"]) -> Quantized:
    """INT8 of a float32 weight; channels are axis 0 (rows of a linear, words of an embedding)."""
    axes = tuple(range(1, weight.ndim)) if granularity == "per_channel" else tuple(range(weight.ndim))
    largest = np.abs(weight).max(axis=axes, keepdims=True).astype(np.float32)
    exact = largest / np.float32(QMAX)
    scale = exact.astype(np.float16)
    short = scale.astype(np.float32) < exact
    scale[short] = np.nextafter(scale[short], np.float16(np.inf))
    # a row of zeros has no scale; any positive one represents it exactly
    scale[largest == 0] = np.float16(1.0)
    data = np.clip(np.rint(weight / scale.astype(np.float32)), -QMAX, QMAX).astype(np.int8)
    return Quantized(data, scale)


def restored(stored: Quantized) -> Float:
    """scale · q in float32, before any rounding of an executing device."""
    return stored.data.astype(np.float32) * stored.scale.astype(np.float32)
