"""Only strict JSON is read: JSONTestSuite (Nicolas Seriot, MIT, tests/data/json_test_suite) and what it leaves open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.contract.strict_json import MAX_DEPTH, dumps, loads

SUITE = Path(__file__).parents[3] / "data" / "json_test_suite" / "test_parsing"
CASES = sorted(SUITE.glob("*.json"))
#: grammatical JSON that we refuse on purpose: one name twice in an object
STRICTER = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}


def accepts(text: bytes) -> bool:
    try:
        loads(text)
    except ValueError:
        return False
    return True


def test_the_suite_is_here():
    assert len(CASES) == 318


def test_everything_that_is_json_is_read_but_duplicate_keys():
    must = [path for path in CASES if path.name.startswith("y_")]
    assert {path.name for path in must if not accepts(path.read_bytes())} == STRICTER


def test_nothing_that_is_no_json_is_read():
    must_not = [path for path in CASES if path.name.startswith("n_")]
    assert [path.name for path in must_not if accepts(path.read_bytes())] == []


def test_what_the_grammar_leaves_open_never_crashes():
    """Every other case is either read or refused with ValueError; another exception would fail here."""
    for path in (path for path in CASES if path.name.startswith("i_")):
        accepts(path.read_bytes())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"a":1,"a":2}', "duplicate key 'a'"),
        ("NaN", "NaN"),
        ("[Infinity]", "Infinity"),
        ("1e999", "out of range"),
        ("9007199254740992", "2^53"),
        ("1" * 100_000, "2^53"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udc00":1}', "surrogate"),
        ("\ufeff{}", "byte-order mark"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        ("{} {}", "Extra data"),
        ("", "Expecting value"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "nested"),
        ("[" * 100_000, "nested"),
    ],
)
def test_a_refusal_says_why(text: str | bytes, word: str):
    with pytest.raises(ValueError, match=re.escape(word)):
        loads(text)


def test_the_bounds_themselves_are_read():
    assert loads(str(2**53 - 1)) == 2**53 - 1
    assert loads(str(1 - 2**53)) == 1 - 2**53
    assert loads("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    assert loads('"\\ud83d\\ude00"') == "\U0001f600"


def test_writing_refuses_what_reading_would_refuse():
    assert dumps({"b": 1, "a": [None, "é"]}) == '{"b":1,"a":[null,"é"]}'
    with pytest.raises(ValueError, match="Out of range"):
        dumps(float("nan"))
