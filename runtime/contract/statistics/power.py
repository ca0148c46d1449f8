"""How many items → how large a difference a test can tell, and back; known before anything is measured.

Two-sided at 5 %, with 80 % power: a difference of that size is found four times of five.
"""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist

from runtime.contract.statistics.intervals import rate_floor

ALPHA, POWER = 0.05, 0.8
_HALVINGS = 60


def _quantiles(alpha: float, power: float) -> tuple[float, float]:
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)


def clean_floor(n: int, alpha: float = ALPHA) -> float:
    """The rate that n successes of n establish, one-sided: alpha^(1/n)."""
    return rate_floor(n, n, alpha) if n else 0.0


def clean_items(rate: Fraction, alpha: float = ALPHA) -> int:
    """The least n of which n successes establish a rate below 1: ceil(ln alpha / ln rate). Raises ValueError for 1."""
    if not 0 <= rate < 1:
        raise ValueError(f"no number of items establishes {rate}")
    n = max(1, math.ceil(math.log(alpha) / math.log(rate)) - 1) if rate else 1
    while clean_floor(n, alpha) < rate:
        n += 1
    return n


def paired_difference(n: int, differing: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The least difference of two rates over n common items that McNemar's test finds, where a share `differing` of the
    items is right in one of the two only (Connor 1987). 1.0 where none can be. Raises ValueError for no such share."""
    if n < 1 or not 0.0 < differing <= 1.0:
        raise ValueError(f"{differing} of {n} items")
    found, missed = _quantiles(alpha, power)

    def needed(difference: float) -> float:
        spread = max(0.0, differing - difference * difference)
        return ((found * math.sqrt(differing) + missed * math.sqrt(spread)) / difference) ** 2

    # both cannot differ by more than the share that differs
    low, high = 0.0, differing
    if needed(high) > n:
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if needed(middle) <= n else (middle, high)
    return high


def differing_at_most(n: int, margin: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The largest share of n items in which two equally good models may differ so that the unfavourable end of the
    interval of their difference stays within `margin`, four times of five. Raises ValueError for no margin."""
    if n < 1 or not margin > 0.0:
        raise ValueError(f"a margin of {margin} over {n} items")
    return min(1.0, n * (margin / sum(_quantiles(alpha, power))) ** 2)


def unpaired_difference(n: int, other: int, rate: float = 0.5, alpha: float = ALPHA, power: float = POWER) -> float:
    """The least rise above `rate` on n items that the test of two proportions finds in `other` further ones (Fleiss,
    Levin and Paik 2003, without continuity). 1.0 where none can be. Raises ValueError for no such rate."""
    if n < 1 or other < 1 or not 0.0 <= rate < 1.0:
        raise ValueError(f"a rate of {rate} on {n} and {other} items")
    found, missed = _quantiles(alpha, power)

    def seen(difference: float) -> bool:
        higher = rate + difference
        pooled = (n * rate + other * higher) / (n + other)
        null = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other))
        true = math.sqrt(rate * (1 - rate) / n + higher * (1 - higher) / other)
        return difference >= found * null + missed * true

    low, high = 0.0, 1.0 - rate
    if not seen(high):
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
