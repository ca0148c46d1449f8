"""Multiple choice: the likeliest permitted answer, and what is left of an accuracy when chance is taken away."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.contract import Refusal, TokenScore
from runtime.suites.choice import SUITE, ChoiceParams, Pinned, corrected


class Knows:
    """A model that finds the choice it was told the likeliest, all others equally unlikely."""

    def __init__(self, name: str, said: dict[str, str]) -> None:
        self.name, self._said = name, said

    def generate(self, prompts: Any, max_new_tokens: int) -> list[str]:
        raise AssertionError("nothing is generated")

    def score(self, pairs: Any) -> list[TokenScore]:
        return [TokenScore(log_probability=-0.1 if self._said.get(p) == r else -3.0, tokens=2) for p, r in pairs]


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "prompt": f"q{i}", "response": "ABCD"[i % 4]} for i in range(count)]


def told(right: int, count: int) -> dict[str, str]:
    """Right on the first rows, wrong on the others."""
    return {f"q{i}": "ABCD"[(i + (i >= right)) % 4] for i in range(count)}


def run(right: int | None, student: int, count: int = 20, **params: Any) -> dict[str, Any]:
    """`right` rows are answered rightly by the teacher; None: there is none."""
    runners = {"student": Knows("student", told(student, count))}
    if right is not None:
        runners["teacher"] = Knows("teacher", told(right, count))
    return SUITE.run(runners, rows(count), [], ChoiceParams(**params), 1)


def test_accuracy_is_counted() -> None:
    data = run(16, 12)
    assert (data["accuracy"]["student"]["k"], data["accuracy"]["student"]["n"]) == (12, 20)
    assert data["accuracy"]["coreml"]["tag"] == "unavailable"


def test_x22_chance_is_no_share_of_a_teacher() -> None:
    """A teacher at 40 % and a student that guesses: 62.5 % of the teacher by plain accuracies, nothing by ours."""
    data = run(8, 5)
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
        SUITE.run({"student": Knows("s", {})}, [{"id": "x", "prompt": "p", "response": "E"}], [], ChoiceParams(), 1)


def test_no_rows_give_no_numbers() -> None:
    data = SUITE.run({"student": Knows("s", {})}, [], [], ChoiceParams(), 1)
    assert data["accuracy"]["student"]["tag"] == data["corrected"]["student"]["tag"] == "unavailable"


def test_a_tie_goes_to_the_first_choice_whoever_is_right() -> None:
    data = SUITE.run({"student": Knows("s", {})}, rows(8), [], ChoiceParams(), 1)
    assert data["accuracy"]["student"]["k"] == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"choices": ["A"]},
        {"choices": ["A", "A"]},
        {"teacher": {"correct": 3, "n": 2}},
        {"teacher": {"correct": 0, "n": 0}},
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ChoiceParams.model_validate(wrong)


def test_the_correction_is_abbotts() -> None:
    assert [corrected(k, 4, 4) for k in (1, 4, 0)] == pytest.approx([0.0, 1.0, -1 / 3])
    assert corrected(1, 2, 2) == 0.0
