"""Pairs are distinct, exactly one answer of each is right, and neither letter gives it away."""

from __future__ import annotations

import re

import pytest

from runtime.contract import rows
from runtime.generators.verdicts import CHOICES, GENERATOR, VerdictsParams

MADE = GENERATOR.rows(VerdictsParams(rows=3000), [], 1)


def right(question: str) -> int:
    """The answer by somebody else's arithmetic."""
    numbers = [int(number) for number in re.findall(r"\d+", question)]
    if "at" in question.split():
        return numbers[0] * numbers[1]
    if "pays" in question:
        return numbers[1] - numbers[0]
    people, things = numbers[0] + 1, numbers[1]
    assert things % people == 0
    return things // people


def parts(prompt: str) -> tuple[str, dict[str, int]]:
    question, first, second, asked = prompt.split("\n")
    assert asked == "Which answer is right, A or B?"
    return question, {"A": int(first.removeprefix("A: ")), "B": int(second.removeprefix("B: "))}


def test_rows_are_rows_with_distinct_prompts():
    made = [rows.checked(row, "") for row in MADE]
    assert len({row["prompt"] for row in made}) == len({row["id"] for row in made}) == 3000
    assert {row["class"] for row in made} == set(CHOICES)


def test_the_letter_named_is_the_only_right_answer():
    for row in MADE:
        question, answers = parts(row["prompt"])
        other = next(letter for letter in CHOICES if letter != row["response"])
        assert answers[row["response"]] == right(question), row["prompt"]
        assert answers[other] != answers[row["response"]]
        assert min(answers.values()) > 0


def test_the_span_of_the_choice_is_the_letter():
    assert GENERATOR.spans == {"choice"}
    assert {row["response"][slice(*row["spans"]["choice"][0])] for row in MADE} == set(CHOICES)


def test_neither_the_letter_nor_the_order_of_the_numbers_gives_the_answer_away():
    """Within four standard deviations of one half (0.0365 for 3,000 rows)."""
    first = sum(row["response"] == "A" for row in MADE) / len(MADE)
    larger = sum(parts(row["prompt"])[1][row["response"]] == max(parts(row["prompt"])[1].values()) for row in MADE)
    assert first == pytest.approx(0.5, abs=0.0365)
    assert larger / len(MADE) == pytest.approx(0.5, abs=0.0365)


def test_the_seed_decides_everything():
    assert GENERATOR.rows(VerdictsParams(rows=50), [], 1) == MADE[:50]
    assert GENERATOR.rows(VerdictsParams(rows=50), [], 2) != MADE[:50]
