"""Values of items → their mean as a datum, with the interval of Student's t and what that is made of.

Of `n`, the mean and `sd` both ends follow, so that whoever reads a report computes them again without its items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.intervals import t_quantile

STUDENT = "Student t over items"


@lru_cache(maxsize=1024)
def _reach(n: int) -> float:
    """How many standard deviations of n items' mean an end of its 95 % interval is away."""
    return t_quantile(0.975, n - 1) / math.sqrt(n)


def half_of(n: int, sd: float) -> float:
    """Half the width of the interval of n > 1 items whose standard deviation (n - 1 below) is `sd`."""
    return _reach(n) * sd


def student_of(n: int, mean: float, sd: float, unit: str) -> dict[str, Any]:
    """Datum of n > 1 items with this mean and standard deviation."""
    half = half_of(n, sd)
    ends = {"low": mean - half, "high": mean + half}
    return measured(mean, unit, n=n, **ends, sd=sd, confidence=0.95, interval=STUDENT)


def student(values: Sequence[float], unit: str) -> dict[str, Any]:
    """Datum of items with these values; fewer than two have no interval, and what is not finite has no mean."""
    if len(values) < 2:
        return unavailable("fewer than two items", unit)
    if not all(map(math.isfinite, values)):
        return unavailable("a value is not finite", unit)
    return student_of(len(values), fmean(values), stdev(values), unit)
