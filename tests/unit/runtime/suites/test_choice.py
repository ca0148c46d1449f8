"""Multiple choice: the likeliest permitted answer, and what is left of an accuracy when chance is taken away."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runtime.contract import Refusal, TokenScore, splits
from runtime.contract.statistics.chance import beyond
from runtime.suites.choice import SUITE, ChoiceParams, Pinned
from tests.unit.runtime.suites.models import reported, row


class Knows:
    """A model that finds the choice it was told the likeliest, all others equally unlikely."""

    def __init__(self, name: str, said: dict[str, str]) -> None:
        self.name, self._said = name, said

    def generate(self, prompts: Any, max_new_tokens: int) -> list[str]:
        raise AssertionError("nothing is generated")

    def score(self, pairs: Any) -> list[TokenScore]:
        return [TokenScore(log_probability=-0.1 if self._said.get(p) == r else -3.0, tokens=2) for p, r in pairs]


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "prompt": f"q{i}", "response": "ABCD"[i % 4], "class": f"c{i % 2}"} for i in range(count)]


def told(right: int, count: int) -> dict[str, str]:
    """Right on the first rows, wrong on the others."""
    return {f"q{i}": "ABCD"[(i + (i >= right)) % 4] for i in range(count)}


def run(right: int | None, student: int, count: int = 20, **params: Any) -> dict[str, Any]:
    """`right` rows are answered rightly by the teacher; None: there is none."""
    runners = {"student": Knows("student", told(student, count))}
    if right is not None:
        runners["teacher"] = Knows("teacher", told(right, count))
    return reported(SUITE, runners, rows(count), [], ChoiceParams(**params), 1)


def test_accuracy_is_counted() -> None:
    data = run(16, 12)
    assert (data["accuracy"]["student"]["k"], data["accuracy"]["student"]["n"]) == (12, 20)
    assert data["accuracy"]["coreml"]["tag"] == "unavailable"


def test_x22_chance_is_no_share_of_a_teacher() -> None:
    """A teacher at 40 % and a student that guesses: 62.5 % of the teacher by plain accuracies, nothing by ours."""
    data = run(160, 100, 400)
    assert data["accuracy"]["student"]["value"] / data["accuracy"]["teacher"]["value"] == pytest.approx(0.625)
    assert data["of_teacher"]["value"] == pytest.approx(0.0)


def test_the_corrected_share_is_between_chance_and_the_teacher() -> None:
    assert run(20, 20)["of_teacher"]["value"] == pytest.approx(1.0)
    assert run(16, 12)["of_teacher"]["value"] == pytest.approx((0.6 - 0.25) / (0.8 - 0.25))


@pytest.mark.parametrize("teacher", [5, 4, 0])
def test_of_a_teacher_at_chance_there_is_no_share(teacher: int) -> None:
    assert run(teacher, 20)["of_teacher"]["tag"] == "unavailable"


def test_a_pinned_teacher_stands_in_for_one_that_cannot_be_asked() -> None:
    data = run(None, 12, teacher=Pinned(correct=80, n=100))
    assert data["of_teacher"]["value"] == pytest.approx(0.35 / 0.55)
    assert data["teacher_pinned"] is True
    assert run(16, 12, teacher=Pinned(correct=1, n=100))["teacher_pinned"] is False
    assert run(None, 12)["of_teacher"]["tag"] == "unavailable"


def test_a_row_that_is_answered_by_no_choice_is_refused() -> None:
    with pytest.raises(Refusal, match="no choice"):
        reported(
            SUITE, {"student": Knows("s", {})}, [{"id": "x", "prompt": "p", "response": "E"}], [], ChoiceParams(), 1
        )


def test_no_rows_give_no_numbers() -> None:
    data = reported(SUITE, {"student": Knows("s", {})}, [], [], ChoiceParams(), 1)
    assert data["accuracy"]["student"]["tag"] == data["corrected"]["student"]["tag"] == "unavailable"


class Scores:
    """A model with the same scores for the choices of every row."""

    name = "scores"

    def __init__(self, *logs: float, tokens: tuple[int, ...] = (2, 2, 2, 2)) -> None:
        self._logs, self._tokens = logs, tokens

    def score(self, pairs: Any) -> list[TokenScore]:
        return [
            TokenScore(log_probability=self._logs[i % len(self._logs)], tokens=self._tokens[i % len(self._tokens)])
            for i in range(len(pairs))
        ]


@pytest.mark.parametrize("wrong", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("every", [True, False], ids=["all", "one"])
def test_scores_that_are_no_numbers_are_no_answers(wrong: float, every: bool) -> None:
    """NaN compares as smaller than nothing: the first choice, and a quarter right, came out of it."""
    broken = Scores(wrong, wrong, wrong, wrong) if every else Scores(-0.1, -1.0, wrong, -1.0)
    sound = Knows("s", told(8, 8))
    data = reported(SUITE, {"student": broken, "ce_only": sound, "coreml": sound}, rows(8), [], ChoiceParams(), 1)
    for datum in (data["accuracy"]["student"], data["corrected"]["student"], data["ties"]["student"]):
        assert datum["tag"] == "unavailable"
        assert datum["reason"] == f"{32 if every else 8} of 32 scores are not finite"
    for name in ("kd_gain", "package_gain", "of_teacher"):
        assert data[name]["tag"] == "unavailable"
    assert data["accuracy"]["ce_only"]["k"] == 8


def test_a_tie_is_no_answer_and_is_counted() -> None:
    data = reported(SUITE, {"student": Scores(-1.0, -1.0, -3.0, -3.0)}, rows(8), [], ChoiceParams(), 1)
    assert (data["accuracy"]["student"]["k"], data["ties"]["student"]["k"]) == (0, 8)
    tied_below = reported(SUITE, {"student": Scores(-0.5, -1.0, -1.0, -1.0)}, rows(8), [], ChoiceParams(), 1)
    assert (tied_below["accuracy"]["student"]["k"], tied_below["ties"]["student"]["k"]) == (2, 0)


def test_choices_of_unequal_length_are_judged_both_ways() -> None:
    """Six words at -0.5 each are likelier a word, and less likely as a whole, than two at -1.9."""
    asked = [{"id": "r", "prompt": "q", "response": "no, not at all", "class": ""}]
    params = ChoiceParams(choices=["yes", "no, not at all"])
    data = reported(SUITE, {"student": Scores(-1.9, -2.5, tokens=(2, 5))}, asked, [], params, 1)
    assert (data["accuracy"]["student"]["k"], data["by_length"]["student"]["k"]) == (0, 1)


def test_gains_are_paired_and_signed() -> None:
    models = {name: Knows(name, told(k, 20)) for name, k in (("teacher", 20), ("student", 16), ("ce_only", 10))}
    data = reported(
        SUITE, {**models, "coreml": Knows("c", told(14, 20))}, rows(20), [], ChoiceParams(coreml_limit=15), 1
    )
    assert (data["kd_gain"]["value"], data["kd_gain"]["n"], data["kd_gain"]["wins"]) == (0.3, 20, 6)
    assert data["kd_gain"]["low"] > 0
    assert (data["teacher_gain"]["value"], data["teacher_gain"]["losses"]) == (-0.2, 4)
    assert (data["package_gain"]["value"], data["package_gain"]["n"]) == (-1 / 15, 15)
    assert run(None, 12)["kd_gain"]["reason"] == "no runner `ce_only`"


def test_classes_are_told_apart() -> None:
    table = run(20, 20)["by_class"]
    assert {name: (of["student"]["k"], of["student"]["n"]) for name, of in table.items()} == {
        "c0": (10, 10),
        "c1": (10, 10),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"choices": ["A"]},
        {"choices": ["A", "A"]},
        {"choices": ["A", ""]},
        {"teacher": {"correct": 3, "n": 2}},
        {"teacher": {"correct": 0, "n": 0}},
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ChoiceParams.model_validate(wrong)


def test_the_correction_is_abbotts() -> None:
    assert [beyond(k / 4, 4) for k in (1, 4, 0)] == pytest.approx([0.0, 1.0, -1 / 3])
    assert beyond(1 / 2, 2) == 0.0


@pytest.mark.parametrize("declared", [splits.TEST, "auto"])
def test_the_package_is_asked_a_fair_sample_of_a_file_that_is_written_subject_by_subject(declared: str) -> None:
    """Rows of a split stand in the order of a hash, so that its first are of no subject in particular."""
    rows = [row(f"s{at:02d}-{number} what?", "A", f"s{at:02d}") for at in range(60) for number in range(170)]
    final = splits.assign({declared: rows}, splits.Shares(0.5, 0))[splits.TEST]
    asked = SUITE.select(final, "coreml", ChoiceParams())
    assert len(asked) == 64
    # of 60 equally large subjects 64 drawn rows meet 39.4
    assert len({str(one["class"]) for one in asked}) >= 30


def test_a_row_without_a_class_is_of_the_class_of_its_answer():
    asked = [{**one, "class": ""} for one in rows(8)]
    table = reported(SUITE, {"student": Scores(-1.0, -2.0, -3.0, -3.0)}, asked, [], ChoiceParams(), 1)["by_class"]
    assert {name: (of["student"]["k"], of["student"]["n"]) for name, of in table.items()} == {
        "A": (2, 2),
        "B": (0, 2),
        "C": (0, 2),
        "D": (0, 2),
    }
