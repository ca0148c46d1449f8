"""Items of a suite: one line per runner and row, of one form in every suite. No tensors: the auditor reads them too.

A line is `{"row", "runner", "prompt", "output", "parts", "reason"}`: whose it is, the digest of what was asked, what
the model gave (a text, or scores), what that is worth part by part, and why it is not right ("" where it is). All but
the output follows from the output and the rows, so that a report can be made again, and a line that says otherwise than
its output is found. No time stands in it: a repetition gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, overload

from runtime.contract import TokenScore, spool
from runtime.contract.conversation import Conversation, Prompt
from runtime.contract.rows import prompt_of
from runtime.contract.strict_json import dumps, loads

FILE = "items.jsonl"
FIELDS = ("row", "runner", "prompt", "output", "parts", "reason")

Line = dict[str, Any]
Row = Mapping[str, Any]


def prompt_digest(prompt: Prompt) -> str:
    """SHA-256 of what is asked: the text itself, of a conversation its canonical JSON with the tools."""
    text = prompt.text if isinstance(prompt, Conversation) else prompt
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def line(row: Row, runner: str, output: Any, parts: Mapping[str, Any], reason: str = "") -> Line:
    """The line of one answer to one row. `output` and `parts` are values of JSON."""
    return {
        "row": str(row["id"]),
        "runner": runner,
        "prompt": prompt_digest(prompt_of(row)),
        "output": output,
        "parts": dict(parts),
        "reason": reason,
    }


def of_score(score: TokenScore) -> dict[str, Any]:
    """A score as a value of JSON; a number that is none has no place there and becomes null."""
    finite = math.isfinite(score.log_probability)
    return {"log_probability": score.log_probability if finite else None, "tokens": score.tokens}


def score_of(value: Any) -> TokenScore:
    """What `of_score` wrote; null is no number. Raises ValueError for anything else."""
    if not isinstance(value, Mapping) or set(value) != {"log_probability", "tokens"}:
        raise ValueError("a score is not {log_probability, tokens}")
    number, tokens = value["log_probability"], value["tokens"]
    if type(tokens) is not int or not (number is None or type(number) in (int, float)):
        raise ValueError("a score is not {log_probability, tokens}")
    return TokenScore(log_probability=math.nan if number is None else float(number), tokens=tokens)


class Scores(Sequence[TokenScore]):
    """Scores, one after the other, in sixteen bytes each."""

    def __init__(self) -> None:
        self._logs, self._tokens = array("d"), array("q")

    def append(self, score: TokenScore) -> None:
        """One more."""
        self._logs.append(score.log_probability)
        self._tokens.append(score.tokens)

    def __len__(self) -> int:
        return len(self._logs)

    @overload
    def __getitem__(self, at: int) -> TokenScore: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[TokenScore]: ...
    def __getitem__(self, at: int | slice) -> TokenScore | Sequence[TokenScore]:
        if isinstance(at, slice):
            return spool.picked(self, range(len(self))[at])
        return TokenScore(log_probability=self._logs[at], tokens=self._tokens[at])


def text_of(output: Any) -> str:
    """An output that is a text. Raises ValueError for another."""
    if not isinstance(output, str):
        raise ValueError("its output is no text")
    return output


class Lines(spool.Each[Line]):
    """Lines of `items.jsonl`, read from it when they are asked for."""

    def __init__(self, texts: spool.Spool, places: Mapping[str, Sequence[int]]) -> None:
        super().__init__(len(texts), lambda at: _shared(json.loads(texts[at].decode())))
        #: the lines as they are written, and runner → where its lines stand, in their order
        self.texts, self.places = texts, places

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the file."""
        for at in range(len(self)):
            yield self.texts[at] + b"\n"

    @property
    def size(self) -> int:
        """How many bytes these are."""
        return self.texts.size + len(self)


def made(lines: Iterable[Mapping[str, Any]], folder: Path | None = None) -> Lines:
    """Lines as whoever goes on reads them, beyond memory, in a file of `folder`. Raises as `written` does."""
    if isinstance(lines, Lines):
        return lines
    texts = spool.Spool(folder)
    places: dict[str, array[int]] = {}
    for number, one in enumerate(lines, start=1):
        data = text(one)
        places.setdefault(_line(data, number)["runner"], array("I")).append(len(texts))
        texts.append(data)
    return Lines(texts, places)


def by_runner(lines: Iterable[Mapping[str, Any]]) -> dict[str, Sequence[Line]]:
    """Runner → its lines, in their order."""
    every = cast(Sequence[Line], lines if isinstance(lines, Sequence) else list(lines))
    places = every.places if isinstance(every, Lines) else _places(every)
    return {name: spool.picked(every, mine) for name, mine in places.items()}


