"""Numbers that are spelled out in English, where they stand and what they are."""

import time
from fractions import Fraction

import pytest

from runtime.data.spelled import placed


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("It is seven kilometres to X", 7, "kilometres"),
        ("a three-day trip", 3, "day"),
        ("minus four outside", -4, "outside"),
        ("twenty-three cities", 23, "cities"),
        ("Ninety nine.", 99, ""),
        ("thirteen", 13, ""),
        ("three dozen eggs", 36, "eggs"),
        ("a hundred and one", 101, ""),
        ("one thousand two hundred and five", 1205, ""),
        ("five million, two thousand and three people", 5_002_003, "people"),
        ("seven and a half hours", Fraction(15, 2), "hours"),
        ("two and three quarters", Fraction(11, 4), ""),
        ("zero point oh five percent", Fraction(1, 20), "percent"),
        ("ONE HUNDRED EUROS", 100, "EUROS"),
        ("one hundred percent of it", 100, "percent"),
        ("it takes one minute", 1, "minute"),
        ("twenty-four hours later", 24, "hours"),
        ("Just one second, please: forty miles", 40, "miles"),
    ],
)
def test_a_number_in_words_is_the_number(text, value, unit):
    (found,) = placed(text)
    assert (found.value, found.unit, text[found.start : found.end]) == (value, unit, found.text)


@pytest.mark.parametrize(
    "text",
    ["two cities, one of them", "One day it rains.", "someone, often, tenfold, weight, stone-cold", "a few hundreds",
     "Just one second: wait", "One minute, please.", "one hundred percent sure", "A thousand thanks!",
     "open twenty-four hours a day", "a game of twenty questions", "the first, the twenty-first", "half of it", "a", "", "the twenty second of May", "point five"],
)  # fmt: skip
def test_what_is_no_number_or_a_determiner_is_none(text):
    assert [one.text for one in placed(text)] == []


def test_numbers_in_a_row_are_several():
    assert [one.value for one in placed("nineteen eighty-four, twenty twenty")] == [19, 84, 20, 20]


@pytest.mark.parametrize(
    "unit", ["one hundred thousand and ", "a ", "twenty ", "one ", "minus ", "one minute, please "]
)
def test_hostile_text_takes_time_in_proportion(unit):
    def seconds(size):
        begun = time.process_time()
        placed(unit * (size // len(unit)))
        return time.process_time() - begun

    seconds(1_000)
    assert min(seconds(32_000) for _ in range(3)) < 0.05 + 8 * min(seconds(8_000) for _ in range(3))
