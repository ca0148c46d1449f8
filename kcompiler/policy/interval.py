"""k of n → the ends of its exact one-sided 95 % interval (Clopper and Pearson 1934), recomputed by whoever judges.

A rule that gates on the end of an interval never takes the report's word for it where counts stand behind the number.
The ends are rounded outwards, to nine decimals, so that rounding can only make a gate stricter.
"""

from __future__ import annotations

import math
from fractions import Fraction

from runtime.contract.intervals import incomplete_beta

ALPHA = 0.05
_UNIT = 10**9
#: halvings of [0, 1] after which two doubles next to each other are told apart
_HALVINGS = 60


def lower(k: int, n: int) -> Fraction:
    """The rate below which k or more of n would be rarer than 5 %; 0 for k = 0. Raises ValueError for no such rate."""
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is no rate")
    if k == 0:
        return Fraction(0)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # P(X ≥ k) of a binomial is the regularised incomplete beta function I_p(k, n - k + 1)
        if incomplete_beta(k, n - k + 1, middle) <= ALPHA:
            low = middle
        else:
            high = middle
    return Fraction(math.floor(low * _UNIT), _UNIT)


def upper(k: int, n: int) -> Fraction:
    """The rate above which k or fewer of n would be rarer than 5 %; 1 for k = n."""
    return 1 - lower(n - k, n)
