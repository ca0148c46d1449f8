"""Quantities that are written in words → the numerals that they say, each with its place.

`ninety-nine percent`, `nineteen of twenty`, `zero point nine`, `tenfold`, `doubles the speed`. A word alone is seldom a
measurement in a document (`two kinds of rule`); a model's answer says `it is ninety degrees`, so that there words from
ten on, and every word behind `is`, are numbers as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate((*_ONES, *_TEENS))}
_VALUES |= {word: 10 * (2 + index) for index, word in enumerate(_TENS)}
_SIZES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}

_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_ONES[1:])}))?|{'|'.join((*_TEENS, *_ONES))})"
#: `two hundred and five`; a size alone needs `a` or a number before it
_WHOLE = rf"(?:(?:{_SMALL}|an?)(?:[- ](?:{'|'.join(_SIZES)}))+(?:(?:\s+and)?\s+{_SMALL})?|{_SMALL})"
_DECIMAL = rf"{_SMALL}\s+point(?:\s+(?:{'|'.join(_ONES)}))+"
_ANY = rf"(?:{_DECIMAL}|{_WHOLE})"
_BOUND = r"(?<![\w-])"
_SHARE = re.compile(
    rf"{_BOUND}(?P<k>{_WHOLE})(?:\s+[a-z]{{2,20}})?\s+(?:out\s+)?(?:of|in)\s+(?:every\s+|all\s+)?(?P<n>{_WHOLE})(?![\w-])",
    re.I,
)
_PERCENT = re.compile(rf"{_BOUND}(?P<number>{_ANY})\s*(?P<unit>%|percent\b|per\s+cent\b)", re.I)
_POINT = re.compile(rf"{_BOUND}(?P<number>{_DECIMAL})(?![\w-])", re.I)
_FOLD = re.compile(rf"{_BOUND}(?P<number>\d+(?:[.,]\d+)?|{_SMALL})[- ]?fold(?!\w|[- ]cross)", re.I)
_VERB = re.compile(
    r"\b(?P<verb>doubl|tripl|quadrupl|halv)(?:e|es|ed|ing)\s+(?:the|its|their|our)\b(?!\s+error\b)", re.I
)
_VERBS = {"doubl": "2", "tripl": "3", "quadrupl": "4", "halv": "0.5"}
_ODDS = re.compile(r"(?<![\w.:])(?P<k>\d+):(?P<n>[1-9]\d*)\s+(?:odds|ratio|against|for|in\s+favou?r)\b", re.I)
_ALONE = re.compile(rf"{_BOUND}(?P<said>(?:is|are|was|were|at|costs?)\s+)?(?P<number>{_ANY})(?![\w-])", re.I)
#: least whole part of a share in words: `one of two ways` is no measurement
_LEAST = 10


@dataclass(frozen=True)
class Spelled:
    """A quantity in words: `number`s as numerals, the unit where one is said."""

    kind: Literal["share", "number", "bare"]
    start: int
    end: int
    numbers: tuple[str, ...]
    unit: str = ""


def spelled(text: str, start: int, end: int, *, alone: bool) -> Iterator[Spelled]:
    """Every quantity in words of a text between two places, those that hold others first. `alone`: words alone, too."""
    for found in _SHARE.finditer(text, start, end):
        k, n = _value(found["k"]), _value(found["n"])
        if float(n) >= _LEAST:
            yield Spelled("share", *found.span(), (k, n))
    for found in _PERCENT.finditer(text, start, end):
        yield Spelled("number", *found.span(), (_value(found["number"]),), "%")
    for found in _POINT.finditer(text, start, end):
        yield Spelled("number", *found.span(), (_value(found["number"]),))
    for found in _FOLD.finditer(text, start, end):
        number = found["number"].replace(",", ".")
        yield Spelled("number", *found.span(), (number if number[0].isdigit() else _value(number),), "×")
    for found in _VERB.finditer(text, start, end):
        yield Spelled("number", *found.span(), (_VERBS[found["verb"].lower()],), "×")
    for found in _ODDS.finditer(text, start, end):
        yield Spelled("share", *found.span(), (found["k"], found["n"]))
    if alone:
        for found in _ALONE.finditer(text, start, end):
            value = _value(found["number"])
            if float(value) >= _LEAST or (found["said"] and value == "0"):
                yield Spelled("bare", *found.span("number"), (value,))


def _value(words: str) -> str:
    """The numeral of a number in words: `two hundred and five` is 205, `zero point nine` is 0.9."""
    whole, _, behind = re.sub(r"[-\s]+", " ", words.lower()).partition(" point ")
    total = part = 0
    for word in whole.split():
        if word in _SIZES:
            part = max(part, 1) * _SIZES[word]
            if _SIZES[word] > 100:
                total, part = total + part, 0
        elif word not in ("and", "a", "an"):
            part += _VALUES[word]
    digits = "".join(str(_VALUES[word]) for word in behind.split())
    return f"{total + part}.{digits}" if digits else str(total + part)
