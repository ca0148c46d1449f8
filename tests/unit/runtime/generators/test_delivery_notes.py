"""Each answer stands in its note; rows are distinct; the seed decides."""

from __future__ import annotations

from collections import Counter

import pytest

from runtime.contract import Refusal, rows
from runtime.generators.delivery_notes import ASKED, GENERATOR, NOTES, DeliveryNotesParams

PARAMS = DeliveryNotesParams(rows=1000)


def test_each_answer_stands_in_its_note_and_what_is_asked_takes_turns():
    made = [rows.checked(row, "") for row in GENERATOR.rows(PARAMS, [], 1)]
    assert len({row["prompt"] for row in made}) == len({row["id"] for row in made}) == 1000
    assert Counter(row["class"] for row in made) == dict.fromkeys(ASKED, 200)
    for row in made:
        note, question = row["prompt"].split("\n")
        assert row["response"] in note
        assert question.endswith("?")
        # a number is digits, anything else is not: the answer is what was asked for
        assert row["response"].isdigit() == (row["class"] == "number")


def test_every_note_names_everything_that_can_be_asked():
    assert all("{" + kind + "}" in note for kind in ASKED for note in NOTES)


def test_the_seed_decides_everything():
    assert GENERATOR.rows(PARAMS, [], 1) == GENERATOR.rows(PARAMS, [], 1)
    assert GENERATOR.rows(PARAMS, [], 1) != GENERATOR.rows(PARAMS, [], 2)


def test_more_rows_than_can_be_found_are_refused(monkeypatch):
    monkeypatch.setattr("runtime.generators.delivery_notes.NOTES", NOTES[:1])
    for name in ("NAMES", "CITIES", "DAYS", "GOODS"):
        monkeypatch.setattr(f"runtime.generators.delivery_notes.{name}", "one")
    with pytest.raises(Refusal, match="distinct questions"):
        GENERATOR.rows(DeliveryNotesParams(rows=2000), [], 1)
