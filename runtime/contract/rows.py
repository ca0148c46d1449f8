"""JSON Lines files ↔ dataset rows, strictly: every departure from the row's form is refused with file and line.

The published form is `schemas/dataset-row.schema.json`; a test keeps the two equal.
"""

from __future__ import annotations

import collections
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NotRequired, TypedDict, cast

from runtime.contract import Refusal, conversation, pairs, spool
from runtime.contract import wanted as wants
from runtime.contract.conversation import Conversation, Prompt, Reply, Turn
from runtime.contract.strict_json import Json, dumps, loads

#: Longest line in bytes: a row is a training example, not a book, and a line without an end must not fill the memory.
MAX_LINE_BYTES = 1 << 20

Spans = dict[str, list[list[int]]]

Row = TypedDict(
    "Row",
    {
        "id": str,
        "prompt": str,
        "response": str,
        "class": str,
        "spans": Spans,
        "source": str,
        "messages": NotRequired[list[conversation.Message]],
        "tools": NotRequired[list[dict[str, Any]]],
        "rejected": NotRequired[str | conversation.Message],
        "wanted": NotRequired[dict[str, Any]],
    },
)

FIELDS = ("id", "prompt", "response", "class", "spans", "source")
#: of a row that is more than one question and its answer; prompt and response are then its text for people
TURNS = ("messages", "tools")
#: of a row that is a preference pair: the answer that was not chosen; its response is the one that was
REJECTED = "rejected"
#: of a row that says more about right answers than its response does (runtime/contract/wanted.py)
WANTED = "wanted"
_OPTIONAL = (*TURNS, REJECTED, WANTED)
_ACTION = "correct the line, or remove it"


def lines(path: Path, *, place: str = "", max_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[str, bytes]]:
    """Each line of a file as (place, bytes without the line end), one in memory at a time.

    Raises Refusal for a line longer than `max_bytes` and for an empty line.
    """
    with path.open("rb") as file:
        yield from lines_of(file, place=place or path.name, max_bytes=max_bytes)


def lines_of(file: BinaryIO, *, place: str, max_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[str, bytes]]:
    """What `lines` gives, of a file that is open. Raises what it raises."""
    number = 0
    while raw := file.readline(max_bytes + 2):
        number += 1
        here = f"{place}:{number}"
        line = raw.rstrip(b"\r\n")
        if len(line) > max_bytes:
            raise Refusal(f"line longer than {max_bytes} bytes", place=here, action="split or shorten the row")
        if not line.strip():
            raise Refusal("empty line in a JSON Lines file", place=here, action="remove the line")
        yield here, line


def objects(path: Path, *, place: str = "", max_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[str, dict[str, Json]]]:
    """Each line of a JSON Lines file as (place, object). Raises Refusal for anything but one strict JSON object."""
    for here, line in lines(path, place=place, max_bytes=max_bytes):
        yield here, _object(line, here)


def _object(line: bytes, here: str) -> dict[str, Json]:
    try:
        value = loads(line)
    except ValueError as error:
        raise Refusal(f"not JSON: {error}", place=here, action=_ACTION) from None
    if not isinstance(value, dict):
        raise Refusal("a row must be a JSON object", place=here, action=_ACTION)
    return value


def checked(value: dict[str, Json], here: str, names: Mapping[str, str] | None = None, *, answered: bool = True) -> Row:
    """A JSON object as a row. Raises Refusal when a field is unknown, missing, of another type or out of bounds.

    `names` maps a field of a row to how a message calls it, where the file calls it otherwise. Unless `answered`, the
    response may be empty: the teacher answers that row.
    """
    said = {name: f"`{name}`" for name in FIELDS} | dict(names or {})
    unknown = sorted(set(value) - {*FIELDS, *_OPTIONAL})
    missing = [name for name in FIELDS if name not in value]
    if unknown or missing:
        what = [f"unknown field `{name}`" for name in unknown] + [f"missing field {said[name]}" for name in missing]
        raise Refusal(", ".join(what), place=here, action=f"a row has exactly the fields {', '.join(FIELDS)}")
    for name in ("id", "prompt", "response", "class", "source"):
        text = value[name]
        if not isinstance(text, str):
            raise Refusal(f"field {said[name]} must be a string", place=here, action=_ACTION)
        if name != "class" and not text.strip() and (answered or name != "response" or text):
            raise Refusal(f"field {said[name]} is empty", place=here, action=_ACTION)
    _check_spans(value["spans"], cast(str, value["response"]), here, said["spans"])
    if "messages" in value or "tools" in value:
        _check_turns(value, here)
    if REJECTED in value:
        messages = cast(list[conversation.Message], value.get("messages", []))
        pairs.checked_reply(value[REJECTED], value["response"], messages, here)
    if WANTED in value:
        wants.checked(value[WANTED], here)
    return cast(Row, value)


