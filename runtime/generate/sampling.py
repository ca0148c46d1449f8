"""Logits of one position → the next token, and how likely the model held it. Numpy only; a seed decides everything.

Temperature divides the logits, then only the nucleus is kept: the smallest set of likeliest tokens whose probabilities
reach `top_p` (Holtzman et al., arXiv 1904.09751; the token that crosses the border belongs to it), divided by its sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Real: TypeAlias = NDArray[np.floating[Any]]
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scored:
    """A token with the natural logarithm of its probability under the model itself: before temperature, nucleus and
    grammar."""

    token: int
    logprob: float


def log_probabilities(logits_V: Real) -> NDArray[np.float64]:
    """Natural logarithms of the softmax, in float64."""
    shifted_V = logits_V.astype(np.float64) - float(logits_V.max())
    found: NDArray[np.float64] = shifted_V - np.log(np.exp(shifted_V).sum())
    return found


def nucleus(logits_V: Real, temperature: float, top_p: float) -> NDArray[np.float64]:
    """The distribution that a token is drawn from; -inf logits stay without probability. `temperature` > 0,
    0 < `top_p` <= 1. Of equally likely tokens the lower id comes first."""
    scaled_V = (logits_V.astype(np.float64) - float(logits_V.max())) / temperature
    p_V = np.exp(scaled_V)
    p_V /= p_V.sum()
    if top_p < 1.0:
        order_V = np.argsort(-p_V, kind="stable")
        before_V = np.cumsum(p_V[order_V]) - p_V[order_V]
        p_V[order_V[before_V >= top_p]] = 0.0
        p_V /= p_V.sum()
    found: NDArray[np.float64] = p_V
    return found


class Sampler:
    """Draws one token after the other. Temperature 0 is greedy: the likeliest token, of equals the lowest id."""

    def __init__(self, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0) -> None:
        """Raises ValueError for what is no temperature (not negative, finite) or no nucleus (0 < top_p <= 1)."""
        if not 0.0 <= temperature < float("inf"):
            raise ValueError(f"temperature must be 0 or more, not {temperature}")
        if not 0.0 < top_p <= 1.0:
            raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
        self.temperature, self.top_p = temperature, top_p
        self._chance = np.random.Generator(np.random.PCG64(seed))

    def choose(self, logits_V: Real, allowed_V: Mask | None = None) -> int:
        """The next token, among those `allowed_V` when given. Raises ValueError when none is, or none is finite."""
        if allowed_V is not None:
            logits_V = np.where(allowed_V, logits_V, -np.inf)
        if not np.isfinite(logits_V.max()):
            raise ValueError("no token is allowed, or the model's logits are not finite")
        if self.temperature == 0.0:
            return int(logits_V.argmax())
        p_V = nucleus(logits_V, self.temperature, self.top_p)
        # a draw lies below 1, and the last sum may round to below the draw: then the last token that has any part
        place = int(np.searchsorted(np.cumsum(p_V), self._chance.random(), side="right"))
        return place if place < len(p_V) and p_V[place] > 0.0 else int(np.flatnonzero(p_V)[-1])


def scored(log_V: NDArray[np.float64], token: int, top: int) -> tuple[Scored, list[Scored]]:
    """A token and the `top` likeliest ones, likeliest first, by `log_probabilities`."""
    order = np.argsort(-log_V, kind="stable")[:top] if top else []
    return Scored(token, float(log_V[token])), [Scored(int(i), float(log_V[i])) for i in order]
