"""Counts and samples → the intervals, tests and shares that reports state, computed again. Standard library only.

Written from the definitions, and not from the code that made the reports: whoever checks with the maker's own formulas
learns only that it agrees with itself.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction
from functools import lru_cache
from statistics import fmean
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

CONFIDENCE = 0.95
#: two-sided 95 % of the normal distribution
_Z = 1.959963984540054
_NANO = 10**9
Ends = Optional[Tuple[float, float]]
#: value, low and high end; None where nothing can be said
Found = Optional[Tuple[float, float, float]]


def _fraction_of(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    least = 1e-300

    def kept(value: float) -> float:
        return value if abs(value) > least else least

    c, d = 1.0, 1.0 / kept(1.0 - (a + b) * x / (a + 1.0))
    found = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / kept(1.0 + term * d)
            c = kept(1.0 + term / c)
            found *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return found


@lru_cache(maxsize=65536)
def beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction_of(a, b, x) / a
    return 1.0 - front * _fraction_of(b, a, 1.0 - x) / b


@lru_cache(maxsize=8192)
def floor_of(k: int, n: int, alpha: float = 0.05) -> float:
    """The rate below which k or more of n are rarer than `alpha` (Clopper and Pearson 1934)."""
    if k in (0, n):
        return float(alpha ** (1 / n)) if k else 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta(k, n - k + 1, middle) <= alpha else (low, middle)
    return low


def lower(k: int, n: int) -> Fraction:
    """The lower end of the one-sided 95 % interval of k of n, rounded outwards to nine decimals."""
    return Fraction(math.floor(floor_of(k, n) * _NANO), _NANO)


def upper(k: int, n: int) -> Fraction:
    """The upper end of the same."""
    return 1 - lower(n - k, n)


def exact(k: int, n: int) -> Tuple[float, float]:
    """The two-sided 95 % interval of k of n."""
    alpha = (1 - CONFIDENCE) / 2
    return min(floor_of(k, n, alpha), k / n), max(1 - floor_of(n - k, n, alpha), k / n)


def is_exact(k: int, n: int, low: Any, high: Any) -> bool:
    """Whether two ends are those of the two-sided interval: beyond each lies a half of what is left."""
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or not 0 <= low <= high <= 1:
        return False
    tail = (1 - CONFIDENCE) / 2
    below = low == 0 if k == 0 else abs(beta(k, n - k + 1, float(low)) - tail) < 1e-6
    above = high == 1 if k == n else abs(beta(n - k, k + 1, 1 - float(high)) - tail) < 1e-6
    return below and above


@lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t above one half."""

    def below(t: float) -> float:
        return 1.0 - beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2

    low, high = 0.0, 1.0
    while below(high) < probability:
        high *= 2
    while high - low > 1e-10 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return (low + high) / 2


def wins(n: int, won: int, lost: int) -> Found:
    """Won less lost of n pairs, with Wald's interval and one half in each cell (Agresti and Min 2005)."""
    if n < 2:
        return None
    whole, up, down = n + 2, won + 0.5, lost + 0.5
    middle, value = (up - down) / whole, (won - lost) / n
    half = _Z * math.sqrt((up + down) / whole - middle**2) / math.sqrt(whole)
    return value, max(-1.0, min(middle - half, value)), min(1.0, max(middle + half, value))


@lru_cache(maxsize=1024)
def mcnemar(n: int, won: int, lost: int) -> Optional[float]:
    """The exact two-sided p of McNemar's test."""
    if n < 2:
        return None
    tail = sum(math.comb(won + lost, i) for i in range(min(won, lost) + 1))
    return min(1.0, float(Fraction(2 * tail, 2 ** (won + lost))))


