"""Numbers of reports → as a card shows them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompiler.deliver.card import number, observed


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (810848, "810848"),
        (True, "true"),
        ("fp16", '"fp16"'),
        (0.010096411451230873, "0.0101"),
        (1.4621692290739325e-06, "1.462e-06"),
        (0.9985534201281256, "0.99855"),
        (0.9999872562293322, "0.9999873"),
        (0.9999997563428791, "0.999999756"),
        (0.9999999999999457, "0.999999999"),
        (1.0, "1"),
        (0.0, "0"),
        (-0.02233, "-0.02233"),
        (0.5200000000000001, "0.52"),
        (0.4, "0.4"),
        (222.2466, "222.2"),
    ],
)
def test_a_number_has_the_digits_that_say_something(value: object, shown: str) -> None:
    assert number(value) == shown


@given(st.floats(-1e300, 1e300))
def test_a_rounded_number_is_near_and_below_one_never_one(value: float) -> None:
    shown = float(number(value))
    assert math.isclose(shown, value, rel_tol=1e-3, abs_tol=0)
    assert (shown < 1.0) == (value < 1.0) or shown == 1.0 < value


def test_what_a_rule_saw_is_rounded_only_where_it_is_a_number() -> None:
    assert observed("0.9999872562293322") == "0.9999873"
    assert observed("137/137") == "137/137"
    assert observed("prefill_64, decode") == "prefill\\_64, decode"
    digest = "935727b931b856f4ab05271fb33355ee8365f8e04071c99c8d6ff5c4755749ba"
    assert observed(digest) == digest
    assert observed("1.5.2") == "1.5.2"
