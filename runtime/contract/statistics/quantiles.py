"""Samples → quantiles as they were observed, with intervals that assume no distribution. Nothing is extrapolated.

The ends of an interval are observations: how many of n lie below the true quantile is binomial, whatever the times are
distributed like (David and Nagaraja, Order Statistics, 7.1). Where too few were made for an end, there is none.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.intervals import incomplete_beta

INTERVAL = "order statistics"


def fewest(q: float) -> int:
    """Observations of which one is expected beyond the quantile: with fewer it is the extreme by another name."""
    return math.ceil(round(1 / min(q, 1 - q), 9))


def quantile(sample: Sequence[float], q: float) -> float:
    """The smallest observation that at least a share `q` of the sample does not exceed. Raises ValueError for none."""
    if not sample or not 0 < q < 1:
        raise ValueError(f"no quantile {q} of {len(sample)} observations")
    return sorted(sample)[max(1, math.ceil(round(q * len(sample), 9))) - 1]


def ends(sample: Sequence[float], q: float, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Observations between which the true quantile lies; None for an end that so few cannot give."""
    n, tail, ordered = len(sample), (1 - confidence) / 2, sorted(sample)
    # X_(l) is above the quantile when fewer than l observations are at most it: P(B < l) = I_{1-q}(n - l + 1, l)
    low = bisect_right(range(1, n + 1), tail, key=lambda rank: incomplete_beta(n - rank + 1, rank, 1 - q))
    # X_(u) is below it when u or more are: P(B >= u) = I_q(u, n - u + 1), which falls with u
    high = bisect_left(range(1, n + 1), -tail, key=lambda rank: -incomplete_beta(rank, n - rank + 1, q))
    return ordered[low - 1] if low else None, ordered[high] if high < n else None


def observed(sample: Sequence[float], q: float, unit: str, confidence: float = 0.95) -> dict[str, Any]:
    """A quantile as a datum, with the ends of its interval that there are."""
    n, least = len(sample), fewest(q)
    if n < least:
        return unavailable(f"{n} repetitions; a quantile of {q:g} takes {least} at least", unit)
    low, high = ends(sample, q, confidence)
    found = {name: end for name, end in (("low", low), ("high", high)) if end is not None}
    return measured(quantile(sample, q), unit, n=n, **found, confidence=confidence, interval=INTERVAL)
