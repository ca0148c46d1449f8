"""Counts and samples → intervals: of a rate (exact, Wilson), of a mean (Student's t, percentile bootstrap)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from statistics import NormalDist, fmean, stdev

#: halvings of [0, 1] after which two doubles next to each other are told apart
_HALVINGS = 60


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction of the incomplete beta function (Numerical Recipes, 6.4)."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 300):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + term * d
            c = 1.0 + term / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            value *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return value


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0 and 0 ≤ x ≤ 1; about 12 digits."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log) * _continued_fraction(a, b, x) / a
    return 1.0 - math.exp(log) * _continued_fraction(b, a, 1.0 - x) / b


def _refuse(k: int, n: int, confidence: float) -> None:
    if type(k) is not int or type(n) is not int or not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is no rate")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"{confidence} is no confidence between 0 and 1")


def rate_floor(k: int, n: int, alpha: float = 0.05) -> float:
    """Lower end of the exact one-sided interval of k of n (Clopper and Pearson 1934): the rate below which k or more
    would be rarer than `alpha`. Raises ValueError for no such rate."""
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is no rate")
    if k in (0, n):
        # the closed forms: nothing is proven by no success, and alpha^(1/n) by n of them
        return alpha ** (1 / n) if k else 0.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # P(X ≥ k) of a binomial is the regularised incomplete beta function I_p(k, n - k + 1)
        if incomplete_beta(k, n - k + 1, middle) <= alpha:
            low = middle
        else:
            high = middle
    return low


def exact_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of k of n (Clopper and Pearson 1934): it holds the true rate at least so often as it says.

    Raises ValueError for no such rate, and for a confidence that is none.
    """
    _refuse(k, n, confidence)
    alpha = (1 - confidence) / 2
    # rounding may put an end a last digit beside the rate
    return min(rate_floor(k, n, alpha), k / n), max(1 - rate_floor(n - k, n, alpha), k / n)


def wilson_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of k of n by the score test (Wilson 1927): shorter than the exact one, right on average.

    Raises ValueError for no such rate, and for a confidence that is none.
    """
    _refuse(k, n, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, whole = k / n, n + z * z
    middle = (k + z * z / 2) / whole
    half = z * math.sqrt(n * share * (1 - share) + z * z / 4) / whole
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution above one half, by bisection to 1e-10."""
    if not 0.5 < probability < 1.0 or degrees < 1:
        raise ValueError("a quantile above one half and at least one degree of freedom")
    low, high = 0.0, 1.0
    while _t_below(high, degrees) < probability:
        high *= 2
    while high - low > 1e-10 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _t_below(t: float, degrees: int) -> float:
    return 1.0 - incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2


def t_interval(sample: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of the mean under Student's t. Raises ValueError for fewer than two values."""
    if len(sample) < 2:
        raise ValueError("an interval needs at least two values")
    half = t_quantile((1 + confidence) / 2, len(sample) - 1) * stdev(sample) / math.sqrt(len(sample))
    return fmean(sample) - half, fmean(sample) + half


def bootstrap_interval(
    sample: Sequence[float], seed: int, *, confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap of the mean (Efron 1979): the same seed gives the same interval.

    Raises ValueError for fewer than two values.
    """
    size = len(sample)
    if size < 2:
        raise ValueError("an interval needs at least two values")
    rng = Random(seed)
    means = sorted(fmean(sample[int(rng.random() * size)] for _ in range(size)) for _ in range(resamples))
    cut = (1 - confidence) / 2
    return means[math.floor(cut * resamples)], means[math.ceil((1 - cut) * resamples) - 1]
