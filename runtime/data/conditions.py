"""A row and one sequence of its tokens → the masks and numbers that follow from what the row says of itself.

What there is, and of which parts of a row, says `runtime/contract/conditions.py`. All of it is about the row's last
answer, by bytes, as spans are; a sequence of a conversation's earlier turn has none of it.

Letters: T tokens of a sequence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from runtime.contract import conditions
from runtime.contract.rows import Row, text_of
from runtime.contract.wanted import calls_of


class EncodedPair(Protocol):
    """What a tokenizer makes of a prompt and its response; see `runtime.models.tokenizer.Encoded`."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def offsets(self) -> list[tuple[int, int]]: ...

    @property
    def earlier(self) -> tuple[tuple[int, int], ...]: ...


def overlaps(offset: tuple[int, int], spans: Sequence[Sequence[int]]) -> bool:
    return any(offset[0] < end and start < offset[1] for start, end in spans)


def _right(row: Row) -> bool:
    """Whether the call that a row's spans mark is one that it wants: by name, and by the accepted values."""
    names, args = row["spans"].get("tool_name", []), row["spans"].get("json_args", [])
    wanted = calls_of(row)
    if not names or not wanted:
        return False
    name = text_of(row["response"], names[0])
    try:
        given: Any = json.loads(text_of(row["response"], args[0])) if args else {}
    except ValueError:
        return False
    return isinstance(given, dict) and any(
        name == call.name
        and set(given) <= set(call.args)
        and all(
            # as JSON has them: to Python, true is 1
            json.dumps(given[one]) in map(json.dumps, call.args[one]) if one in given else one in call.optional
            for one in call.args
        )
        for call in wanted
    )


def _opens(row: Row, pair: EncodedPair) -> int | None:
    """The place of the token that opens the row's call, among the tokens of its answer; None without a right one."""
    spans = row["spans"].get("call", [])
    if not spans or not _right(row):
        return None
    return next((at for at, offset in enumerate(pair.offsets) if overlaps(offset, spans)), None)


def _excess(row: Row, offset: tuple[int, int]) -> float:
    """By which share of the teacher's length a token begins past it; negative before it."""
    return offset[0] / float(row["wanted"]["reference_bytes"]) - 1.0


def _longer(row: Row, pair: EncodedPair, _rejected: EncodedPair | None) -> list[bool]:
    if "reference_bytes" not in row.get("wanted", {}) or not conditions.missing(row):
        return [False] * len(pair.offsets)
    return [_excess(row, offset) >= 0 for offset in pair.offsets]


def _before_call(row: Row, pair: EncodedPair, _rejected: EncodedPair | None) -> list[bool]:
    opens = _opens(row, pair)
    return [opens is not None and at <= opens for at in range(len(pair.offsets))]


def _fork(row: Row, pair: EncodedPair, rejected: EncodedPair | None) -> int | None:
    """The place at which a row's answer and the one that was not chosen part; None where the row is not eligible."""
    if rejected is None or row.get("wanted", {}).get("code_mode") is not True:
        return None
    ours, theirs = pair.ids[pair.prompt_tokens :], rejected.ids[rejected.prompt_tokens :]
    if pair.ids[: pair.prompt_tokens] != rejected.ids[: rejected.prompt_tokens]:
        return None
    return next((at for at, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)


def _code_mode(row: Row, pair: EncodedPair, rejected: EncodedPair | None) -> list[bool]:
    at = _fork(row, pair, rejected)
    return [place == at for place in range(len(pair.offsets))]


_MASK = {"longer": _longer, "before_call": _before_call, "code_mode": _code_mode}


def mask(name: str, row: Row, pair: EncodedPair, rejected: EncodedPair | None) -> list[bool]:
    """Of each token of the answer, the end token left out, whether a mask of `conditions.MASKS` has it."""
    return _MASK[name](row, pair, rejected)


def numbers(name: str, row: Row, pair: EncodedPair, rejected: EncodedPair | None) -> list[float]:
    """A fact of `conditions.FACTS` at each token of a sequence; 0 where the row has no such thing. T numbers."""
    if name == "ends":
        lasts = {stop - 1 for _, stop in (*pair.earlier, (pair.prompt_tokens, len(pair.ids)))}
        return [float(at in lasts) for at in range(len(pair.ids))]
    if name == "right":
        return [float(row.get("wanted", {}).get("right") is True)] * len(pair.ids)
    before, after = pair.prompt_tokens, len(pair.ids) - pair.prompt_tokens - len(pair.offsets)
    found: list[float]
    if name == "fact":
        spans = row["spans"].get("fact", [])
        found = [float(overlaps(offset, spans)) for offset in pair.offsets]
    elif name == "excess":
        known = "reference_bytes" in row.get("wanted", {})
        found = [_excess(row, offset) if known else 0.0 for offset in pair.offsets]
    elif name == "place":
        found = [float(at) for at in range(len(pair.offsets))]
    else:
        found = [float(_id(name, row, pair, rejected))] * len(pair.offsets)
    return [0.0] * before + found + [0.0] * after


def _id(name: str, row: Row, pair: EncodedPair, rejected: EncodedPair | None) -> int:
    if name == "end":
        return pair.ids[-1]
    if name == "opens":
        at = _opens(row, pair)
        return 0 if at is None else pair.ids[pair.prompt_tokens + at]
    at = _fork(row, pair, rejected)
    return 0 if at is None or rejected is None else rejected.ids[rejected.prompt_tokens + at]
