"""Paired differences: their mean, an interval around it, and nothing at all out of what is no number."""

from __future__ import annotations

import math
from random import Random

import pytest

from runtime.contract import TokenScore
from runtime.contract.statistics.paired import bootstrap, difference, lacking, not_numbers, wins


def scores(*logs: float, tokens: int = 2) -> list[TokenScore]:
    return [TokenScore(log_probability=log, tokens=tokens) for log in logs]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_one_score_that_is_no_number_is_enough(wrong: float):
    assert not_numbers(scores(-1.0, wrong, -2.0)) == "1 of 3 scores are not finite"


def test_a_score_of_no_tokens_has_no_mean():
    assert not_numbers(scores(-1.0, tokens=0)) == "a score of no tokens"
    assert not_numbers(scores(-1.0, tokens=1)) == ""
    assert not_numbers([]) == ""


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_items_compare_nothing(count: int):
    assert difference([1.0] * count, [0.0] * count, "nat")["tag"] == "unavailable"
    assert bootstrap([1.0] * count, [0.0] * count, "nat", 1)["tag"] == "unavailable"
    assert wins([True] * count, [False] * count)["tag"] == "unavailable"


def test_a_difference_that_is_no_number_is_none():
    for sides in (([1.0, math.inf], [0.0, 0.0]), ([math.inf, 1.0], [math.inf, 1.0])):
        assert difference(*sides, "nat")["tag"] == "unavailable"
        assert bootstrap(*sides, "nat", 1)["tag"] == "unavailable"


def test_the_difference_is_signed_and_over_the_items_both_have():
    sides = [2.0, 3.0, 9.0], [1.0, 1.0]
    for datum in (difference(*sides, "nat"), bootstrap(*sides, "nat", 1)):
        assert (datum["value"], datum["n"], datum["unit"]) == (1.5, 2, "nat")
        assert datum["low"] <= 1.5 <= datum["high"]
    assert difference([1.0, 1.0], [2.0, 3.0], "nat")["value"] == -1.5


def test_the_ends_follow_from_the_items_and_their_standard_deviation():
    """Student's t of 4 degrees is 2.776; the two ways of asking agree where there are many."""
    datum = difference([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5, "nat")
    assert datum["sd"] == pytest.approx(math.sqrt(2.5))
    assert datum["high"] - 3.0 == pytest.approx(2.7764451052 * datum["sd"] / math.sqrt(5))
    rng = Random(4)
    many = [rng.gauss(0.3, 1.0) for _ in range(400)]
    one, other = difference(many, [0.0] * 400, "nat"), bootstrap(many, [0.0] * 400, "nat", 1)
    assert (one["low"], one["high"]) == pytest.approx((other["low"], other["high"]), abs=0.01)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-9])
def test_the_interval_of_a_constant_holds_it(value: float):
    for datum in (difference([value] * 7, [0.0] * 7, "nat"), bootstrap([value] * 7, [0.0] * 7, "nat", 1)):
        assert datum["low"] <= datum["value"] <= datum["high"]


def test_wins_count_the_items_that_differ():
    datum = wins([True, True, False, True], [True, False, True, False])
    assert (datum["value"], datum["wins"], datum["losses"], datum["n"]) == (0.25, 2, 1, 4)
    assert datum["low"] < 0 < datum["high"]


@pytest.mark.parametrize("n", [2, 10, 1000])
def test_equal_models_are_not_certainly_equal(n: int):
    """No item differs: the interval still has a width, and it shrinks with the items."""
    datum = wins([True] * n, [True] * n)
    assert datum["value"] == 0.0
    assert datum["low"] == pytest.approx(-datum["high"])
    assert 0 < datum["high"] < 4 / n


@pytest.mark.parametrize("n", [2, 3, 20])
def test_the_interval_holds_the_value_and_stays_in_range(n: int):
    for won in range(n + 1):
        datum = wins([True] * won + [False] * (n - won), [False] * n)
        assert -1 <= datum["low"] <= datum["value"] <= datum["high"] <= 1


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """60 items, 20 % won and 10 % lost in truth: 95 % intervals hold 0.1 in at least 93 of 100 samples."""
    rng, held = Random(5), 0
    for _ in range(1000):
        draws = [rng.random() for _ in range(60)]
        datum = wins([draw < 0.2 for draw in draws], [0.2 <= draw < 0.3 for draw in draws])
        held += datum["low"] <= 0.1 <= datum["high"]
    assert 930 <= held <= 985


def test_what_is_lacking_is_named():
    assert lacking("kd_gain", {"student": 1}, {}) == "no runner `ce_only`"
    assert lacking("kd_gain", {"student": 1, "ce_only": 1}, {"ce_only": "NaN"}) == "runner `ce_only`: NaN"
    assert lacking("package_gain", {"student": 1, "coreml": 1}, {"ce_only": "NaN"}) == ""