def holm(found: Mapping[str, float]) -> Dict[str, float]:
    """Name → p adjusted for all of them (Holm 1979)."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(found, key=lambda one: (found[one], one))):
        largest = max(largest, min(1.0, (len(found) - rank) * found[name]))
        adjusted[name] = largest
    return adjusted


def beyond(share: float, choices: int) -> float:
    """What is left of a share beyond chance among so many choices (Abbott 1925)."""
    return (share - 1 / choices) / (1 - 1 / choices)


def corrected(k: int, n: int, choices: int) -> Found:
    """k of n beyond chance."""
    if not n:
        return None
    low, high = exact(k, n)
    return beyond(k / n, choices), beyond(low, choices), beyond(high, choices)


def macro(families: Sequence[Tuple[int, int]]) -> Found:
    """The mean of the rates k of n of families, one half added to each side of a family for its error."""
    if not families:
        return None
    middle = fmean(k / n for k, n in families)
    spread = math.fsum((k + 0.5) / (n + 1) * ((n - k + 0.5) / (n + 1)) / n for k, n in families)
    half = _Z * math.sqrt(spread) / len(families)
    return middle, max(0.0, middle - half), min(1.0, middle + half)


def clustered(families: Sequence[Tuple[int, int]]) -> Found:
    """The mean of all items of families k of n, with the error between the families (Liang and Zeger 1986)."""
    number, n = len(families), sum(n for _, n in families)
    if number < 2:
        return None
    middle = sum(k for k, _ in families) / n
    error = math.sqrt(number / (number - 1) * math.fsum(_off(k, n_, middle) ** 2 for k, n_ in families)) / n
    if error == 0:
        return None
    half = t_quantile(0.975, number - 1) * error
    return middle, max(0.0, middle - half), min(1.0, middle + half)


def _off(k: int, n: int, middle: float) -> float:
    """How far the items of a family are from the mean, summed one after the other: of families that are alike, rounding
    decides whether they differ at all."""
    found = 0.0
    for number in range(n):
        found += (1.0 if number < k else 0.0) - middle
    return found


def _fieller(above: float, below: float, spread: Sequence[float]) -> Ends:
    """Between which quotients above / below lies (Fieller 1954)."""
    z = _Z**2
    a, b, c = below**2 - z * spread[1], above * below - z * spread[2], above**2 - z * spread[0]
    if a <= 0:
        return None
    half = math.sqrt(max(0.0, b * b - a * c))
    return (b - half) / a, (b + half) / a


def quotient(n: int, sums: Tuple[int, int], squares: Tuple[int, int, int]) -> Ends:
    """The interval of a quotient of two sums over n items, of the sums of their squares and of their products."""
    if n < 2:
        return None
    (above, below), (first, second, both), whole = sums, squares, n * n * (n - 1)
    spread = [n * first - above * above, n * second - below * below, n * both - above * below]
    return _fieller(above / n, below / n, [one / whole for one in spread])


def calibrated(cells: Sequence[Tuple[int, int, float]]) -> Found:
    """The expected calibration error (Naeini et al. 2015) of bins (right, items, mean confidence), as the mean over
    items of how far each is off on the side of its bin, with Student's interval; bins that are all right or all wrong
    scatter nothing, and have the exact intervals of their rates."""
    n = sum(items for _, items, _ in cells)
    value = min(1.0, math.fsum(abs(items * sure - k) for k, items, sure in cells) / n)
    squares = math.fsum(k * (1 - sure) ** 2 + (items - k) * sure**2 for k, items, sure in cells)
    half = t_quantile(0.975, n - 1) * math.sqrt(max(0.0, squares - n * value**2) / (n - 1) / n)
    high = value + half
    if all(k in (0, items) for k, items, _ in cells):
        off = [items * max(abs(sure - end) for end in exact(k, items)) for k, items, sure in cells]
        high = max(high, math.fsum(off) / n)
    return value, max(0.0, value - half), min(1.0, high)


def share(mine: Tuple[int, int], other: Tuple[int, int], both: Optional[int], choices: int) -> Found:
    """What mine (k of n) has beyond chance of what the other has; `both` is how many items the two have right together,
    None where the other's items are other ones."""
    (k, n), (k2, n2) = mine, other
    if n < 2 or n2 < 2:
        return None
    whole = n + 2
    first, second = (k + 1) / whole, (k2 + 1) / (n2 + 2)
    spread = [first * (1 - first), second * (1 - second), 0.0]
    if both is None:
        spread[1] *= whole / (n2 + 2)
    else:
        spread[2] = (both + 0.5) / whole - first * second
    stretched = [one / (whole - 1) / (1 - 1 / choices) ** 2 for one in spread]
    ends = _fieller(beyond(first, choices), beyond(second, choices), stretched)
    above, below = beyond(k / n, choices), beyond(k2 / n2, choices)
    if ends is None or below <= 0:
        return None
    return above / below, min(ends[0], above / below), max(ends[1], above / below)


def quantile(sample: Sequence[float], q: float) -> float:
    """The smallest observation that at least a share q of the sample does not exceed."""
    return sorted(sample)[max(1, math.ceil(round(q * len(sample), 9))) - 1]


def quantile_ends(sample: Sequence[float], q: float, confidence: float) -> Tuple[Optional[float], Optional[float]]:
    """Observations between which the true quantile lies; None for an end that so few cannot give."""
    n, tail, ordered = len(sample), (1 - confidence) / 2, sorted(sample)
    below: List[float] = [beta(n - rank + 1, rank, 1 - q) for rank in range(1, n + 1)]
    low = sum(1 for _ in _while_at_most(below, tail))
    above = [-beta(rank, n - rank + 1, q) for rank in range(1, n + 1)]
    high = bisect_left(above, -tail)
    return ordered[low - 1] if low else None, ordered[high] if high < n else None


def _while_at_most(values: Sequence[float], most: float) -> Sequence[float]:
    return values[: next((at for at, value in enumerate(values) if value > most), len(values))]


def fewest(q: float) -> int:
    """Observations of which one is expected beyond the quantile."""
    return math.ceil(round(1 / min(q, 1 - q), 9))


def near(found: Any, expected: Optional[float]) -> bool:
    """Whether a number is this one but for rounding; where none is expected, none may be there."""
    if expected is None or not isinstance(found, (int, float)):
        return expected is None and found is None
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
