"""Numbers that are spelled out in English, where they stand and what they are."""

import time
from fractions import Fraction

import pytest

from runtime.data.spelled import placed, vague


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
        ("The distance is seven.", 7, ""),
        ("Distance: eleven", 11, ""),
        ("Eight.", 8, ""),
        ("It is far. Ten!", 10, ""),
        ("One.", 1, ""),
        ("two and a half million people", 2_500_000, "people"),
        ("two point five thousand euros", 2500, "euros"),
        ("half a kilometre away", Fraction(1, 2), "kilometre"),
        ("three quarters of an hour", Fraction(3, 4), "hour"),
        ("a third of the league", Fraction(1, 3), "league"),
        ("XIV km away", 14, "km"),
        ("about MCMXC metres", 1990, "metres"),
    ],
)
def test_a_number_in_words_is_the_number(text, value, unit):
    (found,) = placed(text)
    assert (found.value, found.unit, text[found.start : found.end]) == (value, unit, found.text)


@pytest.mark.parametrize(
    "text",
    ["two cities, one of them", "One day it rains.", "someone, often, tenfold, weight, stone-cold", "a few hundreds",
     "Just one second: wait", "One minute, please.", "one hundred percent sure", "A thousand thanks!",
     "open twenty-four hours a day", "a game of twenty questions", "the first, the twenty-first", "half of it", "a", "", "the twenty second of May", "point five",
     "That is one.", "It is one of the two.", "There are two ways: by car, by train", "Half the people", "the second half of a minute",
     "I am XL", "IIII km", "MIX it", "one, two or three of them"],
)  # fmt: skip
def test_what_is_no_number_or_a_determiner_is_none(text):
    assert [one.text for one in placed(text)] == []


@pytest.mark.parametrize(
    "text",
    ["several hundred kilometres", "hundreds of km", "thousands of miles", "a few dozen leagues", "many million dollars",
     "a couple of kilometres", "a few miles", "hundreds of thousands of years", "countless miles"],
)  # fmt: skip
def test_an_amount_without_a_number_is_one_none_the_less(text):
    said = f"It is {text}, they say."
    assert [said[start:end] for start, end in vague(said)] == [text]


@pytest.mark.parametrize(
    "text",
    ["a few things", "many thanks", "a couple of days later", "in a few seconds", "several people", "hundreds of options",
     "some time", "a thousand miles", "many years ago", "few know", "How many miles is it?", "how many million dollars"],
)  # fmt: skip
def test_what_people_say_of_time_and_things_is_none(text):
    assert vague(text) == []


def test_numbers_in_a_row_are_several():
    assert [one.value for one in placed("nineteen eighty-four, twenty twenty")] == [19, 84, 20, 20]


@pytest.mark.parametrize(
    "unit",
    ["one hundred thousand and ", "a ", "twenty ", "one ", "minus ", "one minute, please ", "half a mile ", "XIV km "],
)
def test_hostile_text_takes_time_in_proportion(unit):
    def seconds(size):
        begun = time.process_time()
        placed(unit * (size // len(unit)))
        return time.process_time() - begun

    seconds(1_000)
    assert min(seconds(32_000) for _ in range(3)) < 0.05 + 8 * min(seconds(8_000) for _ in range(3))
