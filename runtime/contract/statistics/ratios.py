"""Two means on the same items → the interval of their quotient (Fieller 1954)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean


def moments(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Variances of both means, and their covariance, of paired values. Raises ValueError for fewer than two."""
    size = len(first)
    if size < 2:
        raise ValueError("an interval needs at least two values")
    a, b = fmean(first), fmean(second)
    whole = size * (size - 1)
    return (
        math.fsum((x - a) ** 2 for x in first) / whole,
        math.fsum((y - b) ** 2 for y in second) / whole,
        math.fsum((x - a) * (y - b) for x, y in zip(first, second, strict=True)) / whole,
    )


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
