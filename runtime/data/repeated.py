"""A tool's result × an answer → whether the answer only repeats it, what of it is said that is no fact, what is listed.

Repetition is measured by share, not letter by letter: without its last brace, in other quotes, as bare words or with
its keys left out, a result is still the result. Where a run of an answer consists of nearly nothing but a result's own
words and holds nearly all of them, or nearly all of its values, the answer is an echo. Standard library.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: a result that is repeated is an echo from so many characters on
_LEAST = 24
#: share of a result's words, and of its values, that make an echo
_OF_WORDS, _OF_VALUES = 0.8, 0.9
#: what a word of an answer's own costs a run of repeated ones; it may hold one for so many
_OWN = 3
#: shortest value that is looked for in an answer
_SHORTEST = 3
_WORD = re.compile(r"\d+(?:[.:]\d+)+|[^\W_]+(?:-[^\W_]+)*")
_SENTENCE = re.compile(r"[.!?](?:\s|$)|\n")
_ITEM = re.compile(r"[,;/|]\s|\s+(?:or|and|oder|und)\s+", re.IGNORECASE)


def words(text: str) -> list[str]:
    """The words of a text; quotes, braces and what joins the words of a name are none."""
    return [found.casefold() for found in _WORD.findall(text)]


@dataclass(frozen=True, slots=True)
class _Result:
    """A result in words: all of them, and each value by itself."""

    words: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]


def fields(result: str) -> list[tuple[str, str]]:
    """Every value of a result with the name of its field, in their order; of one that is no JSON there is none."""
    try:
        value = json.loads(result)
    except (ValueError, RecursionError):
        return []
    return list(_leaves("", value)) if isinstance(value, dict | list) else []


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    stack = [(key, value)]
    while stack:
        name, one = stack.pop()
        if isinstance(one, dict):
            stack += reversed([*one.items()])
        elif isinstance(one, list):
            stack += [(name, held) for held in reversed(one)]
        else:
            yield name, one if isinstance(one, str) else json.dumps(one)


def _read(result: str) -> _Result:
    values = tuple(tuple(words(value)) for _, value in fields(result))
    return _Result(tuple(words(result)), tuple(value for value in values if value))


def _run(text: Sequence[str], known: frozenset[str]) -> Sequence[str]:
    """The run of an answer's words that is most made of known ones."""
    best, at, low, start = 0, (0, 0), 0, 0
    for index, word in enumerate(text):
        low += 1 if word in known else -_OWN
        if low <= 0:
            low, start = 0, index + 1
        elif low > best:
            best, at = low, (start, index + 1)
    return text[at[0] : at[1]]


def _share(run: Sequence[str], of: Sequence[str]) -> float:
    held, wanted = Counter(run), Counter(of)
    return (held & wanted).total() / wanted.total() if of else 0.0


def _holds(run: Sequence[str], value: Sequence[str]) -> bool:
    return any(tuple(run[at : at + len(value)]) == tuple(value) for at in range(len(run) - len(value) + 1))


def echo(text: str, results: Sequence[str]) -> bool:
    """Whether an answer holds a result of a tool, as it came or nearly so."""
    whole, said = re.sub(r"\s", "", text), words(text)
    for result in results:
        if len(result) < _LEAST:
            continue
        if re.sub(r"\s", "", result) in whole:
            return True
        read = _read(result)
        run = _run(said, frozenset(read.words))
        if _share(run, read.words) >= _OF_WORDS:
            return True
        # one value by itself is an answer in a word
        if len(read.values) > 1 and sum(_holds(run, value) for value in read.values) >= _OF_VALUES * len(read.values):
            return True
    return False


def strangers(results: Sequence[str], facts: Sequence[str], units: Sequence[str], declared: Sequence[str]) -> list[str]:
    """Values of results, in words, that are no fact and stand in none of the texts that may say them.

    Values with a digit are not among them: a number, a date and an id are assertions by themselves.
    """
    allowed = [f" {' '.join(words(one))} " for one in (*facts, *units, *declared)]
    found: dict[str, None] = {}
    for result in results:
        for _, value in fields(result):
            plain = " ".join(words(value))
            named = len(plain) >= _SHORTEST and not any(sign.isdigit() for sign in plain)
            if named and not any(f" {plain} " in one for one in allowed):
                found[value] = None
    return list(found)


def listed(text: str, known: Sequence[str]) -> int:
    """How many items of one or two words an answer lists that are neither numbers nor in a known text."""
    held = f" {' '.join(word for one in known for word in words(one))} "
    count = 0
    for sentence in _SENTENCE.split(text):
        parts = _ITEM.split(sentence)
        if len(parts) < 2:
            continue
        for part in parts:
            mine = words(part)
            if 1 <= len(mine) <= 2 and not any(sign.isdigit() for sign in part):
                count += f" {' '.join(mine)} " not in held
    return count
