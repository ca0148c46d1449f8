"""What follows from a row: where a required text is missing, where a call is right, where two answers part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from runtime.contract import conditions as contract
from runtime.contract.conditions import FACTS, JUDGED, MASKS
from runtime.data import conditions
from runtime.data.encode import encode


@dataclass(frozen=True)
class Pair:
    ids: list[int]
    prompt_tokens: int
    offsets: list[tuple[int, int]]
    earlier: tuple[tuple[int, int], ...] = ()


class Twos:
    """A token is two bytes of an answer, numbered by what it holds."""

    def sequences(self, row: Mapping[str, Any]) -> list[Pair]:
        text = (row["messages"][-1]["content"] if "messages" in row else row["response"]).encode()
        offsets = [(start, min(start + 2, len(text))) for start in range(0, len(text), 2)]
        ids = [int.from_bytes(text[start:end], "big") for start, end in offsets]
        return [Pair([1, 7, *ids, 2], 2, offsets)]


def row(response: str, **more: Any) -> Any:
    return {"id": "r", "prompt": "ab", "response": response, "class": "", "spans": {}, "source": "s", **more}


def at(mask: str, of: Any) -> list[int]:
    """Places in the answer, by token."""
    (example,) = encode(of, Twos(), [mask, "response"])
    assert not any(example.masks[mask][:2]), "a token of the prompt"
    assert not example.masks[mask][-1], "the end token"
    found = [index - 2 for index, learnt in enumerate(example.masks[mask]) if learnt]
    assert all(example.masks["response"][index + 2] for index in found)
    return found


def fact(name: str, of: Any) -> list[float]:
    (example,) = encode(of, Twos(), [], [name])
    assert len(example.facts[name]) == len(example.ids)
    return example.facts[name][2:-1]


# -- length ------------------------------------------------------------------------------------------------------------


def longer(required: list[str], reference: int) -> Any:
    return row("0123456789", wanted={"required": required, "reference_bytes": reference})


def test_only_an_answer_that_lacks_a_required_text_is_too_long():
    assert at("longer", longer(["km"], 4)) == [2, 3, 4]
    assert at("longer", longer(["89", "km"], 4)) == [2, 3, 4]
    assert at("longer", longer(["345"], 4)) == []
    assert at("longer", longer(["km"], 10)) == []
    assert at("longer", row("0123456789")) == []
    assert at("longer", row("0123456789", wanted={"required": ["km"]})) == []


def test_the_excess_is_the_share_of_the_teachers_bytes_at_which_a_token_begins():
    assert fact("excess", longer(["km"], 4)) == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert fact("excess", row("0123456789")) == [0.0] * 5
    assert fact("end", longer(["km"], 4)) == [2.0] * 5
    assert fact("place", longer(["km"], 4)) == [0.0, 1.0, 2.0, 3.0, 4.0]


# -- early_tool --------------------------------------------------------------------------------------------------------

CALL = 'so {"name": "f", "args": {"x": 1, "y": "a"}}'


def called(wanted: Any, text: str = CALL) -> Any:
    args = text.index('{"x"') if '{"x"' in text else text.index("[")
    spans = {"call": [[3, len(text)]], "tool_name": [[13, 14]], "json_args": [[args, len(text) - 1]]}
    return row(text, spans=spans, wanted={"calls": wanted})


@pytest.mark.parametrize(
    ("wanted", "right"),
    [
        ([{"name": "f", "args": {"x": [1], "y": ["a", "b"]}}], True),
        (
            [{"name": "g", "args": {}}, {"name": "f", "args": {"x": [2, 1], "y": ["a"], "z": [0]}, "optional": ["z"]}],
            True,
        ),
        ([{"name": "f", "args": {"x": [2], "y": ["a"]}}], False),
        ([{"name": "f", "args": {"x": [True], "y": ["a"]}}], False),
        ([{"name": "f", "args": {"x": [1]}}], False),
        ([{"name": "f", "args": {"x": [1], "y": ["a"], "z": [0]}}], False),
        ([{"name": "g", "args": {"x": [1], "y": ["a"]}}], False),
        ([], False),
    ],
)
def test_a_call_is_right_by_name_and_accepted_values(wanted: Any, right: bool):
    of = called(wanted)
    # the call begins in the second byte of the second token
    assert at("before_call", of) == ([0, 1] if right else [])
    assert fact("opens", of)[0] == (int.from_bytes(b" {", "big") if right else 0)


def test_what_is_no_object_is_no_call_and_neither_is_a_row_without_spans():
    wanted = [{"name": "f", "args": {"x": [1]}}]
    assert at("before_call", called(wanted, 'so {"name": "f", "args": [1]}')) == []
    assert at("before_call", called(wanted, 'so {"name": "f", "args": [1}')) == []
    assert at("before_call", {**called(wanted), "spans": {}}) == []
    without = called([{"name": "f", "args": {"x": [1], "y": ["a"]}}])
    del without["wanted"]
    assert at("before_call", without) == [], "a call that nothing declares right"


# -- code_mode ---------------------------------------------------------------------------------------------------------


def test_two_answers_part_at_one_token_of_rows_that_may_be_answered_in_code():
    of = row("run(f)", rejected="rung by", wanted={"code_mode": True})
    assert at("code_mode", of) == [1]
    assert set(fact("direct", of)) == {float(int.from_bytes(b"ng", "big"))}
    assert at("code_mode", {**of, "wanted": {"code_mode": False}}) == []
    assert at("code_mode", row("run(f)", wanted={"code_mode": True})) == []
    assert at("code_mode", row("run(f)", rejected="rung by")) == []


def test_an_answer_that_the_other_begins_with_parts_where_it_ends_or_goes_on():
    assert at("code_mode", row("run(f)", rejected="run(", wanted={"code_mode": True})) == [2], "the other ends there"
    ends = row("run(", rejected="run(f)", wanted={"code_mode": True})
    assert at("code_mode", ends) == [], "the end is no token of the answer"


def test_the_rejected_side_of_a_conversation_is_its_last_turn():
    messages = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "run(f)"}]
    of = row("run(f)", messages=messages, rejected="rung by", wanted={"code_mode": True})
    assert at("code_mode", of) == [1]
    turn = {"role": "assistant", "content": "ru by", "reasoning_content": "hm"}
    assert at("code_mode", {**of, "rejected": turn}) == [1]


# -- what there is -----------------------------------------------------------------------------------------------------


def test_every_mask_and_fact_is_made_and_says_what_it_needs():
    of = row("run(f)")
    for name in MASKS:
        assert at(name, of) == []
        assert MASKS[name].lacking(of)
    for name in FACTS:
        assert len(fact(name, of)) == 3
    # that of judged answers has their end tokens as well, and is made where rows are encoded
    assert set(conditions._MASK) == set(MASKS) - {JUDGED}


@pytest.mark.parametrize(
    "wanted",
    [{"required": []}, {"required": [" "]}, {"required": "km"}, {"required": ["a"] * 65}, {"reference_bytes": 0},
     {"reference_bytes": True}, {"reference_bytes": 1.5}, {"reference_bytes": 1 << 21}, {"code_mode": 1},
     {"code_mode": "yes"}],
    ids=json.dumps,
)  # fmt: skip
def test_what_a_row_says_wrongly_of_itself_is_a_fault(wanted: Any):
    (name,) = wanted
    assert contract.fault(wanted).startswith(name)
    assert contract.fault({"required": ["km"], "reference_bytes": 1 << 20, "code_mode": False}) == ""
