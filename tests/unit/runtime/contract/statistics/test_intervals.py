"""Intervals agree with printed tables, shrink with more data and are the same for the same seed."""

from __future__ import annotations

import ast
import math
import signal
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import fmean

import pytest

from runtime.contract.statistics import intervals
from runtime.contract.statistics.intervals import (
    bootstrap_interval,
    exact_interval,
    incomplete_beta,
    rate_floor,
    t_interval,
    t_quantile,
    wilson_interval,
)
from tests.unit.kcompiler.judge.mutants import Mutant, mutants

NAMES = ("bootstrap_interval", "incomplete_beta", "rate_floor", "t_interval", "t_quantile", "wilson_interval")


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062047), (2, 4.3026527), (5, 2.5705818), (10, 2.2281389), (30, 2.0422725), (284, 1.9683523)],
)
def test_the_t_quantile_is_the_printed_one(degrees: int, quantile: float):
    """Two-sided 95 %, Abramowitz and Stegun table 26.10; the last by numeric integration of the density."""
    assert t_quantile(0.975, degrees) == pytest.approx(quantile, abs=2e-7)


def test_the_incomplete_beta_function_has_its_closed_forms():
    for x in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert incomplete_beta(1, 1, x) == pytest.approx(x)
        assert incomplete_beta(2, 1, x) == pytest.approx(x * x)
        assert incomplete_beta(1, 3, x) == pytest.approx(1 - (1 - x) ** 3)
        assert incomplete_beta(1, 1000, x) == pytest.approx(1 - (1 - x) ** 1000)
        assert incomplete_beta(0.5, 0.5, x) == pytest.approx(2 / math.pi * math.asin(math.sqrt(x)))


def test_the_floor_of_a_rate_has_its_closed_forms():
    """All of n: alpha to the n-th root. One of n: 1 - (1 - alpha) to the n-th root. None: nothing."""
    assert rate_floor(10, 10) == pytest.approx(0.05**0.1)
    assert rate_floor(1, 10) == pytest.approx(1 - 0.95**0.1)
    assert rate_floor(0, 10) == 0.0
    for k, n in ((-1, 3), (4, 3), (0, 0)):
        with pytest.raises(ValueError, match="is no rate"):
            rate_floor(k, n)


