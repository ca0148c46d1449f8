"""How sure a model was, and whether it was right → the expected calibration error with an interval, and its bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.rates import rate

#: items below which a bootstrap says nothing of an error that is a sum over bins
LEAST = 10


def bin_of(confidence: float, bins: int) -> int:
    """Which of so many bins of one width holds a confidence; 1 belongs to the last."""
    return min(int(confidence * bins), bins - 1)


def error(sure: Sequence[float], right: Sequence[int], bins: int) -> float:
    """Σ over bins of (items in it / all) · |mean confidence - share right| (Naeini et al. 2015, ECE)."""
    sums = [0.0] * bins
    for confidence, good in zip(sure, right, strict=True):
        sums[bin_of(confidence, bins)] += confidence - good
    return sum(map(abs, sums)) / len(sure)


def calibration(
    sure: Sequence[float], right: Sequence[int], bins: int, seed: int, *, resamples: int = 1000
) -> dict[str, Any]:
    """Datum: the error, with a percentile bootstrap over items (Efron 1979).

    The error is a mean of absolute values and so never below what chance alone makes of a perfectly calibrated model:
    the upper end is the cautious one, and what a gate reads. Where every bin is all right or all wrong drawing again
    changes nothing, and that end is what the exact intervals of the bins' rates allow.
    """
    size = len(sure)
    if size < LEAST:
        return unavailable(f"fewer than {LEAST} items", "probability")
    if not all(math.isfinite(one) and 0 <= one <= 1 for one in sure):
        return unavailable("a confidence is no probability", "probability")
    rng, found = Random(seed), list[float]()
    for _ in range(resamples):
        drawn = [int(rng.random() * size) for _ in range(size)]
        found.append(error([sure[index] for index in drawn], [right[index] for index in drawn], bins))
    found.sort()
    value = error(sure, right, bins)
    low, high = found[math.floor(0.025 * resamples)], found[math.ceil(0.975 * resamples) - 1]
    if all(one["right"]["k"] in (0, one["right"]["n"]) for one in table(sure, right, bins)):
        high = max(high, _allowed(sure, right, bins))
    return measured(
        value, "probability", n=size, low=min(low, value), high=max(high, value), confidence=0.95,
        interval="percentile bootstrap",
    )  # fmt: skip


def _allowed(sure: Sequence[float], right: Sequence[int], bins: int) -> float:
    """The error where each bin's rate is the end of its interval that is farther from how sure the model was."""
    return math.fsum(
        one["right"]["n"] * max(abs(one["sure"]["value"] - one["right"][end]) for end in ("low", "high"))
        for one in table(sure, right, bins)
    ) / len(sure)


def table(sure: Sequence[float], right: Sequence[int], bins: int) -> list[dict[str, Any]]:
    """Per bin: its items, how many are right, and how sure the model was on average; empty ones are left out."""
    found = []
    for number in range(bins):
        mine = [index for index, confidence in enumerate(sure) if bin_of(confidence, bins) == number]
        if mine:
            k = sum(right[index] for index in mine)
            mean = sum(sure[index] for index in mine) / len(mine)
            found.append(
                {
                    "bin": measured(number, "bin"),
                    "right": rate(k, len(mine)),
                    "sure": measured(mean, "probability", n=len(mine)),
                }
            )
    return found
