"""The exact one-sided interval of a rate, by its own definition and by hand."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompiler.policy.interval import lower, upper


def at_least(k: int, n: int, p: Fraction) -> Fraction:
    """P(X ≥ k) of n trials, exactly."""
    return sum((comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)), Fraction(0))


@given(st.integers(1, 60), st.data())
def test_it_is_the_rate_at_which_so_many_are_as_rare_as_five_percent(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    low = lower(k, n)
    assert at_least(k, n, low) <= Fraction(1, 20)
    assert at_least(k, n, low + Fraction(2, 10**9)) > Fraction(1, 20)


@pytest.mark.parametrize(("n", "rate"), [(29, "0.90"), (59, "0.95"), (149, "0.98")])
def test_clean_runs_prove_what_the_role_table_says(n: int, rate: str) -> None:
    assert lower(n, n) >= Fraction(rate) > lower(n - 1, n - 1)


def test_the_ends_meet_the_borders() -> None:
    assert lower(0, 7) == 0
    assert upper(7, 7) == 1
    assert upper(0, 60) == 1 - lower(60, 60)


@given(st.integers(1, 500), st.data())
def test_more_successes_and_more_items_raise_the_lower_end(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    assert lower(k, n) <= Fraction(k, n) <= upper(k, n)
    if k < n:
        assert lower(k, n) < lower(k + 1, n)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_rate_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="no rate"):
        lower(k, n)
