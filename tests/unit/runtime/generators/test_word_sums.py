"""Questions are distinct, worked out rightly, and never answered by a number of their own."""

from __future__ import annotations

import re

import pytest

from runtime.contract import Refusal, rows
from runtime.generators.word_sums import GENERATOR, WordSumsParams
from runtime.suites.gold import GoldParams, Judge

MADE = GENERATOR.rows(WordSumsParams(rows=3000), [], 1)


def test_rows_are_rows_with_distinct_questions() -> None:
    made = [rows.checked(row, "") for row in MADE]
    assert len({row["prompt"] for row in made}) == len({row["id"] for row in made}) == 3000


def test_the_reckoning_and_the_answer_are_right() -> None:
    for row in MADE:
        a, sign, b, result, final = re.fullmatch(
            r"(\d+) ([+-]) (\d+) = (\d+)\n#### (\d+)", str(row["response"])
        ).groups()  # type: ignore[union-attr]
        assert int(result) == int(final) == (int(a) + int(b) if sign == "+" else int(a) - int(b))
        assert re.findall(r"\d+", str(row["prompt"])) == [a, b]
        assert final not in (a, b)
        assert row["class"] == {"+": "sum", "-": "difference"}[sign]


def test_no_trick_is_right_about_many() -> None:
    params = GoldParams.model_validate({"match": "numeric", "numeric": {"after": "####", "strict": True}, "limit": 0})
    judge = Judge(MADE, params)
    lines = {
        name: [judge.judged(name, at, said) for at, said in enumerate(outputs)]
        for name, outputs in judge.policies().items()
    }
    right = {name: sum(not line["reason"] for line in mine) / len(MADE) for name, mine in lines.items()}
    assert right.pop("copy_gold") == 1.0
    assert max(right.values()) < 0.15
    assert {right[name] for name in ("echo", "first_number", "last_number", "largest_number")} == {0.0}


def test_the_seed_decides_everything() -> None:
    assert GENERATOR.rows(WordSumsParams(rows=50), [], 1) == MADE[:50]
    assert GENERATOR.rows(WordSumsParams(rows=50), [], 2) != MADE[:50]


def test_larger_numbers_are_asked_when_they_are_declared() -> None:
    made = GENERATOR.rows(WordSumsParams(rows=500, largest=99), [], 1)
    assert max(int(one) for row in made for one in re.findall(r"\d+", str(row["prompt"]))) > 90


def test_more_questions_than_there_are_is_refused() -> None:
    with pytest.raises(Refusal, match="distinct questions"):
        GENERATOR.rows(WordSumsParams(rows=20_000, largest=5), [], 1)
