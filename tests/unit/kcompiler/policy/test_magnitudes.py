"""Numbers at and beyond the ends of a double: told, and never a defect of kcompiler."""

from __future__ import annotations

from fractions import Fraction

import pytest

from kcompiler.policy.kind import text_of
from kcompiler.policy.kinds import load
from runtime.contract.report import measured

BIG, SMALL = 1e308, 5e-324


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(1, 3), "~0.3333333333"),
        (Fraction(10) ** 400, "~1e+400"),
        (-(Fraction(10) ** 400) * 2 / 3, "~-6.666666667e+399"),
        (Fraction(1, 10**400), "~1e-400"),
        (Fraction(repr(BIG)), "~1e+308"),
    ],
)
def test_a_number_is_told_however_large_or_small(value: Fraction, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("metric", "to", "by", "word"),
    [
        (BIG, -BIG, "difference", "pass"),
        (-BIG, BIG, "difference", "fail"),
        (BIG, SMALL, "difference", "pass"),
        (BIG, SMALL, "quotient", "pass"),
    ],
)
def test_a_comparison_of_the_largest_numbers_is_decided(metric: float, to: float, by: str, word: str) -> None:
    """Their difference, and their quotient, is beyond every double."""
    kind = load("relative")
    report = {"kind": "sample", "data": {"a": measured(metric, "s"), "b": measured(to, "s")}}
    asked = kind.params.model_validate(
        {"metric": "a", "to": "b", "by": by, "op": ">=", "threshold": "0", "unit": "s", "need": {"tag": "measured"}}
    )
    found = kind.judge(asked, report, None, None)
    assert found.word == word
    assert found.distance.startswith("~")
