"""Two means on the same items → the interval of their quotient (Fieller 1954).

The interval follows from the sums over items of both, of their squares and of their products: a report has these, so
that whoever reads it computes the ends again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from runtime.contract.report import measured, unavailable


def fieller(
    above: float,
    below: float,
    variance_above: float,
    variance_below: float,
    covariance: float,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """Interval of above / below: every quotient r for which above - r * below is not told from 0. None where `below`
    itself is not told from 0: then no quotient is excluded, and there is no interval."""
    z = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    # (above - r below)² <= z (variance_above - 2 r covariance + r² variance_below), as a r² - 2 b r + c <= 0
    a, b, c = below * below - z * variance_below, above * below - z * covariance, above * above - z * variance_above
    root = b * b - a * c
    # a <= 0: the denominator may be 0. Rounding may put the discriminant of a difference without variance below 0
    if a <= 0:
        return None
    half = math.sqrt(max(0.0, root))
    return (b - half) / a, (b + half) / a


#: beside an F1: over its answers the sums of a², b² and a·b, where a = 2 TP and b = 2 TP + FP + FN of one answer
SUMS = ("above_above", "below_below", "above_below")


def of_sums(n: int, above: int, below: int, squares: Sequence[int]) -> tuple[float, float] | None:
    """Interval of above / below, two sums over n items, of the sums of their squares and of their products."""
    if n < 2:
        return None
    first, second, both = squares
    whole = n * n * (n - 1)
    spread = (n * first - above * above), (n * second - below * below), (n * both - above * below)
    return fieller(above / n, below / n, *(one / whole for one in spread))


def f1_of(n: int, tp: int, fp: int, fn: int, squares: Sequence[int]) -> dict[str, Any]:
    """Datum: micro-F1 of the pooled counts of n answers, with them and their `SUMS`: answers are sampled, not facts."""
    above, below = 2 * tp, 2 * tp + fp + fn
    if not below:
        return unavailable("no facts", "ratio")
    value, ends = above / below, of_sums(n, above, below, squares)
    found: dict[str, Any] = {"n": n, "tp": tp, "fp": fp, "fn": fn, **dict(zip(SUMS, squares, strict=True))}
    if ends is not None:
        low, high = max(0.0, min(ends[0], value)), min(1.0, max(ends[1], value))
        found |= {"low": low, "high": high, "confidence": 0.95, "interval": "Fieller, over answers"}
    return measured(value, "ratio", **found)


def possible(n: int, tp: int, fp: int, fn: int, squares: Sequence[int]) -> bool:
    """Whether some n answers have these counts and sums: a is even, and at most b."""
    above, below = 2 * tp, 2 * tp + fp + fn
    first, second, both = squares
    spread = n * first - above * above, n * second - below * below
    return (
        first % 4 == 0
        and 2 * above <= first <= both <= second
        and below <= second
        and min(spread) >= 0
        and (n * both - above * below) ** 2 <= spread[0] * spread[1]
    )


def kept(n: int, both: int, won: int, lost: int) -> dict[str, Any]:
    """Datum: how many of n items one has right for each that the other has. `both` have right so many, only the one
    `wins`, only the other `losses`."""
    mine, theirs = both + won, both + lost
    if not theirs:
        return unavailable("the teacher has no item right", "1")
    # right and wrong are 1 and 0, and their squares as well
    ends = of_sums(n, mine, theirs, (mine, theirs, both))
    if ends is None:
        return unavailable("the teacher's rate is not told from 0: the quotient has no interval", "1")
    value = mine / theirs
    low, high = min(max(0.0, ends[0]), value), max(ends[1], value)
    counts = {"both": both, "wins": won, "losses": lost}
    return measured(value, "1", n=n, low=low, high=high, confidence=0.95, interval="Fieller, paired", **counts)
