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
from runtime.contract.statistics.rates import EXACT
from runtime.contract.statistics.ratios import fieller


def beyond(share: float, choices: int) -> float:
    """(a - 1/c) / (1 - 1/c): 0 is chance, 1 is all right, below 0 is worse than chance. Raises ValueError for fewer
    than two choices, of which nothing is beyond chance."""
    if choices < 2:
        raise ValueError(f"of {choices} choices nothing is beyond chance")
    return (share - 1 / choices) / (1 - 1 / choices)


def corrected(k: int, n: int, choices: int) -> dict[str, Any]:
    """Datum: k of n beyond chance. The correction is linear: it takes the ends of the rate's exact interval along."""
    if n == 0:
        return unavailable("no items", "1")
    low, high = (beyond(end, choices) for end in exact_interval(k, n))
    return measured(beyond(k / n, choices), "1", n=n, low=low, high=high, confidence=0.95, interval=EXACT)


def macro(right: Sequence[int], families: Sequence[Hashable]) -> dict[str, Any]:
    """Datum: the mean of the families' rates, each counting once however many items it has. The families are these and
    no sample of others, so that the error is of the items within them."""
    groups: dict[Hashable, list[int]] = {}
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


def share_of(mine: Sequence[int], other: Sequence[int], choices: int) -> dict[str, Any]:
    """Datum: what is left of another model's accuracy beyond chance, on the same items (Fieller's interval).

    One half is added to each of the four cells before the errors are taken, as for paired differences: of two models
    that are right about the few items there are, the quotient is not sure."""
    if len(mine) < 2 or len(mine) != len(other):
        return unavailable("fewer than two items in common", "1")
    both, whole = sum(a and b for a, b in zip(mine, other, strict=True)) + 0.5, len(mine) + 2
    first, second = (sum(mine) + 1) / whole, (sum(other) + 1) / whole
    above, below = (beyond(sum(one) / len(mine), choices) for one in (mine, other))
    spread = first * (1 - first), second * (1 - second), both / whole - first * second
    return _share(above, below, (beyond(first, choices), beyond(second, choices)), spread, whole, choices, len(mine))


def share_of_counts(mine: Sequence[int], k: int, n: int, choices: int) -> dict[str, Any]:
    """Datum: the same where the other's k of n were counted elsewhere, item by item unknown. Raises ValueError for
    counts that are none."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no rate")
    if len(mine) < 2 or n < 2:
        return unavailable("fewer than two items", "1")
    whole = len(mine) + 2
    first, second = (sum(mine) + 1) / whole, (k + 1) / (n + 2)
    above, below = beyond(sum(mine) / len(mine), choices), beyond(k / n, choices)
    spread = first * (1 - first), second * (1 - second) * whole / (n + 2), 0.0
    return _share(above, below, (beyond(first, choices), beyond(second, choices)), spread, whole, choices, len(mine))


def _share(
    above: float,
    below: float,
    smoothed: tuple[float, float],
    spread: tuple[float, float, float],
    whole: int,
    choices: int,
    n: int,
) -> dict[str, Any]:
    """`spread`: variances of an item right by one, by the other, and what they have in common."""
    stretched = (one / (whole - 1) / (1 - 1 / choices) ** 2 for one in spread)
    ends = fieller(*smoothed, *stretched)
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
        interval="Fieller, of the quotient, one half added to each cell",
    )