def _check_turns(value: dict[str, Json], here: str) -> None:
    """A row's messages are in the one form in which they are held, and its prompt and response are their text."""
    messages = conversation.checked(value.get("messages"), here)
    made = conversation.row_of(messages, conversation.checked_tools(value.get("tools"), here))
    if any(made.get(name) != value.get(name) for name in ("prompt", "response", *TURNS)):
        raise Refusal("prompt and response are not the text of the row's messages", place=here, action=_ACTION)


def prompt_of(row: Mapping[str, Any]) -> Prompt:
    """What a model is asked by a row: its text, or the messages up to the last reply."""
    asked, tools = row.get("messages", ())[:-1], row.get("tools", ())
    single = len(asked) == 1 and asked[0]["role"] == "user" and set(asked[0]) == {"role", "content"}
    return str(row["prompt"]) if not asked or (single and not tools) else Conversation.of(asked, tools)


def reply_of(row: Mapping[str, Any]) -> Reply:
    """What a row answers: its text, or a turn with calls or thoughts."""
    last = row["messages"][-1] if "messages" in row else {}
    return Turn.of(last) if set(last) - {"role", "content"} else str(row["response"])


def rejected_of(row: Mapping[str, Any]) -> Reply:
    """What a row of a pair says should not be answered: its text, or a turn with calls or thoughts."""
    value = row[REJECTED]
    return value if isinstance(value, str) else Turn.of(value)


def answered(row: Row, text: str) -> Row:
    """A row with somebody else's answer in the place of its own; spans of the old response mean nothing then, nor does
    what was preferred to what."""
    made = cast(Row, {**row, "response": text, "spans": {}})
    made.pop("rejected", None)
    if "messages" in row:
        made["messages"] = [*row["messages"][:-1], {"role": "assistant", "content": text}]
    return made


def _check_spans(spans: Json, response: str, here: str, said: str) -> None:
    if not isinstance(spans, dict):
        raise Refusal(f"field {said} must be an object of lists of [start, end]", place=here, action=_ACTION)
    size = len(response.encode())
    for name, ranges in spans.items():
        if not isinstance(ranges, list):
            raise Refusal(f"spans of `{name}` must be a list of [start, end]", place=here, action=_ACTION)
        for pair in ranges:
            if not isinstance(pair, list) or len(pair) != 2 or not all(type(edge) is int for edge in pair):
                raise Refusal(f"span {pair!r} of `{name}` is not [start, end]", place=here, action=_ACTION)
            start, end = cast(list[int], pair)
            if not 0 <= start < end <= size:
                raise Refusal(
                    f"span [{start}, {end}] of `{name}` does not lie in a response of {size} bytes",
                    place=here,
                    action="spans are byte offsets into the UTF-8 text of the response, end excluded",
                )


def read(path: Path, *, place: str = "", max_bytes: int = MAX_LINE_BYTES) -> Iterator[Row]:
    """The rows of a dataset file, streamed. Raises Refusal with file and line for the first row that is wrong."""
    seen: dict[str, str] = {}
    for here, value in objects(path, place=place, max_bytes=max_bytes):
        row = checked(value, here, answered=False)
        if row["id"] in seen:
            raise Refusal(f"id `{row['id']}` was already used at {seen[row['id']]}", place=here, action=_ACTION)
        seen[row["id"]] = here
        yield row


def load(path: Path, *, place: str = "") -> list[Row]:
    """All rows of a dataset file at once. Raises what `read` raises."""
    return list(read(path, place=place))


def kept(path: Path, holds: Callable[[Row], bool] = lambda _: True) -> Sequence[Row]:
    """The rows of a dataset file of which `holds` is true. They stay in the file and are read when they are asked for;
    all were looked at before. Raises what `read` raises."""
    texts, ids, start = spool.Spool.over(path), array("Q"), 0
    with path.open("rb") as file:
        try:
            for here, line in lines_of(file, place=path.name):
                row = checked(_object(line, here), here, answered=False)
                ids.append(spool.key(row["id"]))
                if holds(row):
                    texts.add(start, len(line))
                start = file.tell()
            wrong = bool(spool.repeated(ids))
        except Refusal:
            wrong = True
    if wrong:
        # what is wrong first is named by whoever knows all ids
        collections.deque(read(path), maxlen=0)
    return spool.Each(len(texts), lambda at: cast(Row, json.loads(texts[at].decode())))


def written(rows: Iterable[Row], name: str) -> list[str]:
    """Rows → lines of JSON with LF, keys in the order of `FIELDS`, for a file of this name. Raises as `checked`."""
    found = []
    for number, row in enumerate(rows, start=1):
        whole = cast(dict[str, Json], checked(cast(dict[str, Json], row), f"{name}:{number}", answered=False))
        found.append(dumps({key: whole[key] for key in (*FIELDS, *_OPTIONAL) if key in whole}) + "\n")
    return found


def text_of(response: str, span: Sequence[int]) -> str:
    """The text of one byte span of a response."""
    return response.encode()[span[0] : span[1]].decode("utf-8", errors="replace")
