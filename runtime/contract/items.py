"""Items of a suite: one line per runner and row, of one form in every suite. No tensors: the auditor reads them too.

A line is `{"row", "runner", "prompt", "output", "parts", "reason"}`: whose it is, the digest of what was asked, what
the model gave (a text, or scores), what that is worth part by part, and why it is not right ("" where it is). All but
the output follows from the output and the rows, so that a report can be made again, and a line that says otherwise than
its output is found. No time stands in it: a repetition gives the same bytes.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from runtime.contract import TokenScore
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


def text_of(output: Any) -> str:
    """An output that is a text. Raises ValueError for another."""
    if not isinstance(output, str):
        raise ValueError("its output is no text")
    return output


def by_runner(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[Line]]:
    """Runner → its lines, in their order."""
    found: dict[str, list[Line]] = {}
    for one in lines:
        found.setdefault(str(one["runner"]), []).append(cast(Line, one))
    return found


def checked(
    lines: Iterable[Mapping[str, Any]],
    rows_of: Callable[[str], Sequence[Row]],
    judged: Callable[[str, Row, Any], Mapping[str, Any]],
) -> dict[str, list[Line]]:
    """Runner → its lines, when each is what its output gives, and they are those of its rows, in their order.

    `rows_of(runner)` are the rows it is asked; `judged(runner, row, output)` makes a line again. Raises ValueError that
    names the first line which is not so.
    """
    found = by_runner(lines)
    for runner, mine in found.items():
        rows = rows_of(runner)
        for row, one in zip(rows, mine, strict=False):
            _same(row, one, runner, judged)
        if len(mine) < len(rows):
            raise ValueError(f"runner `{runner}` has no line for row `{rows[len(mine)]['id']}`")
        if len(mine) > len(rows):
            raise ValueError(
                f"runner `{runner}` has a line for row `{mine[len(rows)].get('row')}`, which it is not asked"
            )
    return found


def _same(row: Row, one: Mapping[str, Any], runner: str, judged: Callable[[str, Row, Any], Mapping[str, Any]]) -> None:
    if tuple(one) != FIELDS:
        raise ValueError(f"a line of runner `{runner}` has not the fields {', '.join(FIELDS)}")
    if one["row"] != str(row["id"]):
        raise ValueError(f"runner `{runner}` has a line for row `{one['row']}` where row `{row['id']}` is due")
    try:
        again = judged(runner, row, one["output"])
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


def written(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Lines as they stand in `items.jsonl`. Raises ValueError for a number that is not finite."""
    return "".join(dumps(cast(Any, dict(one))) + "\n" for one in lines).encode()


def read(data: bytes) -> list[Line]:
    """The lines of `items.jsonl`. Raises ValueError, with the number of the line, for one that is not of the form."""
    *texts, rest = data.split(b"\n")
    if rest:
        raise ValueError(f"line {len(texts) + 1} is incomplete")
    found: list[Line] = []
    for number, text in enumerate(texts, start=1):
        try:
            one = loads(text)
        except ValueError as why:
            raise ValueError(f"line {number}: {why}") from None
        if not _is_line(one):
            raise ValueError(f"line {number} is not an object of {', '.join(FIELDS)}")
        found.append(_shared(cast(Line, one)))
    return found


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
