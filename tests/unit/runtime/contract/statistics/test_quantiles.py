"""Quantiles are observations, and their intervals hold what they say for any distribution."""

import math
import random

import pytest

from runtime.contract.statistics import quantiles


def below(n: int, q: float, rank: int) -> float:
    """P(fewer than `rank` of n are at most the q-quantile), summed term by term."""
    return sum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(rank))


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.5, 30), (0.5, 101), (0.95, 80), (0.99, 400), (0.05, 90)])
@pytest.mark.parametrize("confidence", [0.95, 0.975])
def test_the_ends_are_the_narrowest_ranks_that_keep_the_confidence(q: float, n: int, confidence: float) -> None:
    low, high = quantiles.ends([float(rank) for rank in range(1, n + 1)], q, confidence)
    tail = (1 - confidence) / 2
    lows = [rank for rank in range(1, n + 1) if below(n, q, rank) <= tail]
    highs = [rank for rank in range(1, n + 1) if 1 - below(n, q, rank) <= tail]
    assert low == (max(lows) if lows else None)
    assert high == (min(highs) if highs else None)


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_an_upper_end_takes_so_many_observations_and_no_fewer(q: float, n: int) -> None:
    assert quantiles.ends(list(range(n)), q)[1] == n - 1
    assert quantiles.ends(list(range(n - 1)), q)[1] is None


def test_the_interval_of_a_skewed_sample_covers_its_median() -> None:
    draw = random.Random(5)
    true, held = math.log(2), 0
    for _ in range(400):
        low, high = quantiles.ends([draw.expovariate(1) for _ in range(30)], 0.5)
        held += low is not None and high is not None and low <= true <= high
    assert held / 400 >= 0.93


def test_a_quantile_is_the_smallest_that_the_share_does_not_exceed() -> None:
    assert [quantiles.quantile([3, 1, 2, 4], q) for q in (0.25, 0.5, 0.51, 0.75, 0.99)] == [1, 2, 3, 3, 4]
    assert quantiles.quantile(range(1, 101), 0.95) == 95
    assert quantiles.quantile(range(1, 101), 0.99) == 99


@pytest.mark.parametrize(("sample", "q"), [([], 0.5), ([1], 0.0), ([1], 1.0)])
def test_of_nothing_there_is_no_quantile(sample: list[float], q: float) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        quantiles.quantile(sample, q)


@pytest.mark.parametrize(("q", "least"), [(0.5, 2), (0.95, 20), (0.99, 100)])
def test_with_too_few_repetitions_a_quantile_is_unavailable_and_never_the_extreme(q: float, least: int) -> None:
    assert quantiles.fewest(q) == least
    short = quantiles.observed([1.0] * (least - 1), q, "s")
    assert (short["value"], short["tag"]) == (None, "unavailable")
    assert str(least) in short["reason"]
    assert quantiles.observed([1.0] * least, q, "s")["value"] == 1.0


def test_an_end_that_so_few_cannot_give_is_not_written() -> None:
    found = quantiles.observed([float(n) for n in range(30)], 0.95, "s")
    assert found["value"] == 28.0
    assert "high" not in found
    assert found["low"] < 28.0


def check_everything() -> None:
    """For the mutants of the module."""
    for q, n in ((0.5, 6), (0.95, 72), (0.99, 368)):
        test_an_upper_end_takes_so_many_observations_and_no_fewer(q, n)
    for n in (6, 30):
        test_the_ends_are_the_narrowest_ranks_that_keep_the_confidence(0.5, n, 0.95)
    test_a_quantile_is_the_smallest_that_the_share_does_not_exceed()
    for sample, wrong in (([], 0.5), ([1.0], 0.0), ([1.0], 1.0)):
        test_of_nothing_there_is_no_quantile(sample, wrong)
    for q, least in ((0.5, 2), (0.95, 20), (0.99, 100)):
        test_with_too_few_repetitions_a_quantile_is_unavailable_and_never_the_extreme(q, least)
    test_an_end_that_so_few_cannot_give_is_not_written()
