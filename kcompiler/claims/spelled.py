"""Quantities that are written in words → the numerals that they say, each with its place.

`ninety-nine percent`, `nineteen of twenty`, `zero point nine`, `tenfold`, `doubles the speed`. A word alone is seldom a
measurement in a document (`two kinds of rule`); a model's answer says `it is ninety degrees`, so that there words from
ten on, and every word behind `is`, are numbers as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from kcompiler.claims.policy import Policy, Relation

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
_PERCENT = re.compile(rf"{_BOUND}(?P<number>{_ANY})\s*(?P<unit>%|percent\b|pct\b|per\s+cent\b)", re.I)
_POINT = re.compile(rf"{_BOUND}(?P<number>{_DECIMAL})(?![\w-])", re.I)
_FOLD = re.compile(rf"{_BOUND}(?P<number>\d+(?:[.,]\d+)?|{_SMALL})[- ]?fold(?!\w|[- ]cross)", re.I)
_VERB = re.compile(
    r"\b(?P<verb>doubl|tripl|quadrupl|halv)(?:e|es|ed|ing)\s+(?:the|its|their|our)\b(?!\s+error\b)", re.I
)
_VERBS = {"doubl": "2", "tripl": "3", "quadrupl": "4", "halv": "0.5"}
_PARTS = {"half": "0.5", "a third": "0.33", "a quarter": "0.25", "a tenth": "0.1"}
_PARTS |= {"two thirds": "0.67", "three quarters": "0.75"}
_PART_WORDS = rf"(?P<word>{'|'.join(_PARTS)})"
_TIMES = {"twice": "2"} | {f"{word} times": str(value) for value, word in enumerate((*_ONES, "ten")) if value > 1}
#: behind `twice`, `3 times`: what is compared
COMPARED = (
    r"\s+(?:as\s+[a-z]+|better|worse|more|less|fewer"
    r"|(?:fast|slow|larg|small|long|short|high|low|cheap|bigg)er)\b"
)
_MULTIPLE = re.compile(rf"\b(?P<times>{'|'.join(_TIMES)})(?={COMPARED})", re.I)
#: of how many items something is, in words
ITEMS = "(?:items|rows|examples|questions|samples|prompts|texts|answers|pairs|cases|calls|conversations|documents)"
_THINGS = (
    rf"(?:{ITEMS}|queries|requests|responses|replies|tests|rules|gates|tasks|errors|mistakes|failures|users|time|memory"
    r"|costs?|price|latency|energy|speed)\b"
)
_OWN = r"(?:the|its|our|their|these|those|all)\s+"
_ALL_OF = re.compile(rf"\b{_PART_WORDS}(?=\s+of\s+all\b)", re.I)
#: `half the answers`, `two thirds of wrong calls`; `a third answer` is another one
_PART = re.compile(
    rf"\b{_PART_WORDS}(?=(?:\s+of\s+(?:{_OWN})?|(?<=half)\s+{_OWN})(?:[a-z-]{{2,20}}\s+)?{_THINGS})", re.I
)
_BY_PART = re.compile(
    r"\b(?:cuts?|reduc(?:es?|ed)|fell|falls?|drops?|dropped|shrinks?|shrank|lower(?:s|ed)|rises?|rose|grew|grows?"
    r"|(?:in|de)creas(?:es?|ed)|improv(?:es?|ed)|sav(?:es?|ed)|slash(?:es|ed))\s+(?:[\w-]{1,20}\s+){0,4}?"
    rf"by\s+(?:about\s+)?{_PART_WORDS}\b",
    re.I,
)
_MOST = re.compile(
    rf"\b(?:(?:an?|the)\s+(?:(?:vast|large|clear|great|overwhelming)\s+)?majority(?=\s+of\s+(?:{_OWN})?(?:[a-z-]{{2,20}}\s+)?{_THINGS})"
    rf"|most(?=\s+(?:of\s+{_OWN})?(?:[a-z-]{{2,20}}\s+)?{ITEMS}\s+(?:is|are|was|were|pass(?:ed)?|succeed(?:ed)?)\b))",
    re.I,
)
#: `all 72 rules pass`: none does not
ALL = re.compile(
    r"\b(?:all|each|every\s+one)\s+(?:of\s+)?(?:(?:the|our|its|these|those)\s+)?\d[\d,.]*(?:\s*(?:of|/)\s*\d[\d,.]*)?"
    r"\s+(?:[a-z-]{2,20}\s+){0,2}"
    r"(?:pass(?:es|ed)?|succeed(?:s|ed)?|h[eo]lds?|(?:is|are|was|were)\s+(?:right|correct|valid|green|verified|sound|fine))(?![\w-])",
    re.I,
)
_ODDS = re.compile(r"(?<![\w.:])(?P<k>\d+):(?P<n>[1-9]\d*)\s+(?:odds|ratio|against|for|in\s+favou?r)\b", re.I)
_ALONE = re.compile(rf"{_BOUND}(?P<said>(?:is|are|was|were|at|costs?)\s+)?(?P<number>{_ANY})(?![\w-])", re.I)
_OVER = re.compile(
    rf"\b(?:over|on|across|among|with)\s+(?:all\s+)?(?P<n>{_WHOLE})\s+(?:[a-z-]{{2,20}}\s+){{0,2}}{ITEMS}\b", re.I
)
#: units whose words mean other things as often
_VAGUE = ("points", "percentage", "percent", "million", "billion")
#: least whole part of a share in words: `one of two ways` is no measurement
_LEAST = 10


@dataclass(frozen=True)
class Spelled:
    """A quantity in words: `number`s as numerals, the unit where one is said."""

    kind: Literal["share", "number", "bare", "comparison"]
    start: int
    end: int
    numbers: tuple[str, ...]
    unit: str = ""
    compare: Relation | None = None
    #: what makes it another number
    changed: str = ""


def parts(text: str, start: int, end: int, *, wide: bool) -> Iterator[Spelled]:
    """Every multiple and part in words; `wide`: also of named things, and a majority, which is more than half."""
    for found in _MULTIPLE.finditer(text, start, end):
        yield Spelled("number", *found.span("times"), (_TIMES[" ".join(found["times"].lower().split())],), "×")
    for found in (
        one for pattern in ((_ALL_OF, _PART) if wide else (_ALL_OF,)) for one in pattern.finditer(text, start, end)
    ):
        yield Spelled("number", *found.span(), (_PARTS[found["word"].lower()],))
    if wide:
        for found in _BY_PART.finditer(text, start, end):
            # of a half it is the same what is left
            by = "" if found["word"].lower() == "half" else "changed by"
            yield Spelled("number", *found.span("word"), (_PARTS[found["word"].lower()],), changed=by)
        for found in _MOST.finditer(text, start, end):
            yield Spelled("comparison", *found.span(), ("0.5",), compare=">")


@lru_cache(maxsize=8)
def _amount(units: tuple[str, ...], comparisons: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """An amount in words behind what says that it is one, `under a millisecond`, `takes two seconds`; and one in a
    word, `sub-second`. `In a second step` has none."""
    said = [unit for unit in units if re.fullmatch(r"[a-z]{4,}(?: [a-z]+)*", unit) and unit.split()[0] not in _VAGUE]
    one = "|".join(unit.replace(" ", r"\s+") for unit in sorted(said, key=len, reverse=True))
    unit = rf"(?P<unit>{one})(?![\w-])"
    words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(comparisons, key=len, reverse=True))
    behind = (
        r"(?=\s*(?:[.,;:!?)|*_]|$)|\s+(?:and|or|but|to|for|on|in|at|of|per|with|an?|each|every|from|until|latency)\b)"
    )
    phrase = re.compile(
        rf"(?<![\w-])(?:(?P<compare>{words}|within)|in|takes?|took|needs?|uses?|lasts?|costs?|only|just|is|of)\s+[*_`]*"
        rf"(?:(?P<part>half)\s+(?:an?\s+)?{unit.replace('<unit>', '<of>')}"
        rf"|(?:an?|one)\s+{unit.replace('<unit>', '<one>')}{behind}"
        rf"|(?!one\s+(?:{one})\b)(?P<number>{_ANY})[\s-]{unit})",
        re.I,
    )
    return phrase, re.compile(rf"(?<![\w-])(?:(?P<sub>sub)-?|(?P<digit>single[- ]digit)\s+){unit}", re.I)


def amounts(text: str, start: int, end: int, policy: Policy) -> Iterator[Spelled]:
    """Every amount in words with its unit that is said to be one."""
    phrase, word = _amount(tuple(policy.units), tuple(policy.comparisons))
    relations: dict[str, Relation] = {"within": "<=", **{one.lower(): at for one, at in policy.comparisons.items()}}
    for found in phrase.finditer(text, start, end):
        compare = relations.get(" ".join((found["compare"] or "").lower().split()))
        number = "0.5" if found["part"] else "1" if found["one"] else _value(found["number"])
        unit = " ".join((found["of"] or found["one"] or found["unit"]).lower().split())
        first = found.start() if compare else found.start(next(n for n in ("part", "number", "one") if found[n]))
        yield Spelled("comparison" if compare else "number", first, found.end(), (number,), unit, compare)
    for found in word.finditer(text, start, end):
        unit = found["unit"].lower()
        if found["sub"] and (policy.unit(unit) or ("",))[0] != "second":
            continue  # `sub-byte` is a kind of format
        yield Spelled("comparison", *found.span(), ("1" if found["sub"] else "10",), unit, "<")


def counts(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Of how many items something is said to be, in words: `over ten thousand rows`; each place and its numeral."""
    for found in _OVER.finditer(text, start, end):
        if float(value := _value(found["n"])) >= _LEAST:
            yield *found.span("n"), value


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
