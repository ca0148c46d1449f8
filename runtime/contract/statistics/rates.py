"""k of n → the datum that a report has of it."""

from __future__ import annotations

from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.intervals import exact_interval

#: name of the interval of Clopper and Pearson
EXACT = "exact, two-sided"


def rate(k: int, n: int) -> dict[str, Any]:
    """k of n sampled items with the exact two-sided 95 % interval; without items there is no rate."""
    if n == 0:
        return unavailable("no items", "ratio")
    low, high = exact_interval(k, n)
    return measured(k / n, "ratio", n=n, k=k, low=low, high=high, confidence=0.95, interval=EXACT)
