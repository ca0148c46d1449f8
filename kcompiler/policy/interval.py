"""k of n → the ends of its exact one-sided 95 % interval (Clopper and Pearson 1934), recomputed by whoever judges.

A rule that gates on the end of an interval never takes the report's word for it where counts stand behind the number.
The ends are rounded outwards, to nine decimals, so that rounding can only make a gate stricter.
"""

from __future__ import annotations

import math
from fractions import Fraction

from runtime.contract.statistics.intervals import rate_floor

ALPHA = 0.05
_UNIT = 10**9


def lower(k: int, n: int) -> Fraction:
    """The rate below which k or more of n would be rarer than 5 %; 0 for k = 0. Raises ValueError for no such rate."""
    return Fraction(math.floor(rate_floor(k, n, ALPHA) * _UNIT), _UNIT)


def upper(k: int, n: int) -> Fraction:
    """The rate above which k or fewer of n would be rarer than 5 %; 1 for k = n."""
    return 1 - lower(n - k, n)
