"""Only permitted answers are valid, and divergence is the exact one over them."""

from __future__ import annotations

import math

import pytest

from runtime.contract import Refusal, TokenScore
from runtime.contract.statistics.rates import rate
from runtime.data.classic import ANSWERS
from runtime.suites.answers import SUITE, AnswersParams, divergence
from tests.unit.runtime.suites.models import Scripted, reported, row

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
    data = reported(SUITE, {"teacher": odds(1, 1, 1), "student": Scripted(lambda _: said)}, ROWS, [], PARAMS, 0)
    assert (data["validity"]["student"]["k"], data["validity"]["student"]["n"]) == (0, 3)
    assert data["invalid_examples"]["student"] == [said] * 3


def test_validity_counts_the_questions_answered_as_permitted():
    student = Scripted(lambda prompt: "No." if prompt == "b?" else "Maybe.")
    data = reported(SUITE, {"teacher": odds(1, 1, 1), "student": student}, ROWS, [], PARAMS, 0)
    assert data["validity"]["student"] == rate(1, 3)
    assert data["validity"]["teacher"]["k"] == 3


def test_divergence_has_its_textbook_value_and_direction():
    assert divergence([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert divergence([0.25, 0.75], [0.5, 0.5]) == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert divergence([1.0, 0.0], [1.0, 0.0]) == 0.0
    assert divergence([0.5, 0.5], [1.0, 0.0]) == math.inf


def test_the_report_compares_teacher_to_student_in_this_order():
    data = reported(SUITE, {"teacher": odds(0.5, 0.3, 0.2), "student": odds(0.2, 0.3, 0.5)}, ROWS, [], PARAMS, 0)
    wanted = divergence([0.5, 0.3, 0.2], [0.2, 0.3, 0.5])
    assert data["kl"]["student"]["all"]["value"] == pytest.approx(wanted)
    assert data["kl"]["student"]["by_class"]["work"]["n"] == 2
    skewed = reported(SUITE, {"teacher": odds(0.1, 0.1, 0.8), "student": odds(0.6, 0.2, 0.2)}, ROWS, [], PARAMS, 0)
    swapped = reported(SUITE, {"teacher": odds(0.6, 0.2, 0.2), "student": odds(0.1, 0.1, 0.8)}, ROWS, [], PARAMS, 0)
    values = [data["kl"]["student"]["all"]["value"] for data in (skewed, swapped)]
    assert values[0] != pytest.approx(values[1])


def test_probabilities_are_divided_by_their_sum_and_the_sum_is_reported():
    """A model that puts half its mass elsewhere has the same proportions as one that does not."""
    data = reported(SUITE, {"teacher": odds(0.5, 0.3, 0.2), "student": odds(0.25, 0.15, 0.1)}, ROWS, [], PARAMS, 0)
    assert data["kl"]["student"]["all"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert data["answer_mass"]["student"]["value"] == pytest.approx(0.5)
    assert data["answer_mass"]["teacher"]["value"] == pytest.approx(1.0)


def test_categories_are_summed_for_each_class():
    data = reported(SUITE, {"teacher": odds(0.5, 0.3, 0.2), "student": odds(0.2, 0.2, 0.6)}, ROWS, [], PARAMS, 0)
    assert data["categories"]["love"]["good"]["teacher"]["value"] == pytest.approx(0.8)
    assert data["categories"]["work"]["bad"]["student"]["value"] == pytest.approx(0.6)


def test_a_question_asked_twice_counts_once():
    twice = [*ROWS, row("a?", "No.", "love", name="again")]
    data = reported(SUITE, {"teacher": odds(0.5, 0.25, 0.25), "student": odds(0.5, 0.25, 0.25)}, twice, [], PARAMS, 0)
    assert data["questions"]["value"] == 3
    assert data["gold_nll"]["student"]["value"] == pytest.approx((math.log(2) * 0.5 + math.log(4) * 2.5) / 3)
    assert data["gold_match"]["student"]["k"] == 1
    assert data["validity"]["student"]["n"] == 3


def test_a_missing_runner_and_an_empty_split_are_unavailable_never_a_pass():
    data = reported(SUITE, {"teacher": odds(1, 1, 1), "student": odds(1, 1, 1)}, ROWS, [], PARAMS, 0)
    for datum in (data["validity"]["coreml"], data["validity"]["ce_only"], data["kl"]["ce_only"]["all"]):
        assert datum["tag"] == "unavailable"
        assert datum["value"] is None
    empty = reported(SUITE, {"teacher": odds(1, 1, 1), "student": odds(1, 1, 1)}, [], [], PARAMS, 0)
    for datum in (empty["validity"]["student"], empty["kl"]["student"]["all"], empty["answer_mass"]["teacher"]):
        assert datum["tag"] == "unavailable"


def test_a_student_that_excludes_an_answer_has_no_finite_divergence():
    """Probability zero for what the teacher says: infinite, so unavailable, so no gate passes on it."""
    never = Scripted(lambda _: "Yes.", lambda _, answer: 1.0 if answer == "Yes." else 5e-324)
    data = reported(SUITE, {"teacher": odds(0.4, 0.3, 0.3), "student": never}, ROWS, [], PARAMS, 0)
    assert data["kl"]["student"]["all"]["value"] > 100
    assert divergence([0.5, 0.5], [1.0, 0.0]) == math.inf


def test_the_package_is_asked_only_the_first_questions_and_says_so():
    package = odds(1, 1, 1)
    runners = {"teacher": odds(1, 1, 1), "student": odds(1, 1, 1), "coreml": package}
    data = reported(SUITE, runners, ROWS, [], PARAMS, 0)
    assert package.asked == ["a?", "b?"]
    assert (data["validity"]["coreml"]["k"], data["validity"]["coreml"]["n"]) == (2, 2)


@pytest.mark.parametrize(
    "wrong", [{}, {"a": []}, {"a": [""]}, {"a": [" "], "b": ["x"]}, {"a": ["x"], "b": ["x"]}, {"a": ["x"]}]
)
def test_a_list_that_permits_nothing_or_all_is_refused(wrong: dict[str, list[str]]):
    with pytest.raises(ValueError, match="validation error"):
        AnswersParams.model_validate({"answers": wrong})


def test_rows_of_other_data_are_not_judged_by_the_classic_answers():
    with pytest.raises(Refusal, match="no permitted answer") as caught:
        reported(SUITE, {}, [row("When do you open?", "At nine.")], [], AnswersParams(), 0)
    assert "`answers`" in caught.value.action


def many(answer_of, count=60):
    return [row(f"{n}?", answer_of(n), "x") for n in range(count)]


def one_right(prompt: str, share: float = 0.97) -> dict[str, float]:
    """A model that knows a right answer: "No." on every third question, else "Yes."."""
    right = "No." if int(prompt[:-1]) % 3 == 0 else "Yes."
    return {answer: share if answer == right else (1 - share) / 2 for answer in ("Yes.", "Sure.", "No.")}


KNOWS = Scripted(
    lambda prompt: max(one_right(prompt), key=lambda answer: one_right(prompt)[answer]),
    lambda prompt, answer: one_right(prompt)[answer],
)
GOLD = many(lambda n: "No." if n % 3 == 0 else "Yes.")


def test_one_constant_answer_is_valid_and_nothing_else():
    always = odds(0.001, 0.998, 0.001)
    params = PARAMS.model_copy(update={"coreml_limit": 30})
    data = reported(SUITE, {"teacher": KNOWS, "student": always, "coreml": KNOWS}, GOLD, [], params, 0)
    assert data["validity"]["student"]["k"] == 60
    assert data["gold_match"]["student"]["k"] == 0
    assert data["zoo"]["above"]["student"]["high"] < 0
    assert data["distance"]["student"]["value"] > 0.9
    assert data["top_share"]["student"]["value"] > 0.9
    assert data["kl"]["student"]["all"]["value"] > 1
    worth = {name: one["value"] for name, one in data["zoo"]["worth"].items()}
    assert worth["uniform"] == pytest.approx(-math.log(3))
    assert worth["prior"] == pytest.approx(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    assert worth["constant"] == pytest.approx(-20 / 3)
    assert (data["zoo"]["best"], data["zoo"]["gold"]["k"]) == ("prior", 60)
    # and what the teacher and the package, who know, are told
    assert data["zoo"]["above"]["teacher"]["low"] > 0.5
    assert data["distance"]["coreml"]["value"] < 0.05
    assert data["gold_match"]["coreml"]["k"] == data["gold_match"]["coreml"]["n"] == 30
    assert (data["package_gain"]["n"], data["package_gain"]["low"] > 1) == (30, True)


def test_rows_whose_answers_are_all_wrong_do_not_pass():
    """Forty rows with a wrong gold: every output is permitted, and not one is the row's."""
    turned = many(lambda n: "Yes." if n % 3 == 0 else "No.", 40)
    data = reported(SUITE, {"teacher": KNOWS, "student": KNOWS}, turned, [], PARAMS, 0)
    assert (data["validity"]["student"]["k"], data["gold_match"]["student"]["k"]) == (40, 0)
    assert data["zoo"]["above"]["student"]["high"] < 0


def test_random_answers_are_judged_by_their_proportions():
    """An eight ball: nobody can match the rows, and the model in the right proportions is better than a constant."""
    pattern = ["Yes.", "Yes.", "Sure.", "No."]
    rows = many(lambda n: pattern[n % 4], 80)
    right, constant = odds(0.5, 0.25, 0.25), odds(0.98, 0.01, 0.01)
    data = reported(SUITE, {"teacher": right, "student": right, "ce_only": constant}, rows, [], PARAMS, 0)
    assert data["distance"]["student"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert data["distance"]["ce_only"]["value"] == pytest.approx(0.48)
    assert data["gold_match"]["student"]["k"] == data["gold_match"]["ce_only"]["k"] == 40
    assert data["kd_gain"]["low"] > 0
    assert data["zoo"]["above"]["ce_only"]["high"] < data["zoo"]["above"]["student"]["value"]
    # the right proportions alone, the same for every question, are what the best policy has
    assert data["zoo"]["above"]["student"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert data["teacher_gain"]["value"] == 0.0


@pytest.mark.parametrize("wrong", [math.nan, -math.inf])
def test_scores_that_are_no_numbers_have_no_proportions(wrong: float):
    class Broken(Scripted):
        def score(self, pairs):
            return [TokenScore(log_probability=wrong, tokens=2) for _ in pairs]

    broken = Broken(lambda _: "Yes.")
    data = reported(SUITE, {"teacher": odds(1, 1, 1), "student": broken, "ce_only": odds(1, 1, 1)}, ROWS, [], PARAMS, 0)
    lost = (data["answer_mass"], data["gold_nll"], data["zoo"]["above"], data["distance"], data["top_share"])
    assert {of["student"]["reason"] for of in lost} == {"9 of 9 scores are not finite"}
    assert data["kd_gain"]["tag"] == data["teacher_gain"]["tag"] == data["kl"]["student"]["all"]["tag"] == "unavailable"
    assert data["validity"]["student"]["k"] == 3
    assert data["gold_nll"]["ce_only"]["tag"] == "measured"


def test_each_answer_is_a_class_with_what_is_said_in_its_place():
    """Six questions, two answers of three; one output is not permitted, and the package turns one answer."""
    rows = many(lambda n: "Yes." if n % 2 else "No.", 6)
    said = {str(one["prompt"]): ("Yes.", "Yes.", "No.", "Yes.", "Perhaps.", "No.")[n] for n, one in enumerate(rows)}
    turned = {**said, str(rows[0]["prompt"]): "No."}
    student, package = (Scripted(words.__getitem__, lambda _p, _a: 0.3) for words in (said, turned))
    params = PARAMS.model_copy(update={"coreml_limit": 6})
    data = reported(SUITE, {"teacher": student, "student": student, "coreml": package}, rows, [], params, 0)
    assert {
        gold: {one: count["value"] for one, count in of.items()} for gold, of in data["confusion"]["student"].items()
    } == {
        "Yes.": {"Yes.": 2, "No.": 1},
        "No.": {"Yes.": 1, "No.": 1, "(none of them)": 1},
    }
    yes = data["by_answer"]["student"]["Yes."]
    assert (yes["recall"]["k"], yes["recall"]["n"], yes["precision"]["k"], yes["precision"]["n"]) == (2, 3, 2, 3)
    assert yes["f1"]["value"] == pytest.approx(2 / 3)
    no = data["by_answer"]["student"]["No."]["f1"]
    assert (no["tp"], no["fp"], no["fn"], no["value"]) == (1, 1, 2, pytest.approx(2 / 5))
    assert data["macro_f1"]["student"]["value"] == pytest.approx((2 / 3 + 2 / 5) / 2)
    assert "Sure." not in data["by_answer"]["student"]
    assert (data["preserved"]["k"], data["preserved"]["n"]) == (5, 6)


def test_personal_data_beside_an_answer_are_counted_and_each_answer_has_the_teachers_recall():
    says = {"teacher": odds(1, 1, 2), "student": Scripted(lambda _: "Yes. anna.meyer@gmail.com")}
    data = reported(SUITE, says, ROWS, [], PARAMS, 0)
    assert [data["privacy_ok"][name]["k"] for name in says] == [3, 0]
    assert {name: one["recall_of_teacher"]["k"] for name, one in data["by_answer"]["student"].items()} == {
        "No.": 2,
        "Yes.": 0,
    }
