"""A value that stands in an answer is said there only where the words around it leave it what it is."""

import pytest

from runtime.contract.wanted import Fact
from runtime.data.altered import altered
from runtime.data.integration import score

RESULT = ['{"distance": 7.5, "city": "Ulm"}']


@pytest.mark.parametrize(
    "text",
    ["more than 7.5 km", "At least 7.5 km", "less than 7.5", "Distance > 7.5 km", "up to 7.5 km", "over 7.5 km",
     "twice 7.5 km", "half of 7.5 km", "several times 7.5 km", "7.5 million km", "7.5k", "7.5 dozen", "7.5 km squared",
     "7.5 km^2", "7.5 km x 10", "7.5 km longer than you think", "7.5 km (in millions)", "minus 7.5", "exceeds 7.5 km",
     "no more than 7.5 km", "something other than 7.5 km", "any distance except 7.5 km", "unlike 7.5 km", "7.5/3",
     "all but 7.5 km", "the opposite of 7.5 km", "7.5 km; add ten to that", "7.5 km. Now double it.", "7.5 km (plus ten)",
     "7.5 modulo 3", "It is 7.5 km, then subtract two from the result"],
)  # fmt: skip
def test_a_bound_a_factor_or_an_exception_is_another_value(text):
    at = text.index("7.5")
    assert altered(text, at, at + 3)
    assert score(text, [Fact("7.5", "number")], "en", "How far?", RESULT, None).semantic.true == 0


@pytest.mark.parametrize(
    "text",
    ["It is 7.5 km.", "about 7.5 km", "nearly 7.5 km", "exactly 7.5 km, more than I thought", "7.5 km to Ulm", "7.5",
     "Ulm is 7.5 kilometres away, which is more than a walk", "no doubt: 7.5 km", "7.5 km or so", "7.5 Kelvin",
     "7.5 km, double that if you come back", "7.5 km, plus two stops", "7.5 km. Add the tickets to the bag.", "7.5 km an hour away"],
)  # fmt: skip
def test_what_leaves_it_what_it_is_says_it(text):
    at = text.index("7.5")
    assert not altered(text, at, at + 3)
    assert score(text, [Fact("7.5", "number")], "en", "How far?", RESULT, None).semantic.true == 1


@pytest.mark.parametrize(
    "text",
    [
        "anywhere except Ulm",
        "Unlike Ulm, it is far",
        "somewhere other than Ulm",
        "Anywhere but Ulm",
        "New Ulm",
        "Ulm Heights",
        "non-Ulm",
        "The opposite of Ulm",
        "It used to be Ulm",
        "False: Ulm.",
    ],
)
def test_an_exception_names_a_thing_and_does_not_say_it(text):
    assert score(text, [Fact("Ulm", "text")], "en", "Where?", RESULT, None).lax.true == 0


def test_what_the_rows_own_answer_says_so_may_be_said_so():
    facts = [Fact("7.5", "number")]
    assert score("More than 7.5 km.", facts, "en", "?", RESULT, None, (), "It is more than 7.5 km.").semantic.true == 1
    assert score("More than 7.5 km.", facts, "en", "?", RESULT, None, (), "It is 7.5 km.").semantic.true == 0


def test_a_name_keeps_what_stands_beside_it_by_chance():
    for text in ("Something new: Ulm", "Ulm is high", "Ulm, Street 5", "We drive north: Ulm"):
        assert score(text, [Fact("Ulm", "text")], "en", "Where?", RESULT, None).lax.true == 1, text


@pytest.mark.parametrize(("unit", "said"), [("km", 0), ("km|kilometres", 0), ("km/h", 1), ("km an hour", 1), ("", 1)])
def test_a_length_by_the_hour_is_no_length(unit, said):
    facts = [Fact("7.5", "number", unit)]
    assert score("It is 7.5 km an hour.", facts, "en", "?", RESULT, None).lax.true == said


def test_what_the_question_supposes_may_be_said_so():
    facts, says = [Fact("7.5", "number")], "It would be 7.5 km if the road were open."
    assert score(says, facts, "en", "How far is it?", RESULT, None).semantic.true == 0
    assert score(says, facts, "en", "How far is it if the road is open?", RESULT, None).semantic.true == 1
    assert score(says, facts, "en", "How far?", RESULT, None, (), says).semantic.true == 1
