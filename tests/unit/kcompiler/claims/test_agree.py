"""What is written against what stands in the evidence: by value, never by presence. Each edge has a case on both sides."""

from decimal import Decimal

import pytest

from kcompiler.claims import shipped
from kcompiler.claims.agree import HOLDS, agrees, wrong
from kcompiler.claims.evidence import Found, Unresolved
from kcompiler.claims.extract import numerals


def said(text: str, value: float, unit: str = "", **datum) -> str:
    claim = next(one for one in numerals(text, shipped()) if one.kind not in ("status", "relation"))
    return wrong(claim, Found("measured", value, unit, {"value": value, "unit": unit, **datum}), shipped())


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("0.63", 0.628, ""),
        ("0.63", 0.625, ""),
        ("0.63", 0.635, ""),
        ("63 %", 0.628, "ratio"),
        ("2.0 points", 0.02, "item/item"),
        ("1,100 rows", 1100, "row"),
        ("3.2 s", 3249, "ms"),
        ("3249 ms", 3.249, "s"),
        ("98 MB", 98_400_000, "B"),
        ("1.7 M parameters", 1_663_000, "parameter"),
        ("−0.02", -0.0195, "item/item"),
        ("about 20 minutes", 1100, "s"),
        ("1e-3 s", 0.001, "s"),
    ],
)
def test_a_number_agrees_by_its_own_digits_in_its_own_unit(text, value, unit):
    assert said(text, value, unit) == ""


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("0.63", 0.6249, ""),
        ("0.63", 0.6351, ""),
        ("0.630", 0.628, ""),
        ("63 %", 0.638, "ratio"),
        ("3.2 s", 3251, "ms"),
        ("98 MB", 97_400_000, "B"),
        ("0.02", -0.02, "item/item"),
        ("about 20 minutes", 1000, "s"),
        ("about 20 minutes", 1400, "s"),
        ("1,100 rows", 1101, "row"),
    ],
)
def test_a_number_that_is_off_by_more_than_its_digits_differs(text, value, unit):
    assert said(text, value, unit) != ""


@pytest.mark.parametrize("unit", ["B", "nat/question"])
def test_units_of_different_kinds_are_never_compared(unit):
    with pytest.raises(Unresolved):
        said("3 s", 3, unit)


@pytest.mark.parametrize(
    ("text", "below", "at", "above"),
    [
        ("at least 0.9", False, True, True),
        ("at most 0.9", True, True, False),
        ("more than 0.9", False, False, True),
        ("less than 0.9", True, False, False),
        ("≥ 0.9", False, True, True),
        ("< 0.9", True, False, False),
    ],
)
def test_a_comparison_is_exact(text, below, at, above):
    """0.8999 rounds to 0.9, and is below it."""
    assert [said(text, value) == "" for value in (0.8999, 0.9, 0.9001)] == [below, at, above]


def test_every_relation_is_told_from_every_other():
    signs = {name: tuple(holds(Decimal(a), Decimal(0)) for a in (-1, 0, 1)) for name, holds in HOLDS.items()}
    assert signs == {
        "<": (True, False, False),
        "<=": (True, True, False),
        ">": (False, False, True),
        ">=": (False, True, True),
        "=": (False, True, False),
    }


def test_a_share_agrees_by_both_counts_and_not_by_its_ratio():
    assert said("314 of 500", 0.628, "ratio", k=314, n=500) == ""
    assert said("157 of 250", 0.628, "ratio", k=314, n=500) != ""
    assert said("314/501", 0.628, "ratio", k=314, n=500) != ""
    with pytest.raises(Unresolved):
        said("314 of 500", 0.628, "ratio")


def test_an_interval_agrees_by_both_ends_and_its_confidence():
    datum = {"low": 0.1626, "high": 0.1859, "confidence": 0.95}
    assert said("95 % in [0.163, 0.186]", 0.17, "nat/token", **datum) == ""
    assert said("90 % in [0.163, 0.186]", 0.17, "nat/token", **datum) != ""
    assert said("95 % in [0.162, 0.186]", 0.17, "nat/token", **datum) != ""
    assert said("95 % in [0.163, 0.185]", 0.17, "nat/token", **datum) != ""


@pytest.mark.parametrize("value", [True, "0.63", None, [0.63]])
def test_what_is_no_number_bears_out_no_number(value):
    with pytest.raises(Unresolved):
        said("0.63", value)


def test_the_step_of_a_numeral_is_half_its_last_digit():
    assert agrees("1.50", Decimal(1), Decimal("1.505"))
    assert not agrees("1.50", Decimal(1), Decimal("1.5051"))
    assert not agrees("1.50", Decimal(1), Decimal("1.4949"))
    assert agrees("2", Decimal(1000), Decimal(2500))
    assert not agrees("2", Decimal(1000), Decimal(2501))
