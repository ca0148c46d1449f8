"""Right and wrong among c choices → accuracy beyond chance, by family, and as a share of another model's.

Of c choices one in c is right for nothing. Rates are corrected, (a - 1/c) / (1 - 1/c) (Abbott 1925), before they are
divided: of a teacher at 38 % a guesser among four keeps nothing, and not 66 %.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist, fmean
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.intervals import exact_interval
from runtime.contract.statistics.ratios import fieller, moments


def beyond(share: float, choices: int) -> float:
    """(a - 1/c) / (1 - 1/c): 0 is chance, 1 is all right, below 0 is worse than chance."""
    return (share - 1 / choices) / (1 - 1 / choices)


def corrected(k: int, n: int, choices: int) -> dict[str, Any]:
    """Datum: k of n beyond chance. The correction is linear: it takes the ends of the rate's exact interval along."""
    if n == 0:
        return unavailable("no items", "1")
    low, high = (beyond(end, choices) for end in exact_interval(k, n))
    return measured(beyond(k / n, choices), "1", n=n, low=low, high=high, confidence=0.95, interval="exact, two-sided")


def macro(right: Sequence[bool], families: Sequence[Hashable]) -> dict[str, Any]:
    """Datum: the mean of the families' rates, each counting once however many items it has. The families are these and
    no sample of others, so that the error is of the items within them."""
    groups: dict[Hashable, list[bool]] = {}
    for one, family in zip(right, families, strict=True):
        groups.setdefault(family, []).append(one)
    if not groups:
        return unavailable("no items", "1")
    rates = [fmean(group) for group in groups.values()]
    middle = fmean(rates)
    # one half added to each side keeps a family that is all right, or all wrong, from being sure
    spread = math.fsum(
        ((sum(group) + 0.5) / (len(group) + 1)) * ((len(group) - sum(group) + 0.5) / (len(group) + 1)) / len(group)
        for group in groups.values()
    )
    half = NormalDist().inv_cdf(0.975) * math.sqrt(spread) / len(groups)
    return measured(
        middle,
        "1",
        n=len(right),
        low=max(0.0, middle - half),
        high=min(1.0, middle + half),
        confidence=0.95,
        interval="stratified, one half added to each side of a family",
        families=len(groups),
    )


def share_of(mine: Sequence[bool], other: Sequence[bool], choices: int) -> dict[str, Any]:
    """Datum: what is left of another model's accuracy beyond chance, on the same items (Fieller's interval)."""
    if len(mine) < 2 or len(mine) != len(other):
        return unavailable("fewer than two items in common", "1")
    above, below = ([beyond(float(one), choices) for one in each] for each in (mine, other))
    return _share(fmean(above), fmean(below), moments(above, below), len(mine))


def share_of_counts(mine: Sequence[bool], k: int, n: int, choices: int) -> dict[str, Any]:
    """Datum: the same where the other's k of n were counted elsewhere, item by item unknown."""
    if len(mine) < 2 or n < 2:
        return unavailable("fewer than two items", "1")
    above = [beyond(float(one), choices) for one in mine]
    # of n zeros and ones the variance of the mean is p (1 - p) / (n - 1), stretched as the values are
    stretched = (k / n) * (1 - k / n) / (n - 1) / (1 - 1 / choices) ** 2
    return _share(fmean(above), beyond(k / n, choices), (moments(above, above)[0], stretched, 0.0), len(mine))


def _share(above: float, below: float, spread: tuple[float, float, float], n: int) -> dict[str, Any]:
    ends = fieller(above, below, *spread)
    if ends is None or below <= 0:
        return unavailable("the teacher is not told from chance", "1")
    value = above / below
    return measured(
        value,
        "1",
        n=n,
        low=min(ends[0], value),
        high=max(ends[1], value),
        confidence=0.95,
        interval="Fieller, of the quotient",
    )
