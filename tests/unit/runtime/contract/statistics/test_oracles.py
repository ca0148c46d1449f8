"""Every interval, test and power against one that others wrote: scipy here, statsmodels 0.15.0 and R's manual recorded."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract.statistics import clusters, multiple, power, ratios
from runtime.contract.statistics.intervals import (
    bootstrap_interval,
    exact_interval,
    incomplete_beta,
    rate_floor,
    t_quantile,
    wilson_interval,
)
from runtime.contract.statistics.paired import mcnemar, mcnemars, wins
from runtime.contract.statistics.rates import rate

stats = pytest.importorskip("scipy.stats", reason="needs pip install '.[dev]'")
numpy = pytest.importorskip("numpy", reason="needs pip install '.[dev]'")
special = pytest.importorskip("scipy.special", reason="needs pip install '.[dev]'")

COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_the_intervals_of_a_rate_are_scipys(counts: tuple[int, int], confidence: float):
    k, n = counts
    for ours, method in ((exact_interval, "exact"), (wilson_interval, "wilson")):
        other = stats.binomtest(k, n).proportion_ci(confidence, method=method)
        assert ours(k, n, confidence) == pytest.approx((other.low, other.high), abs=1e-9), method


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_an_interval_holds_its_rate_and_lies_within_0_and_1(counts: tuple[int, int]):
    k, n = counts
    for ours in (exact_interval, wilson_interval):
        low, high = ours(k, n)
        assert 0.0 <= low <= k / n <= high <= 1.0
        mirrored = ours(n - k, n)
        assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)
    assert rate_floor(k, n) <= rate_floor(min(k + 1, n), n)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_rate_has_no_interval(k: int, n: int):
    for ours in (exact_interval, wilson_interval):
        with pytest.raises(ValueError, match="is no rate"):
            ours(k, n)


def test_a_rate_has_its_counts_and_its_ends():
    datum = rate(10, 12)
    other = stats.binomtest(10, 12).proportion_ci(0.95, method="exact")
    assert (datum["k"], datum["n"], datum["value"]) == (10, 12, 10 / 12)
    assert (datum["low"], datum["high"]) == pytest.approx((other.low, other.high))
    assert rate(0, 0)["tag"] == "unavailable"


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 500), st.floats(0.5, 500), st.floats(0, 1))
def test_the_incomplete_beta_function_is_scipys(a: float, b: float, x: float):
    assert incomplete_beta(a, b, x) == pytest.approx(float(special.betainc(a, b, x)), abs=1e-11)


@pytest.mark.parametrize("degrees", [1, 2, 7, 30, 284, 5000])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.995])
def test_the_t_quantile_is_scipys(degrees: int, probability: float):
    assert t_quantile(probability, degrees) == pytest.approx(float(stats.t.ppf(probability, degrees)), rel=1e-8)


def test_the_bootstrap_is_scipys_but_for_its_draws():
    rng = Random(3)
    sample = [rng.gauss(1.0, 1.0) for _ in range(120)]
    other = stats.bootstrap((sample,), numpy.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert bootstrap_interval(sample, 1, resamples=2000) == pytest.approx((other.low, other.high), abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_of_the_items_that_differ(won: int, lost: int):
    better, worse = [True] * won + [False] * lost + [True, False], [False] * won + [True] * lost + [True, False]
    wanted = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(better, worse)["value"] == pytest.approx(wanted, rel=1e-9)


def test_the_paired_interval_holds_the_true_difference_as_often_as_it_says():
    """Agresti and Min (2005): 60 items, of which the one alone has 25 % and the other alone 10 %."""
    draws = numpy.random.default_rng(5).multinomial(60, [0.25, 0.10, 0.65], size=600)
    held = 0
    for won, lost, same in draws.tolist():
        datum = wins([True] * won + [False] * lost + [True] * same, [False] * won + [True] * lost + [True] * same)
        held += datum["low"] <= 0.15 <= datum["high"]
    assert 0.925 <= held / 600 <= 0.985


@pytest.mark.parametrize(
    ("found", "adjusted"),
    [
        # statsmodels.stats.multitest.multipletests(…, method="holm")
        ((0.01, 0.04, 0.03), (0.03, 0.06, 0.06)),
        ((0.001, 0.2, 0.02, 0.02), (0.004, 0.2, 0.06, 0.06)),
        ((0.5, 0.9), (1.0, 1.0)),
        ((0.05,), (0.05,)),
        # R: p.adjust((1:5)/100, "holm")
        ((0.01, 0.02, 0.03, 0.04, 0.05), (0.05, 0.08, 0.09, 0.09, 0.09)),
        ((0.0, 1.0), (0.0, 1.0)),
        ((), ()),
    ],
)
def test_holm_is_that_of_statsmodels_and_of_r(found: tuple[float, ...], adjusted: tuple[float, ...]):
    names = [f"test {i}" for i in range(len(found))]
    assert list(multiple.holm(dict(zip(names, found, strict=True))).values()) == pytest.approx(list(adjusted))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_holm_takes_probabilities_only(wrong: float):
    with pytest.raises(ValueError, match="has no p"):
        multiple.holm({"a": 0.5, "b": wrong})


def test_a_family_of_comparisons_names_its_test_its_alpha_and_what_is_left_of_each():
    """8 : 0 is p = 1/128, 6 : 0 is 1/32; of two, Holm doubles the lesser."""
    eight, six = ([True] * 10, [False] * 8 + [True] * 2), ([True] * 8, [False] * 6 + [True] * 2)
    both = mcnemars({"kd_gain": eight, "teacher_gain": six, "package_gain": "no runner `coreml`"})
    assert [both[name].get("adjusted") for name in both] == [2 / 128, 1 / 32, None]
    assert (both["kd_gain"]["test"], both["kd_gain"]["adjustment"]) == ("exact McNemar, two-sided", "Holm")
    assert (both["kd_gain"]["alpha"], both["kd_gain"]["comparisons"]) == (0.05, 2)
    assert both["package_gain"]["tag"] == "unavailable"
    seven = ([True] * 8, [False] * 6 + [True] * 2)
    of_two = mcnemars({"kd_gain": seven, "teacher_gain": seven, "package_gain": "no runner `coreml`"})
    assert [of_two[name].get("significant") for name in of_two] == [False, False, None]
    assert mcnemars({"kd_gain": seven})["kd_gain"]["significant"] is True


def test_the_clustered_error_is_that_of_statsmodels():
    """OLS(v, 1).fit(cov_type="cluster") with its correction."""
    values, families = [1, 1, 0, 1, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert clusters.standard_error(values, families) == pytest.approx(0.13466006584482768, rel=1e-12)
    half = float(stats.t.ppf(0.975, 3)) * 0.13466006584482768
    datum = clusters.mean([2 * value for value in values], families, "1")
    assert (datum["low"], datum["high"]) == pytest.approx((1.2 - 2 * half, 1.2 + 2 * half))
    below = clusters.mean([-value for value in values], families, "1")
    assert (below["low"], below["high"]) == pytest.approx((-0.6 - half, -0.6 + half))
    # no mean of shares is above one, or below zero
    share = clusters.mean(values, families, "1")
    assert (share["low"], share["high"]) == (pytest.approx(0.6 - half), 1.0)
    other = clusters.mean([1 - value for value in values], families, "1")
    assert (other["low"], other["high"]) == (0.0, pytest.approx(0.4 + half))
    assert clusters.mean([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1], "1")["tag"] == "unavailable"
    assert (datum["n"], datum["families"]) == (10, 4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=40))
def test_families_of_one_are_the_usual_error_and_doubled_rows_tell_nothing_more(values: list[float]):
    alone = clusters.standard_error(values, range(len(values)))
    assert alone == pytest.approx(float(numpy.std(values, ddof=1)) / math.sqrt(len(values)), abs=1e-9)
    twice = clusters.standard_error(values * 2, [*range(len(values))] * 2)
    assert twice == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("families", [["a", "a", "a"], ["a", "b"]])
def test_an_error_between_families_needs_families(families: list[str]):
    with pytest.raises(ValueError, match=r"two of them|argument"):
        clusters.standard_error([1.0, 0.0, 1.0], families)
    assert clusters.mean([1.0, 0.0, 1.0], ["a"] * 3, "1")["tag"] == "unavailable"
    assert clusters.mean([1.0, 0.0], ["a", "b"], "1")["tag"] == "measured"


def test_fiellers_ends_are_where_the_difference_is_just_told_from_nothing():
    above, below, moments = 0.30, 0.40, (0.0004, 0.0005, 0.0003)
    low, high = ratios.fieller(above, below, *moments) or (0.0, 0.0)
    for r in (low, high):
        spread = moments[0] - 2 * r * moments[2] + r * r * moments[1]
        assert abs(above - r * below) / math.sqrt(spread) == pytest.approx(float(stats.norm.ppf(0.975)))
    assert low < 0.75 < high


def test_fiellers_interval_is_nearly_the_bootstraps():
    rng = numpy.random.default_rng(7)
    below = (rng.random(400) < 0.7).astype(float)
    above = numpy.where(rng.random(400) < 0.9, below * (rng.random(400) < 0.8), 1 - below)
    other = stats.bootstrap(
        (above, below), lambda x, y, axis: x.mean(axis) / y.mean(axis), paired=True, method="percentile", rng=3
    ).confidence_interval
    squares = [int((one * other_).sum()) for one, other_ in ((above, above), (below, below), (above, below))]
    ours = ratios.of_sums(400, int(above.sum()), int(below.sum()), squares)
    assert ours == pytest.approx((other.low, other.high), abs=0.01)


def test_of_a_denominator_that_may_be_0_there_is_no_quotient():
    assert ratios.fieller(0.3, 0.01, 0.0004, 0.0004, 0.0) is None
    assert ratios.fieller(0.5, 0.5, 0.0, 0.0, 0.0) == (1.0, 1.0)
    assert ratios.of_sums(1, 2, 3, (4, 9, 6)) is None
    assert ratios.of_sums(2, 2, 3, (4, 9, 6)) is None
    assert ratios.of_sums(2, 4, 4, (8, 8, 8)) == (1.0, 1.0)


def test_sums_give_the_interval_of_the_answers_themselves():
    rng = numpy.random.default_rng(3)
    true, false, missed = (rng.integers(0, 4, 60) for _ in range(3))
    above, below = 2 * true, 2 * true + false + missed
    spread = numpy.cov(above, below) / 60
    squares = [int((one * two).sum()) for one, two in ((above, above), (below, below), (above, below))]
    counts = [int(one.sum()) for one in (true, false, missed)]
    found = ratios.f1_of(60, *counts, squares)
    ends = ratios.fieller(above.mean(), below.mean(), spread[0, 0], spread[1, 1], spread[0, 1])
    assert (found["low"], found["high"]) == pytest.approx(ends)
    assert [found[name] for name in ratios.SUMS] == squares
    assert ratios.possible(60, *counts, squares)
    assert ratios.f1_of(3, 0, 0, 0, [0, 0, 0])["tag"] == "unavailable"
    assert "low" not in ratios.f1_of(1, 1, 0, 0, [4, 4, 4])


#: (items, TP, FP, FN), sums of squares and products, whether some items have them
SQUARES: list[tuple[tuple[int, ...], tuple[int, ...], bool]] = [
    ((2, 2, 0, 0), (8, 8, 8), True),
    # all in one answer, and what is wrong in the other
    ((2, 2, 1, 0), (16, 17, 16), True),
    ((2, 2, 1, 0), (12, 17, 12), True),
    ((2, 2, 1, 0), (8, 17, 16), False),
    ((2, 2, 1, 0), (10, 17, 14), False),
    # four of one answer are no less than twice two
    ((4, 1, 3, 0), (0, 5, 0), False),
    ((2, 2, 0, 0), (16, 8, 8), False),
    ((2, 2, 0, 0), (8, 7, 8), False),
    ((2, 0, 3, 0), (0, 5, 0), True),
    ((2, 0, 3, 0), (0, 2, 0), False),
    ((3, 0, 3, 0), (0, 3, 0), True),
    ((2, 4, 0, 0), (16, 32, 16), False),
    # the sides of an answer rise together less than their own squares allow
    ((3, 2, 2, 0), (8, 12, 8), True),
    ((3, 2, 2, 0), (8, 30, 30), False),
]


@pytest.mark.parametrize(("counts", "squares", "can_be"), SQUARES)
def test_sums_of_squares_that_no_answers_have(counts: tuple[int, ...], squares: tuple[int, ...], can_be: bool):
    assert ratios.possible(*counts, squares) is can_be


def test_a_share_is_of_what_both_have_right_and_each_alone():
    found = ratios.kept(60, 50, 4, 6)
    assert (found["value"], found["both"], found["wins"], found["losses"]) == (54 / 56, 50, 4, 6)
    assert found["low"] < found["value"] < found["high"]
    assert ratios.kept(60, 0, 5, 0)["tag"] == "unavailable"
    assert ratios.kept(4, 0, 2, 1)["tag"] == "unavailable"
    assert ratios.kept(60, 0, 0, 50)["low"] == 0.0


@pytest.mark.parametrize(("n", "differing"), [(300, 0.1), (1000, 0.3)])
def test_mcnemar_finds_the_least_difference_four_times_of_five(n: int, differing: float):
    least = power.paired_difference(n, differing)
    up, down = (differing + least) / 2, (differing - least) / 2
    b, c, _ = numpy.random.default_rng(1).multinomial(n, [up, down, 1 - differing], size=20_000).T
    found = (b - c) ** 2 > float(stats.norm.ppf(0.975)) ** 2 * (b + c)
    assert found.mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("difference", "rate_", "nobs1", "ratio", "found"),
    [
        # statsmodels.stats.proportion.power_proportions_2indep
        (0.1, 0.5, 388, 1, 0.8006720106783477),
        (0.2, 0.1, 50, 2, 0.8482611627746252),
        (0.3, 0.6, 30, 1, 0.7796644325342542),
        (0.05, 0.9, 400, 0.5, 0.626021502413736),
    ],
)
def test_the_least_difference_of_two_samples_is_that_of_statsmodels(
    difference: float, rate_: float, nobs1: int, ratio: float, found: float
):
    least = power.unpaired_difference(round(nobs1 * ratio), nobs1, rate_, power=found)
    assert least == pytest.approx(difference, abs=2e-5)


def test_two_equally_good_models_stay_within_a_margin_four_times_of_five():
    n, margin = 400, 0.05
    differing = power.differing_at_most(n, margin)
    b, c, _ = numpy.random.default_rng(2).multinomial(n, [differing / 2, differing / 2, 1 - differing], size=20_000).T
    half = float(stats.norm.ppf(0.975)) * numpy.sqrt((b + c) / n - ((b - c) / n) ** 2) / math.sqrt(n)
    assert ((b - c) / n - half > -margin).mean() == pytest.approx(0.8, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.floats(0.01, 1.0))
def test_more_items_tell_smaller_differences(n: int, more: int, share: float):
    assert power.paired_difference(n + more, share) <= power.paired_difference(n, share)
    assert power.unpaired_difference(n + more, n, 0.5) <= power.unpaired_difference(n, n, 0.5)
    assert power.differing_at_most(n + more, 0.05) >= power.differing_at_most(n, 0.05)


def test_what_cannot_be_told_is_1_and_what_makes_no_sense_is_refused():
    assert power.paired_difference(5, 0.2) == 1.0
    assert power.unpaired_difference(2, 2, 0.5) == 1.0
    assert power.differing_at_most(10_000, 0.5) == 1.0
    for wrong in (
        lambda: power.paired_difference(0, 0.2),
        lambda: power.paired_difference(10, 0.0),
        lambda: power.paired_difference(10, 1.1),
        lambda: power.unpaired_difference(0, 5),
        lambda: power.unpaired_difference(5, 0),
        lambda: power.unpaired_difference(5, 5, 1.0),
        lambda: power.unpaired_difference(5, 5, -0.1),
        lambda: power.differing_at_most(0, 0.1),
        lambda: power.differing_at_most(10, 0.0),
    ):
        with pytest.raises(ValueError, match="items"):
            wrong()
    with pytest.raises(ValueError, match="no number of items"):
        power.clean_items(1)
    assert power.paired_difference(1, 1.0) == 1.0
    assert power.unpaired_difference(1, 1, 0.0) == 1.0
    assert 0.0 < power.differing_at_most(1, 0.1) < 0.01
