"""How sure a model was, and whether it was right → the expected calibration error with an interval, and its bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.intervals import exact_interval
from runtime.contract.statistics.means import half_of
from runtime.contract.statistics.rates import rate

#: items below which nothing is said of an error that is a sum over bins
LEAST = 10


def bin_of(confidence: float, bins: int) -> int:
    """Which of so many bins of one width holds a confidence; 1 belongs to the last."""
    return min(int(confidence * bins), bins - 1)


def calibration(sure: Sequence[float], right: Sequence[int], bins: int) -> dict[str, Any]:
    """Datum: the expected calibration error of the bins of `table`."""
    if len(sure) < LEAST:
        return unavailable(f"fewer than {LEAST} items", "probability")
    if not all(math.isfinite(one) and 0 <= one <= 1 for one in sure):
        return unavailable("a confidence is no probability", "probability")
    cells = table(sure, right, bins)
    return of_bins([(one["right"]["k"], one["right"]["n"], one["sure"]["value"]) for one in cells])


def of_bins(cells: Sequence[tuple[int, int, float]]) -> dict[str, Any]:
    """Datum: Σ over bins of (items in it / all) · |mean confidence - share right| (Naeini et al. 2015, ECE); a cell is
    (right, items, mean confidence), and more than one item is in all.

    The error is the mean over items of ±(confidence - right), with the sign of its bin, and so has Student's interval;
    each item is taken to be as sure as its bin is on average. As a mean of absolute values it is never below what
    chance alone makes of a perfectly calibrated model: the upper end is the cautious one, and what a gate reads. Where
    every bin is all right or all wrong nothing scatters, and that end is what the exact intervals of its rates allow.
    """
    size = sum(n for _, n, _ in cells)
    value = min(1.0, math.fsum(abs(n * sure - k) for k, n, sure in cells) / size)
    squares = math.fsum(k * (1 - sure) ** 2 + (n - k) * sure**2 for k, n, sure in cells)
    half = half_of(size, math.sqrt(max(0.0, squares - size * value**2) / (size - 1)))
    high = value + half
    if all(k in (0, n) for k, n, _ in cells):
        allowed = (n * max(abs(sure - end) for end in exact_interval(k, n)) for k, n, sure in cells)
        high = max(high, math.fsum(allowed) / size)
    return measured(
        value, "probability", n=size, low=max(0.0, value - half), high=min(1.0, high), confidence=0.95,
        interval="Student t over items, of their bins",
    )  # fmt: skip


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
