"""Only permitted answers are valid, and divergence is the exact one over them."""

from __future__ import annotations

import math

import pytest

from runtime.data.classic import ANSWERS
from runtime.suites.answers import SUITE, AnswersParams, divergence
from tests.unit.runtime.suites.models import Scripted, row

PARAMS = AnswersParams(answers={"good": ["Yes.", "Sure."], "bad": ["No."]}, coreml_limit=2)
ROWS = [row("a?", "Yes.", "love"), row("b?", "No.", "work"), row("c?", "No.", "work")]


def odds(yes: float, sure: float, no: float) -> Scripted:
    table = {"Yes.": yes, "Sure.": sure, "No.": no}
    return Scripted(lambda _: max(table, key=lambda answer: table[answer]), lambda _, answer: table[answer])


def test_the_classic_answers_are_ten_five_and_five():
    assert {name: len(group) for name, group in ANSWERS.items()} == {
        "affirmative": 10,
        "non-committal": 5,
        "negative": 5,
    }
    assert len({answer for group in ANSWERS.values() for answer in group}) == 20
    assert AnswersParams().answers == {name: list(group) for name, group in ANSWERS.items()}


@pytest.mark.parametrize("said", ["Yes", "yes.", "Yes. ", "", "Yes.Yes.", "Yes.<|pad|>"])
def test_almost_an_answer_is_none(said: str):
    data = SUITE.run({"teacher": odds(1, 1, 1), "student": Scripted(lambda _: said)}, ROWS, [], PARAMS, 0)
    assert (data["validity"]["student"]["k"], data["validity"]["student"]["n"]) == (0, 3)
    assert data["invalid_examples"]["student"] == [said] * 3


def test_validity_counts_the_questions_answered_as_permitted():
    student = Scripted(lambda prompt: "No." if prompt == "b?" else "Maybe.")
    data = SUITE.run({"teacher": odds(1, 1, 1), "student": student}, ROWS, [], PARAMS, 0)
    assert data["validity"]["student"] == {"value": 1 / 3, "unit": "ratio", "tag": "measured", "n": 3, "k": 1}
    assert data["validity"]["teacher"]["k"] == 3


def test_divergence_has_its_textbook_value_and_direction():
    assert divergence([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert divergence([0.25, 0.75], [0.5, 0.5]) == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert divergence([1.0, 0.0], [1.0, 0.0]) == 0.0
    assert divergence([0.5, 0.5], [1.0, 0.0]) == math.inf


def test_the_report_compares_teacher_to_student_in_this_order():
    data = SUITE.run({"teacher": odds(0.5, 0.3, 0.2), "student": odds(0.2, 0.3, 0.5)}, ROWS, [], PARAMS, 0)
    wanted = divergence([0.5, 0.3, 0.2], [0.2, 0.3, 0.5])
    assert data["kl"]["student"]["all"]["value"] == pytest.approx(wanted)
    assert data["kl"]["student"]["by_class"]["work"]["n"] == 2
    skewed = SUITE.run({"teacher": odds(0.1, 0.1, 0.8), "student": odds(0.6, 0.2, 0.2)}, ROWS, [], PARAMS, 0)
    swapped = SUITE.run({"teacher": odds(0.6, 0.2, 0.2), "student": odds(0.1, 0.1, 0.8)}, ROWS, [], PARAMS, 0)
    values = [data["kl"]["student"]["all"]["value"] for data in (skewed, swapped)]
    assert values[0] != pytest.approx(values[1])


def test_probabilities_are_divided_by_their_sum_and_the_sum_is_reported():
    """A model that puts half its mass elsewhere has the same proportions as one that does not."""
    data = SUITE.run({"teacher": odds(0.5, 0.3, 0.2), "student": odds(0.25, 0.15, 0.1)}, ROWS, [], PARAMS, 0)
    assert data["kl"]["student"]["all"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert data["answer_mass"]["student"]["value"] == pytest.approx(0.5)
    assert data["answer_mass"]["teacher"]["value"] == pytest.approx(1.0)


def test_categories_are_summed_for_each_class():
    data = SUITE.run({"teacher": odds(0.5, 0.3, 0.2), "student": odds(0.2, 0.2, 0.6)}, ROWS, [], PARAMS, 0)
    assert data["categories"]["love"]["good"]["teacher"]["value"] == pytest.approx(0.8)
    assert data["categories"]["work"]["bad"]["student"]["value"] == pytest.approx(0.6)


def test_a_question_asked_twice_counts_once():
    twice = [*ROWS, row("a?", "No.", "love", name="again")]
    data = SUITE.run({"teacher": odds(1, 1, 1), "student": odds(1, 1, 1)}, twice, [], PARAMS, 0)
    assert data["questions"]["value"] == 3
    assert data["validity"]["student"]["n"] == 3


def test_a_missing_runner_and_an_empty_split_are_unavailable_never_a_pass():
    data = SUITE.run({"teacher": odds(1, 1, 1), "student": odds(1, 1, 1)}, ROWS, [], PARAMS, 0)
    for datum in (data["validity"]["coreml"], data["validity"]["ce_only"], data["kl"]["ce_only"]["all"]):
        assert datum["tag"] == "unavailable"
        assert datum["value"] is None
    empty = SUITE.run({"teacher": odds(1, 1, 1), "student": odds(1, 1, 1)}, [], [], PARAMS, 0)
    for datum in (empty["validity"]["student"], empty["kl"]["student"]["all"], empty["answer_mass"]["teacher"]):
        assert datum["tag"] == "unavailable"


def test_a_student_that_excludes_an_answer_has_no_finite_divergence():
    """Probability zero for what the teacher says: infinite, so unavailable, so no gate passes on it."""
    never = Scripted(lambda _: "Yes.", lambda _, answer: 1.0 if answer == "Yes." else 5e-324)
    data = SUITE.run({"teacher": odds(0.4, 0.3, 0.3), "student": never}, ROWS, [], PARAMS, 0)
    assert data["kl"]["student"]["all"]["value"] > 100
    assert divergence([0.5, 0.5], [1.0, 0.0]) == math.inf


def test_the_package_is_asked_only_the_first_questions_and_says_so():
    package = odds(1, 1, 1)
    runners = {"teacher": odds(1, 1, 1), "student": odds(1, 1, 1), "coreml": package}
    data = SUITE.run(runners, ROWS, [], PARAMS, 0)
    assert package.asked == ["a?", "b?"]
    assert (data["validity"]["coreml"]["k"], data["validity"]["coreml"]["n"]) == (2, 2)
