"""Notes to order: who is better, and why, follows from the order and the words of two notes, and from nothing else."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from runtime.contract import Refusal, rows, verdicts
from runtime.generators.change_notes import EACH, GENERATOR, ChangeNotesParams
from runtime.suites.judge import longer

ORDER = re.compile(r"\w+ (\d) tests by (\w+)")
NOTE = re.compile(r"(\d) tests (passed|skipped) by (\w+) (small|large) waiver (none|dated|open)")


def made(asks: str, count: int = 1500) -> list[dict[str, Any]]:
    return list(GENERATOR.rows(GENERATOR.params(rows=count, asks=asks), [], 1))


PAIRS = made("pairs")


def broken(order: str, note: str) -> list[str]:
    """What a note breaks, computed from the texts alone."""
    asked, found = ORDER.fullmatch(order), NOTE.match(note)
    assert asked is not None, order
    assert found is not None, note
    assert found[3] in (asked[2], "nobody")
    wrong = (found[1] < asked[1], found[4] == "large", found[2] == "skipped", found[3] == "nobody", found[5] == "open")
    return [clause for clause, breaks in zip(verdicts.CLAUSES, wrong, strict=False) if breaks]


def test_verdict_and_clause_follow_from_order_and_notes():
    for row in PAIRS:
        pair = verdicts.read(row["prompt"])
        first, second = broken(pair.task, pair.first), broken(pair.task, pair.second)
        assert max(len(first), len(second)) <= 1
        better = "T" if len(first) == len(second) else "A" if not first else "B"
        clause = "NONE" if better == "T" else (first or second)[0]
        assert row["response"] == (better if pair.asked == verdicts.BETTER else clause), row["prompt"]


def test_what_either_note_breaks_is_said_of_the_first_first():
    for row in made("each", 600):
        pair = verdicts.read(row["prompt"].replace(EACH, verdicts.CLAUSE))
        said = [(broken(pair.task, note) or ["NONE"])[0] for note in (pair.first, pair.second)]
        assert row["response"] == " ".join(said)
        assert [row["response"][a:b] for a, b in row["spans"]["clause"]] == said


def test_a_note_to_order_breaks_nothing():
    for row in made("notes", 400):
        assert broken(row["prompt"], row["response"]) == []
        assert NOTE.fullmatch(row["response"])


def test_neither_a_seat_nor_a_length_decides():
    pairs = [row for row in PAIRS if row["class"] == "choice"]
    said = Counter(row["response"] for row in pairs)
    assert all(0.25 < said[verdict] / len(pairs) < 0.42 for verdict in verdicts.VERDICTS)
    decided = [row for row in pairs if row["response"] != "T"]
    seats = [longer(verdicts.read(row["prompt"])) for row in decided]
    won = sum(seat == row["response"] for seat, row in zip(seats, decided, strict=True))
    lost = sum(seat == verdicts.other(row["response"]) for seat, row in zip(seats, decided, strict=True))
    assert 0.35 < won / (won + lost) < 0.65
    ties = [verdicts.read(row["prompt"]) for row in pairs if row["response"] == "T"]
    assert 0.35 < sum(pair.first == pair.second for pair in ties) / len(ties) < 0.65


def test_rows_are_rows_with_distinct_questions_and_a_seed_gives_the_same():
    assert len({rows.checked(row, "")["prompt"] for row in PAIRS}) == len(PAIRS)
    assert made("pairs") == PAIRS
    assert GENERATOR.rows(ChangeNotesParams(rows=1500), [], 2) != PAIRS
    assert {mask for row in PAIRS for mask in row["spans"]} == set(GENERATOR.spans or ())


def test_more_orders_than_there_are_is_refused():
    with pytest.raises(Refusal, match="480 of 481"):
        made("notes", 481)
