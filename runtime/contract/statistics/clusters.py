"""Values that come in families (rows of one task, template or subject) → their mean with an honest interval.

Rows of one family are alike, so that a hundred of them tell less than a hundred of a hundred families. The error is
the cluster-robust one (Liang and Zeger 1986; for evaluations Miller 2024, arXiv:2411.00640): what counts are the sums
of the families' deviations.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import fmean
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.intervals import t_quantile


def standard_error(values: Sequence[float], families: Sequence[Hashable]) -> float:
    """Of the mean, with the correction G / (G - 1) for G families. Raises ValueError for fewer than two of these, or
    lengths that differ."""
    middle = fmean(values)
    sums: dict[Hashable, float] = {}
    for value, family in zip(values, families, strict=True):
        sums[family] = sums.get(family, 0.0) + value - middle
    if len(sums) < 2:
        raise ValueError("an error between families needs two of them")
    return math.sqrt(len(sums) / (len(sums) - 1) * math.fsum(one * one for one in sums.values())) / len(values)


def mean(values: Sequence[float], families: Sequence[Hashable], unit: str) -> dict[str, Any]:
    """Datum: the mean with its 95 % interval, Student's t of one less than there are families. Families that do not
    differ at all tell nothing of how those differ that were not drawn; the ends of a mean of shares are shares."""
    number = len(set(families))
    if number < 2:
        return unavailable("fewer than two families of items", unit)
    middle, error = fmean(values), standard_error(values, families)
    if error == 0:
        return unavailable("families that do not differ tell of no error", unit)
    shares = all(0 <= value <= 1 for value in values)
    half = t_quantile(0.975, number - 1) * error
    return measured(
        middle,
        unit,
        n=len(values),
        low=max(0.0, middle - half) if shares else middle - half,
        high=min(1.0, middle + half) if shares else middle + half,
        confidence=0.95,
        interval="clustered, Student t over families",
        families=number,
        standard_error=error,
    )