def _places(lines: Sequence[Line]) -> dict[str, array[int]]:
    found: dict[str, array[int]] = {}
    for at, one in enumerate(lines):
        found.setdefault(str(one["runner"]), array("I")).append(at)
    return found


def walk(
    lines: Iterable[Mapping[str, Any]],
    rows: Sequence[Row],
    asked: Callable[[str], int],
    judged: Callable[[str, int, Any], Mapping[str, Any]],
) -> Iterator[tuple[int, Mapping[str, Line]]]:
    """(Number of a row, runner → its line) of every row, one after the other, when each line is what its output gives.

    Every runner is asked the first `asked(runner)` of these rows, in their order; `judged(runner, number of a row,
    output)` makes a line again. Raises ValueError that names the first line which is not so.
    """
    found = by_runner(lines)
    due = {name: min(asked(name), len(rows)) for name in found}
    for at, row in enumerate(rows):
        mine = {name: theirs[at] for name, theirs in found.items() if at < min(due[name], len(theirs))}
        for name, one in mine.items():
            _same(row, at, one, name, judged)
        yield at, mine
    for name, theirs in found.items():
        if len(theirs) < due[name]:
            raise ValueError(f"runner `{name}` has no line for row `{rows[len(theirs)]['id']}`")
        if len(theirs) > due[name]:
            further = theirs[due[name]].get("row")
            raise ValueError(f"runner `{name}` has a line for row `{further}`, which it is not asked")


def _same(
    row: Row, at: int, one: Mapping[str, Any], runner: str, judged: Callable[[str, int, Any], Mapping[str, Any]]
) -> None:
    if tuple(one) != FIELDS:
        raise ValueError(f"a line of runner `{runner}` has not the fields {', '.join(FIELDS)}")
    if one["row"] != str(row["id"]):
        raise ValueError(f"runner `{runner}` has a line for row `{one['row']}` where row `{row['id']}` is due")
    try:
        again = judged(runner, at, one["output"])
    except ValueError as why:
        raise ValueError(f"the line of row `{row['id']}` by runner `{runner}`: {why}") from None
    apart = [name for name in FIELDS if again[name] != one[name]]
    if apart:
        raise ValueError(f"the line of row `{row['id']}` by runner `{runner}` is not what its output gives: {apart[0]}")


def lacks(runner: str, rows: Sequence[object]) -> str:
    """Why a runner has no lines: it was asked nothing, or it is not there."""
    return f"no runner `{runner}`" if rows else "no items"


def first(rows: Sequence[Row], limit: int) -> Sequence[Row]:
    """The first `limit` rows; 0 takes all."""
    return rows[:limit] if limit else rows


def text(line: Mapping[str, Any]) -> bytes:
    """A line as it stands in `items.jsonl`, without its end. Raises ValueError for a number that is not finite."""
    return dumps(cast(Any, dict(line))).encode()


def written(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Lines as they stand in `items.jsonl`. Raises as `text`."""
    return b"".join(text(one) + b"\n" for one in lines)


def read(data: bytes) -> list[Line]:
    """The lines of `items.jsonl`. Raises ValueError, with the number of the line, for one that is not of the form."""
    *texts, rest = data.split(b"\n")
    if rest:
        raise ValueError(f"line {len(texts) + 1} is incomplete")
    return [_line(text, number) for number, text in enumerate(texts, start=1)]


def load(path: Path) -> Lines:
    """The same of a file, whose lines stay there. Raises OSError where it is not, ValueError as `read`."""
    texts, start = spool.Spool.over(path), 0
    places: dict[str, array[int]] = {}
    with path.open("rb") as ahead:
        for number, text in enumerate(ahead, start=1):
            if not text.endswith(b"\n"):
                raise ValueError(f"line {number} is incomplete")
            one = _line(text[:-1], number)
            places.setdefault(one["runner"], array("I")).append(number - 1)
            texts.add(start, len(text) - 1)
            start += len(text)
    return Lines(texts, places)


def _line(text: bytes, number: int) -> Line:
    try:
        one = loads(text)
    except ValueError as why:
        raise ValueError(f"line {number}: {why}") from None
    if not _is_line(one):
        raise ValueError(f"line {number} is not an object of {', '.join(FIELDS)}")
    return _shared(cast(Line, one))


def _shared(one: Line) -> Line:
    """The same line; words that stand in every line are held once for all of them."""
    parts = {sys.intern(name): value for name, value in one["parts"].items()}
    words = {name: sys.intern(one[name]) for name in ("runner", "reason")}
    # the names of its fields are those of `FIELDS`, not those that were read
    return {name: parts if name == "parts" else words.get(name, one[name]) for name in FIELDS}


def _is_line(one: Any) -> bool:
    if not isinstance(one, dict) or tuple(one) != FIELDS or not isinstance(one["parts"], dict):
        return False
    return all(isinstance(one[name], str) for name in ("row", "runner", "prompt", "reason"))
