"""Prompts are as long as declared, their facts stand where declared, and no trick finds them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.contract import rows
from runtime.contract.cells import Cell, cell_of
from runtime.generators.needles import GENERATOR, NeedlesParams
from runtime.suites import needle

PARAMS = NeedlesParams(rows=300, lengths=[200, 600])
MADE = GENERATOR.rows(PARAMS, [], 1)


def test_rows_are_rows_in_equal_cells() -> None:
    assert len({rows.checked(row, "")["prompt"] for row in MADE}) == 300
    assert {cell: [row["class"] for row in MADE].count(cell) for cell in {row["class"] for row in MADE}} == {
        f"{length}@{depth}": 30 for length in (200, 600) for depth in (0, 25, 50, 75, 100)
    }


def test_the_words_and_the_depth_are_those_that_are_declared() -> None:
    for row in MADE:
        length, depth = map(int, row["class"].split("@"))
        words = row["prompt"].split()
        assert len(words) == length
        at = words.index(f"{row['response']}.")
        # a number is the last word of its fact; one other fact stands before it, one after it
        assert abs(at - length * depth / 100) <= 20
        assert cell_of(row, row["response"]) == Cell(length, depth)


def test_the_question_names_one_fact_and_others_stand_around_it() -> None:
    for row in MADE:
        facts = dict(re.findall(r"The number of (\w+ \w+) is (\d{5})\.", row["prompt"]))
        found = re.fullmatch(r"What is the number of (\w+ \w+)\?", row["prompt"].rpartition(". ")[2])
        assert found is not None
        assert facts[found[1]] == row["response"]
        assert len(facts) == len(set(facts.values())) == 8
        assert row["response"] not in (next(iter(facts.values())), list(facts.values())[-1])


def test_no_trick_is_right_about_many() -> None:
    params = needle.NeedleParams()
    data = needle.data_of([], MADE, [], params, 0)
    right = {name: one["value"] for name, one in data["zoo"]["right"].items()}
    assert data["zoo"]["gold"]["value"] == 1.0
    assert {right[name] for name in ("mute", "echo", "refuse_all", "first_number", "last_number")} == {0.0}
    assert max(right[name] for name in ("constant", "longest", "prior", "everything")) < 0.05
    # one of eight is the largest; at depth 0 the fact is the second, and at 100 the seventh
    assert max(right.values()) < 0.4


@pytest.mark.parametrize("facts", [5, 8, 20])
@pytest.mark.parametrize("length", [150, 151, 157])
def test_the_shortest_prompts_are_whole(facts: int, length: int) -> None:
    made = GENERATOR.rows(NeedlesParams(rows=25, lengths=[length], facts=facts), [], 3)
    for row in made:
        assert (len(row["prompt"].split()), row["prompt"].count("The number of")) == (length, facts)


def test_the_seed_decides_everything() -> None:
    assert GENERATOR.rows(PARAMS, [], 1) == MADE
    assert GENERATOR.rows(PARAMS, [], 2) != MADE


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"lengths": [63]}, "8 facts and a question"),
        ({"lengths": [100_001]}, "100000 words"),
        ({"lengths": [100, 100]}, "twice in `lengths`"),
        ({"depths": [5, 5]}, "twice in `depths`"),
        ({"depths": [-1]}, "from 0 to 100"),
        ({"depths": [101]}, "from 0 to 100"),
        # of three facts the second would always be the one
        ({"facts": 4}, "greater than or equal to 5"),
    ],
)
def test_lengths_and_depths_that_mean_nothing_are_refused(declared: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        NeedlesParams.model_validate(declared)
