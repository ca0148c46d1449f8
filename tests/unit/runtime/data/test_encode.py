"""Masks mark targets by their bytes: the response and its end, or exactly the tokens that touch a span."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.contract.rows import Row
from runtime.data.encode import encode


@dataclass(frozen=True)
class Pair:
    ids: list[int]
    prompt_tokens: int
    offsets: list[tuple[int, int]]
    earlier: tuple[tuple[int, int], ...] = ()


class Threes:
    """One id per byte of the prompt after a beginning, and per three bytes of the response before an end."""

    def sequences(self, row: Mapping[str, Any]) -> list[Pair]:
        head, size = [1, *row["prompt"].encode()], len(row["response"].encode())
        offsets = [(start, min(start + 3, size)) for start in range(0, size, 3)]
        return [Pair([*head, *(100 + n for n in range(len(offsets))), 2], len(head), offsets)]


def row(response: str, spans: dict[str, list[list[int]]]) -> Row:
    return {"id": "r", "prompt": "ab", "response": response, "class": "", "spans": spans, "source": "s"}


def targets(response: str, spans: dict[str, list[list[int]]], mask: str) -> list[int]:
    (example,) = encode(row(response, spans), Threes(), [mask])
    assert len(example.masks[mask]) == len(example.ids)
    return [index for index, wanted in enumerate(example.masks[mask]) if wanted]


def test_the_response_and_its_end_are_supervised_and_nothing_before():
    assert targets("abcdefg", {}, "response") == [3, 4, 5, 6]


def test_a_span_supervises_the_tokens_that_share_a_byte_with_it():
    assert targets("abcdefghi", {"x": [[3, 6]]}, "x") == [4]
    assert targets("abcdefghi", {"x": [[2, 4]]}, "x") == [3, 4]
    assert targets("abcdefghi", {"x": [[0, 1], [8, 9]]}, "x") == [3, 5]


def test_the_end_token_belongs_to_no_span():
    assert targets("abc", {"x": [[0, 3]]}, "x") == [3]


def test_spans_count_bytes_not_characters():
    """`é` has two bytes: [2, 4] is the second é; it begins in the first token of three bytes and ends in the next."""
    assert targets("éééé", {"x": [[2, 4]]}, "x") == [3, 4]
    assert targets("éééé", {"x": [[6, 8]]}, "x") == [5]


class Talks(Threes):
    """An earlier turn stands behind other words when it is asked, and is a sequence of its own."""

    def sequences(self, row: Mapping[str, Any]) -> list[Pair]:
        return [*super().sequences({**row, "response": "uvwxyz"}), *super().sequences(row)]


def test_a_span_is_in_the_last_answer_and_not_in_an_earlier_turn_of_the_same_length():
    earlier, last = encode(row("abcdef", {"x": [[0, 3]], "forbidden": [[3, 6]]}), Talks(), ["x", "response"])
    assert [index for index, wanted in enumerate(last.masks["x"]) if wanted] == [3]
    assert not any(earlier.masks["x"])
    assert [index for index, wanted in enumerate(earlier.masks["response"]) if wanted] == [3, 4, 5]
    assert [index for index, wanted in enumerate(last.masks["response"]) if wanted] == [3, 5]


def test_a_row_without_the_span_supervises_nothing():
    assert targets("abc", {}, "tool_name") == []
    assert targets("abc", {"other": [[0, 3]]}, "tool_name") == []


def test_several_masks_come_from_one_encoding():
    (example,) = encode(row("abcdef", {"x": [[0, 3]]}), Threes(), ["response", "x"])
    assert example.masks == {
        "response": [False, False, False, True, True, True],
        "x": [False, False, False, True, False, False],
    }


class Turns(Threes):
    """A conversation of three turns: the second is learnt where it stands, the first in a sequence of its own."""

    def sequences(self, row: Mapping[str, Any]) -> list[Pair]:
        return [Pair([1, 2, 3, 4], 2, [(0, 1)]), Pair(list(range(9)), 7, [(0, 1)], ((3, 5),))]


def test_earlier_turns_are_learnt_with_their_ends_and_what_is_between_is_not():
    alone, whole = encode(row("a", {"x": [[0, 1]]}), Turns(), ["response", "x"])
    assert alone.masks["response"] == [False, False, True, True]
    assert [i for i, wanted in enumerate(whole.masks["response"]) if wanted] == [3, 4, 7, 8]
    assert [i for i, wanted in enumerate(whole.masks["x"]) if wanted] == [7]
