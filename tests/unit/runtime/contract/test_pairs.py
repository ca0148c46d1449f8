"""Preference pairs as people have them → rows; what is no pair is refused where it stands."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, rows, splits
from runtime.contract.formats import Form
from runtime.contract.rows import Row
from runtime.contract.sources import Reader

Json = Any


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def says(text: str) -> Json:
    return {"role": "assistant", "content": text}


def read(*found: Json, **fields: str) -> list[Row]:
    data = "".join(json.dumps(one) + "\n" for one in found).encode()
    return [one.row for one in Reader("ranked", fields).text(data, "ranked.jsonl")]


def refused(*found: Json, **fields: str) -> tuple[str, str, str]:
    with pytest.raises(Refusal) as caught:
        read(*found, **fields)
    return caught.value.place, caught.value.message, caught.value.action


def pair(row: Row) -> tuple[str, str, Json]:
    return row["prompt"], row["response"], row["rejected"]


CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}],
}
#: TRL's "Dataset formats", standard and conversational, with and without a prompt; and what else is about
FORMS: dict[str, Json] = {
    "texts": {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
    "texts that repeat the prompt": {"prompt": "Why?", "chosen": "Why? So.", "rejected": "Why? No."},
    "texts without a prompt": {"chosen": "Why? So.", "rejected": "Why? No."},
    "messages": {"prompt": [user("Why?")], "chosen": [says("So.")], "rejected": [says("No.")]},
    "one message": {"prompt": [user("Why?")], "chosen": says("So."), "rejected": says("No.")},
    "messages without a prompt": {"chosen": [user("Why?"), says("So.")], "rejected": [user("Why?"), says("No.")]},
    "messages and the prompt besides": {
        "prompt": "Why?",
        "chosen": [user("Why?"), says("So.")],
        "rejected": [user("Why?"), says("No.")],
        # as UltraFeedback has it: the chosen conversation again
        "messages": [user("Why?"), says("So.")],
        "score_chosen": 9.0,
    },
    "a text and messages after it": {"prompt": "Why?", "chosen": [says("So.")], "rejected": [says("No.")]},
    "messages, then texts": {"messages": [user("Why?")], "chosen": "So.", "rejected": "No."},
    "turns in one text": {
        "chosen": "\n\nHuman: Why?\n\nAssistant: So.",
        "rejected": "\n\nHuman: Why?\n\nAssistant: No.",
    },
    "turns in the prompt": {"prompt": "\n\nHuman: Why?\n\nAssistant:", "chosen": " So.", "rejected": " No."},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_one_row(form: str) -> None:
    (row,) = read(FORMS[form])
    assert pair(row) == ("Why?", "So.", "No.")
    assert "messages" not in row


@pytest.mark.parametrize("form", ["texts", "messages", "messages without a prompt"])
def test_csv_holds_messages_as_json(form: str) -> None:
    value = {name: one if isinstance(one, str) else json.dumps(one) for name, one in FORMS[form].items()}
    text = io.StringIO()
    table = csv.DictWriter(text, list(value))
    table.writeheader()
    table.writerow(value)
    (found,) = Reader("ranked", {}, form=Form("csv")).text(text.getvalue().encode(), "ranked.csv")
    assert pair(found.row) == ("Why?", "So.", "No.")


def test_columns_are_mapped() -> None:
    (row,) = read({"q": "Why?", "better": "So.", "worse": "No."}, prompt="q", chosen="better", rejected="worse")
    assert pair(row) == ("Why?", "So.", "No.")


def test_a_conversation_is_kept_with_its_turns_and_tools() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    turns = [{"role": "system", "content": "Be brief."}, user("Hi."), says("Hi."), user("Why?")]
    (row,) = read({"chosen": [*turns, CALL], "rejected": [*turns, says("No.")], "tools": tools})
    assert row["messages"] == [*turns, CALL]
    assert (row["tools"], row["rejected"]) == (tools, "No.")
    (other,) = read({"chosen": [*turns, says("No.")], "rejected": [*turns, CALL], "tools": tools})
    assert other["rejected"] == CALL
    assert json.loads(rows.rejected_of(other).text) == CALL  # type: ignore[union-attr]
    assert rows.rejected_of(row) == "No."


@pytest.mark.parametrize("form", [*FORMS, "a call"])
def test_what_the_data_step_writes_is_read_again(form: str, tmp_path: Path) -> None:
    turns = [user("Hi."), says("Hi."), user("Why?")]
    (row,) = read(FORMS.get(form, {"chosen": [*turns, says("No.")], "rejected": [*turns, CALL]}))
    path = tmp_path / "train.jsonl"
    path.write_text("".join(rows.written([row], path.name)))
    assert rows.load(path) == [row]


U, V, A, B = user("Why?"), user("When?"), says("So."), says("No.")
#: what is wrong, the row, what the message begins with
WRONG: list[tuple[str, Json, str]] = [
    ("nothing rejected", {"prompt": "a", "chosen": "b"}, "field `rejected` is missing; the row has `chosen`, `prompt`"),
    ("nothing chosen", {"prompt": "a", "rejected": "b"}, "field `chosen` is missing"),
    ("empty", {"prompt": "a", "chosen": "b", "rejected": " "}, "field `rejected` is empty"),
    ("an empty prompt", {"prompt": "", "chosen": "b", "rejected": "c"}, "field `prompt` is empty"),
    ("null", {"prompt": "a", "chosen": None, "rejected": "c"}, "field `chosen` must be a text, or messages"),
    ("no messages", {"prompt": "a", "chosen": [], "rejected": []}, "field `chosen` must be a text, or messages"),
    ("equal", {"prompt": "a", "chosen": "b", "rejected": "b\n"}, "`chosen` and `rejected` are equal"),
    ("equal messages", {"chosen": [U, A], "rejected": [U, A]}, "`chosen` and `rejected` are equal"),
    (
        "equal but for white space",
        {"prompt": "a", "chosen": [A], "rejected": [says("So. ")]},
        "`chosen` and `rejected` a",
    ),
    ("other questions", {"chosen": [U, A], "rejected": [V, B]}, "`chosen` and `rejected` answer different questions"),
    (
        "a question later",
        {"chosen": [U, A, U, A], "rejected": [U, B, U, A]},
        "`chosen` and `rejected` answer different questions: message 2 of `chosen`",
    ),
    (
        "other questions than the prompt's",
        {"prompt": [V], "chosen": [U, A], "rejected": [U, B]},
        "`chosen` and `rejected` a",
    ),
    ("a beginning", {"chosen": [U, A], "rejected": [U]}, "`rejected` has no answer of its own"),
    ("several turns", {"prompt": [U], "chosen": [A, A], "rejected": [B]}, "`chosen` has 2 turns where one answer"),
    ("nothing asked", {"chosen": [A], "rejected": [B]}, "nothing is asked before `chosen` and `rejected`"),
    ("nothing in common", {"chosen": "b", "rejected": "c"}, "`chosen` and `rejected` do not begin alike"),
    ("the prompt alone", {"prompt": "a", "chosen": "a", "rejected": "a b"}, "`chosen` holds the prompt and no answer"),
    ("two forms", {"prompt": "a", "chosen": "b", "rejected": [A]}, "`chosen` and `rejected` are of two forms"),
    ("an answer asked", {"prompt": [U, A], "chosen": [A], "rejected": [B]}, "`prompt` ends with the assistant's turn"),
    ("no role", {"prompt": "a", "chosen": [{"content": "x"}], "rejected": [B]}, "the role of chosen[0] is null"),
    (
        "tools beside texts",
        {"prompt": "a", "chosen": "b", "rejected": "c", "tools": [{"function": {"name": "x"}}]},
        "tools stand",
    ),
]


@pytest.mark.parametrize(("row", "said"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_no_pair_is_refused_where_it_stands(row: Json, said: str) -> None:
    place, message, action = refused(FORMS["texts"], row)
    assert place == "ranked.jsonl:2"
    assert message.startswith(said)
    assert action


def test_a_prompt_that_the_conversations_do_not_ask_is_refused_and_need_not_be_mapped() -> None:
    row = {"prompt": "Who?", "chosen": [U, A], "rejected": [U, B]}
    _, message, action = refused(row, prompt="prompt", chosen="chosen", rejected="rejected")
    assert message.startswith("`prompt` is not among the questions in `chosen`")
    assert "map only chosen and rejected" in action
    assert pair(read(row, chosen="chosen", rejected="rejected")[0]) == ("Why?", "So.", "No.")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"response": "a", "chosen": "b"}, "maps `response` and a side of a preference pair"),
        ({"prompt": "a", "messages": "m", "rejected": "b"}, "maps `prompt` and `messages` before a preference pair"),
        ({"chosen": "{a}{b}"}, r"maps `chosen` to '\{a\}\{b\}'"),
    ],
)
def test_a_mapping_that_says_two_things_is_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        Reader("ranked", fields)


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_the_teacher_answers_no_pair(side: str) -> None:
    with pytest.raises(Refusal, match=f"maps `{side}`, and the teacher answers its prompts") as caught:
        Reader("ranked", {"prompt": "q", side: "x"}, prompts=True)
    assert "map the prompt alone" in caught.value.action
    # the advice, followed
    data = json.dumps({"q": "Why?", "chosen": "So.", "rejected": "No."}).encode()
    (found,) = Reader("ranked", {"prompt": "q"}, prompts=True).text(data, "ranked.jsonl")
    assert (found.row["response"], set(found.rest)) == ("", {"chosen", "rejected"})


@pytest.mark.parametrize("fields", [{"prompt": "prompt", "response": "chosen"}, {}])
def test_an_answer_that_is_mapped_or_there_makes_no_pair(fields: dict[str, str]) -> None:
    value = {"prompt": "Why?", "chosen": "So.", "rejected": "No."} | ({} if fields else {"response": "Well."})
    (found,) = Reader("ranked", fields).text(json.dumps(value).encode(), "ranked.jsonl")
    assert "rejected" not in found.row
    # and what it does not read is said to be unread
    assert "rejected" in found.rest


def test_pairs_of_one_answer_are_several_rows() -> None:
    """One chosen answer may be preferred to several; the same pair twice is one row."""
    found = read(*({"prompt": "Why?", "chosen": "So.", "rejected": other} for other in ("No.", "Never.", "No.")))
    assert len({row["id"] for row in found}) == 2
    kept, dropped = splits.without_duplicates(found)
    assert (len(kept), dropped) == (2, 1)
    with pytest.raises(Refusal, match="was already used at 1"):
        splits.unique([("1", {**found[0], "id": "x"}), ("2", {**found[1], "id": "x"})])


@pytest.mark.parametrize("again", ["e\u0301", "\u212b", "o\u0308"])
def test_ids_that_are_one_after_composition_are_one(again: str) -> None:
    """The same row, too: its lines and lots would be of two."""
    (row,) = read(FORMS["texts"])
    composed = unicodedata.normalize("NFC", again)
    with pytest.raises(Refusal, match="of 1, written in another way"):
        splits.unique([("1", {**row, "id": composed}), ("2", {**row, "id": again})])
    assert len(splits.unique([("1", {**row, "id": again}), ("2", {**row, "id": again})])) == 2


def test_an_answer_of_somebody_else_ends_the_pair() -> None:
    (row,) = read(FORMS["texts"])
    assert "rejected" not in rows.answered(row, "Perhaps.")


@pytest.mark.parametrize("other", ["", "So. ", 7, {"role": "user", "content": "x"}, says("No.")])
def test_a_dataset_with_a_wrong_rejected_answer_is_refused(other: Json, tmp_path: Path) -> None:
    (row,) = read(FORMS["texts"])
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({**row, "rejected": other}) + "\n")
    with pytest.raises(Refusal) as caught:
        rows.load(path)
    assert caught.value.place == "train.jsonl:1"