def test_wilsons_interval_of_known_rates():
    """81 of 263, Newcombe 1998, method 3; of no and of all successes the closed forms."""
    assert wilson_interval(81, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    square = 1.959963984540054**2
    assert wilson_interval(0, 20) == (0.0, pytest.approx(square / (20 + square)))
    assert wilson_interval(20, 20) == (pytest.approx(20 / (20 + square)), 1.0)
    for k, n in ((-1, 3), (4, 3), (0, 0)):
        with pytest.raises(ValueError, match="is no rate"):
            wilson_interval(k, n)


def test_the_t_interval_of_a_known_sample():
    """Mean 3, standard deviation sqrt(2.5), n 5: 3 ± 2.776445 × sqrt(0.5)."""
    low, high = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (low, high) == (pytest.approx(3 - 1.963243, abs=1e-5), pytest.approx(3 + 1.963243, abs=1e-5))


def test_the_bootstrap_repeats_for_a_seed_and_only_for_it():
    rng = Random(3)
    sample = [rng.gauss(1.0, 1.0) for _ in range(80)]
    assert bootstrap_interval(sample, 7) == bootstrap_interval(sample, 7)
    assert bootstrap_interval(sample, 7) != bootstrap_interval(sample, 8)


def test_both_intervals_hold_the_mean_and_nearly_agree():
    rng = Random(5)
    sample = [rng.gauss(-0.2, 0.5) for _ in range(200)]
    for low, high in (t_interval(sample), bootstrap_interval(sample, 1)):
        assert low < fmean(sample) < high
        assert high - low == pytest.approx(2 * 1.97 * 0.5 / math.sqrt(200), rel=0.2)


def test_95_of_100_intervals_hold_the_true_mean():
    rng, held = Random(11), 0
    for _ in range(400):
        low, high = t_interval([rng.gauss(2.0, 1.0) for _ in range(8)])
        held += low <= 2.0 <= high
    assert 365 <= held <= 395


@pytest.mark.parametrize("sample", [[], [1.0]])
def test_one_value_has_no_interval(sample: list[float]):
    with pytest.raises(ValueError, match="two values"):
        t_interval(sample)
    with pytest.raises(ValueError, match="two values"):
        bootstrap_interval(sample, 0)


@pytest.mark.parametrize(("probability", "degrees"), [(0.5, 3), (1.0, 3), (0.4, 3), (1.5, 3), (0.975, 0)])
def test_no_quantile_below_one_half_or_of_no_freedom(probability: float, degrees: int):
    with pytest.raises(ValueError, match="above one half"):
        t_quantile(probability, degrees)


def test_two_values_have_an_interval():
    low, high = t_interval([1.0, 3.0])
    assert (low, high) == (pytest.approx(2 - 12.7062047, abs=1e-5), pytest.approx(2 + 12.7062047, abs=1e-5))
    assert bootstrap_interval([1.0, 3.0], 1) == (1.0, 3.0)


#: comparisons that differ at equality only, which doubles never meet there or which then gives the same
ALIKE = {
    "x >= 1.0 → x > 1.0",
    "x <= 0.0 → x < 0.0",
    "abs(d) > tiny → abs(d) >= tiny",
    "abs(c) > tiny → abs(c) >= tiny",
    "abs(d * c - 1.0) < 1e-15 → abs(d * c - 1.0) <= 1e-15",
    "x < (a + 1.0) / (a + b + 2.0) → x <= (a + 1.0) / (a + b + 2.0)",
    "incomplete_beta(k, n - k + 1, middle) <= alpha → incomplete_beta(k, n - k + 1, middle) < alpha",
    "_t_below(high, degrees) < probability → _t_below(high, degrees) <= probability",
    "_t_below(middle, degrees) < probability → _t_below(middle, degrees) <= probability",
    "high - low > 1e-10 * max(1.0, high) → high - low >= 1e-10 * max(1.0, high)",
}


@pytest.mark.parametrize("confidence", [0.0, 1.0, 2.0, -0.5, math.nan])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    for interval in (exact_interval, wilson_interval):
        with pytest.raises(ValueError, match="confidence"):
            interval(1, 2, confidence)


@pytest.mark.parametrize(("k", "n"), [(0.5, 1), (1, 2.0), (3, 2), (-1, 2), (0, 0), (True, 2)])
def test_counts_that_are_none_are_refused(k: int, n: int) -> None:
    for interval in (exact_interval, wilson_interval):
        with pytest.raises(ValueError, match="rate"):
            interval(k, n)


def test_every_comparison_turned_breaks_a_test(monkeypatch: pytest.MonkeyPatch):
    """A gate on the end of an interval rests on these functions alone."""
    source = Path(intervals.__file__).read_text(encoding="utf-8")
    turned = [one for one in mutants(source) if isinstance(one.child, ast.Compare)]
    assert len(turned) > 20
    assert [str(one) for one in turned if f"{one.was} → {one.now}" not in ALIKE and _passes(one, monkeypatch)] == []


def _checks() -> Iterator[Callable[[], None]]:
    """The tests above, without the one that takes long."""
    yield from (
        test_the_incomplete_beta_function_has_its_closed_forms,
        test_the_floor_of_a_rate_has_its_closed_forms,
        test_wilsons_interval_of_known_rates,
        test_the_t_interval_of_a_known_sample,
        test_two_values_have_an_interval,
        test_both_intervals_hold_the_mean_and_nearly_agree,
    )
    yield lambda: test_the_t_quantile_is_the_printed_one(2, 4.3026527)
    for probability, degrees in ((0.5, 3), (1.0, 3), (0.975, 0)):
        yield lambda p=probability, d=degrees: test_no_quantile_below_one_half_or_of_no_freedom(p, d)
    for confidence in (0.0, 1.0):
        yield lambda c=confidence: test_a_confidence_that_is_none_is_refused(c)
    for k, n in ((0.5, 1), (1, 2.0), (3, 2), (-1, 2), (0, 0)):
        yield lambda k=k, n=n: test_counts_that_are_none_are_refused(k, n)
    for sample in ([], [1.0]):
        yield lambda few=sample: test_one_value_has_no_interval(few)


def _passes(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the tests above are content with the mutant; one that comes to no end is not."""
    wrong = types.ModuleType("wrong")
    exec(mutant.compiled("wrong"), wrong.__dict__)
    before = signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, 5)
    try:
        with monkeypatch.context() as patched:
            for name in NAMES:
                patched.setitem(globals(), name, wrong.__dict__[name])
            for check in _checks():
                check()
    except (AssertionError, ArithmeticError, ValueError, IndexError, TimeoutError, pytest.fail.Exception):
        return False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return True


def _ring(_signal: int, _frame: object) -> None:
    raise TimeoutError
