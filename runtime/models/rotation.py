"""A rotary embedding's parameters → the angles of each position, in float32: the tables that exported programs hold.

Bit for bit what Transformers 5.23 computes (`modeling_rope_utils.py`): the same float32 operations in the same order,
since a last digit of a frequency is an angle of 0.01 at position 100,000. A table knows nothing of the shape of the
function it is in.

Letters: P pairs of channels, S positions, R = 2P rotated channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from runtime.contract import Refusal
from runtime.contract.rotation import BETA_FAST, BETA_SLOW, KINDS, exact_to

#: of a channel's slowing that begins and ends at one place
_NARROW = 0.001


def frequencies(parameters: Mapping[str, Any], width: int, context: int) -> tuple[Tensor, float]:
    """(frequency_P in radians a position, what sine and cosine are multiplied by) of heads that are `width` wide.

    Of `dynamic` and `longrope` those of texts up to `exact_to`. Raises Refusal for a kind that is unknown here.
    """
    kind = parameters.get("rope_type", "default")
    if kind != "default" and kind not in KINDS:
        raise Refusal(f"rotary variant `{kind}` is not known here", action=f"choose default, {', '.join(KINDS)}")
    rotated = int(width * parameters.get("partial_rotary_factor", 1.0))
    exponent_P = torch.arange(0, rotated, 2, dtype=torch.int64).float() / rotated
    wave_P = parameters["rope_theta"] ** exponent_P
    plain_P = 1.0 / wave_P
    if kind == "linear":
        return plain_P / parameters["factor"], 1.0
    if kind == "llama3":
        return _llama3(plain_P, parameters), 1.0
    if kind == "yarn":
        return _yarn(wave_P, parameters, rotated)
    if kind == "longrope":
        divisors_P = torch.tensor(parameters["short_factor"], dtype=torch.float32)
        return 1.0 / (divisors_P * wave_P), longrope_attention(parameters, context)
    # dynamic raises the base by the length beyond the context, and within it by nothing
    return plain_P, 1.0


def longrope_attention(parameters: Mapping[str, Any], context: int) -> float:
    """What longrope multiplies sine and cosine by, at every length."""
    if parameters.get("attention_factor") is not None:
        return float(parameters["attention_factor"])
    original = parameters["original_max_position_embeddings"]
    factor = parameters.get("factor") or context / original
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))


def yarn_attention(factor: float) -> float:
    """What yarn multiplies sine and cosine by unless it is stated (arXiv 2309.00071, equation 22)."""
    return 1.0 if factor <= 1 else 0.1 * math.log(factor) + 1.0


def _llama3(plain_P: Tensor, parameters: Mapping[str, Any]) -> Tensor:
    """Waves longer than the original context by `low_freq_factor` are slowed, short ones are not, the rest in between
    by how often they turn within it."""
    factor, original = parameters["factor"], parameters["original_max_position_embeddings"]
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    wave_P = 2 * math.pi / plain_P
    slowed_P = torch.where(wave_P > original / low, plain_P / factor, plain_P)
    share_P = (original / wave_P - low) / (high - low)
    between_P = (1 - share_P) * slowed_P / factor + share_P * slowed_P
    inside_P = (wave_P >= original / high) & (wave_P <= original / low)
    return torch.where(inside_P, between_P, slowed_P)


def _yarn(wave_P: Tensor, parameters: Mapping[str, Any], rotated: int) -> tuple[Tensor, float]:
    """Channels that turn often keep their frequency, those that hardly turn are slowed, with a ramp between."""
    factor, original = parameters["factor"], parameters["original_max_position_embeddings"]

    def channel(turns: float) -> float:
        """The pair of channels that turns so often within the original context."""
        return rotated * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(parameters["rope_theta"]))

    begin = max(math.floor(channel(parameters.get("beta_fast") or BETA_FAST)), 0)
    end: float = min(math.ceil(channel(parameters.get("beta_slow") or BETA_SLOW)), rotated - 1)
    end = end + _NARROW if begin == end else end
    slowed_P = ((torch.arange(rotated // 2, dtype=torch.float32) - begin) / (end - begin)).clamp(0, 1)
    kept_P = 1 - slowed_P
    frequency_P = 1.0 / (factor * wave_P) * (1 - kept_P) + 1.0 / wave_P * kept_P
    stated = parameters.get("attention_factor")
    return frequency_P, yarn_attention(factor) if stated is None else float(stated)


def table(parameters: Mapping[str, Any], width: int, context: int, positions: int) -> tuple[Tensor, Tensor]:
    """(cosine_SR, sine_SR) of the first `positions` positions of a model that reads `context` tokens.

    Raises Refusal for positions at which the angles would change with the length of the text.
    """
    check(parameters, context, positions)
    frequency_P, attention = frequencies(parameters, width, context)
    angle_SR = torch.arange(positions)[:, None].float() * torch.cat((frequency_P, frequency_P))
    return angle_SR.cos() * attention, angle_SR.sin() * attention


def check(parameters: Mapping[str, Any], context: int, positions: int) -> None:
    """Raises Refusal when some of the positions have angles that change with the length of the text."""
    kind, exact = parameters.get("rope_type"), exact_to(parameters, context)
    if kind in ("dynamic", "longrope") and positions > exact:
        field = "max_position_embeddings" if kind == "dynamic" else "original_max_position_embeddings"
        raise Refusal(
            f"rotary variant `{kind}` changes the angles of a text of more than {exact} tokens ({field}) with its "
            f"length, and a function of {positions} has one table",
            place="shapes",
            action=f"keep shapes to {exact}, or choose rope_type linear, yarn or llama3",
        )
