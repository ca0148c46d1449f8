"""Plain scalars mean what the YAML 1.2 core schema says, and nothing that YAML 1.1 added."""

import pytest

from kcompiler.source.scalars import NotANumber, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("NULL", None),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("False", False),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("nULL", "nULL"),
        ("None", "None"),
        ("0", 0),
        ("-0", 0),
        ("+3", 3),
        ("017", 17),
        ("-12", -12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("9007199254740991", 2**53 - 1),
        ("-9007199254740991", 1 - 2**53),
        ("0" * 70 + "5", 5),
        ("1_000", 1000),
        ("623_000", 623000),
        ("-1_000_000", -1000000),
        ("1_0", "1_0"),
        ("1__000", "1__000"),
        ("1000_000", "1000_000"),
        ("0_100", "0_100"),
        ("_1", "_1"),
        ("1_000.5", "1_000.5"),
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("1E3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e1", -5.0),
        ("+1.5", 1.5),
        ("-0.0", 0.0),
        ("1e", "1e"),
        (".", "."),
        ("-", "-"),
        ("+", "+"),
        ("1.2.3", "1.2.3"),
        ("1,000", "1,000"),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("2026-11-20", "2026-11-20"),
        ("1.10", 1.1),
        ("0o8", "0o8"),
        ("0xG", "0xG"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("Infinity", "Infinity"),
        ("=", "="),
        ("<<", "<<"),
        ("623_000±10%", "623_000±10%"),
        ("１２", "１２"),
        ("٣", "٣"),
        ("1\n", "1\n"),
    ],
)
def test_a_plain_scalar_is_read_by_the_core_schema(text, value):
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_minus_zero_is_zero():
    """RFC 8785 writes both as 0, so both must be the same value here."""
    assert str(resolve("-0.0")) == "0.0"


@pytest.mark.parametrize(
    "text", [".nan", ".NaN", ".NAN", ".inf", "-.INF", "+.Inf", "1e999", "-1e400", "9" * 400 + ".0"]
)
def test_what_is_not_finite_is_refused(text):
    with pytest.raises(NotANumber) as refused:
        resolve(text)
    assert refused.value.code == "KC1020"


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740992",
        "-9007199254740992",
        "0x20000000000000",
        "9" * 100_000,
        "0x" + "f" * 100_000,
        "9_" + "000_" * 9 + "000",
    ],
)
def test_an_integer_that_a_double_cannot_hold_is_refused(text):
    with pytest.raises(NotANumber) as refused:
        resolve(text)
    assert refused.value.code == "KC1021"
