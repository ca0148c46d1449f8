"""Text in which somebody states a number → that number, exactly, or the reason why there is none.

A number is a run of digits with points and commas inside it, read whole or not at all: `1,234.5`, `1234.5`, `1/2`,
`1 1/2` and `2e3` are one number each, `1,23`, `1.2.3`, `5:30`, `1 234`, `1'234`, `1½` and `5²` are none: whoever
wrote `1 234` did not mean 234. A sign belongs to a number when no letter, digit or closing bracket stands before it, so
that `5-3` and `5 - 3` end in 3, and `= -3` in -3. Values are fractions: nothing is rounded before the tolerance is
applied.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

#: a longer number is none that a person gave as an answer
MOST_DIGITS = 64
_DIGITS = r"[0-9](?:[0-9.,_'\u2019\u00a0\u202f]*[0-9])?"
#: groups between spaces, and a whole number before a fraction; else with the point of `.5`, unless a word or another
#: number ends there, and with the second half of `1/2`, `2e3` and `5:30`
_RUN = re.compile(
    r"[0-9]{1,3}(?: [0-9]{3})+(?![0-9])|[0-9]+ [0-9]+/[0-9]+|"
    rf"(?:(?<![\w.,])[.,])?{_DIGITS}(?:[/:]{_DIGITS})*(?:[eE][+-]?[0-9]+(?![\w]))?"
)
#: the hyphen last, where no set of characters takes it for a range
_MINUS = "\u2212-"
#: what may stand between a sign and the digits, or before them: currency signs
CURRENCY = "$\u20ac\u00a3\u00a5\u20b9"
_BEFORE = re.compile(rf"(?P<sign>[+{_MINUS}]?)[ ]?(?P<currency>[{CURRENCY}]?)[ ]?\Z")
_OPENED = re.compile(rf"[\s*_(\[\"'`\u201c\u2018:=\\]*[+{_MINUS}]?[ ]?[{CURRENCY}]?[ ]?")
_WORD = r"(?:[^\W\d_]+|[%\u2030\u00b0][CF]?)"
_UNIT = re.compile(rf"[ \u00a0\u202f]?(?P<unit>{_WORD}(?:/{_WORD})?)")
_GROUPED = re.compile(r"[0-9]{1,3}(?:[,\u00a0\u202f][0-9]{3})+(?:\.[0-9]+)?")
_PLAIN = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?|[0-9]+/0*[1-9][0-9]*")
#: what is a numeral and no digit from 0 to 9, with the letters of words, which are told apart by their category
_OTHERS = re.compile(
    r"(?:(?![0-9])\d)+|[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2089\u2150-\u218b\u2460-\u249b\u24ea-\u24ff\u2776-\u2793]+"
)
_MIXED = re.compile(r"(?P<whole>[0-9]+) (?P<part>[0-9]+/0*[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Found:
    """A number of a text: its value, its unit ("" where none is), its sign and digits as they are written, and where
    the digits begin and end, in characters."""

    value: Fraction
    unit: str
    text: str
    start: int
    end: int


def _value(digits: str, decimal: str) -> Fraction | None:
    """The value of a run of digits, or None for one that no notation explains."""
    if len(digits) > MOST_DIGITS:
        return None
    if decimal == ",":
        digits = digits.translate(str.maketrans(",.", ".,"))
    digits = digits.removeprefix(",")  # a comma before a number is one of the sentence
    if mixed := _MIXED.fullmatch(digits):
        part = Fraction(mixed["part"])
        return int(mixed["whole"]) + part if part < 1 else None
    if not (_GROUPED.fullmatch(digits) or _PLAIN.fullmatch(digits)):
        return None
    return Fraction(re.sub("[,\u00a0\u202f]", "", digits))


def _read(text: str, run: re.Match[str], decimal: str) -> Found | None:
    value = _value(run[0], decimal)
    if value is None or _goes_on(text, run):
        return None
    before = text[max(0, run.start() - 8) : run.start()]
    lead = _BEFORE.search(before)
    sign, currency = (lead["sign"], lead["currency"]) if lead else ("", "")
    if sign and lead is not None:
        ahead = before[: lead.start()]
        ahead = (ahead.rstrip() if before.endswith(" ") else ahead)[-1:]
        if ahead.isalnum() or ahead in {")", "]", "%"}:
            sign = ""
    unit = _UNIT.match(text, run.end())
    minus = bool(sign) and sign in _MINUS
    return Found(
        -value if minus else value,
        currency or (unit["unit"] if unit else ""),
        f"-{run[0]}" if minus else run[0],
        *run.span(),
    )


def _goes_on(text: str, run: re.Match[str]) -> bool:
    """Whether numerals that are no digits stand directly before or after: of other scripts, raised, fractions."""
    around = text[max(0, run.start() - 1) : run.start()], text[run.end() : run.end() + 1]
    after = text[run.end() : run.end() + 2]
    fraction = after[:1] == " " and unicodedata.category(after[1:] or " ") == "No"
    return fraction or any(character.isnumeric() for character in around)


def readable(unit: str) -> bool:
    """Whether a unit is one that can stand beside a number in a text."""
    found = _UNIT.fullmatch(unit)
    return unit in set(CURRENCY) or (found is not None and found["unit"] == unit)


def final(text: str, decimal: str = ".") -> Found | str | None:
    """The last number of a text; None where there is none, and the digits where nothing explains them."""
    runs = list(_RUN.finditer(text))
    return (_read(text, runs[-1], decimal) or runs[-1][0]) if runs else None


def first(text: str, decimal: str = ".") -> Found | str | None:
    """The number that a text begins with, apart from spaces, what opens it, a sign and a currency; else as `final`."""
    run = _RUN.search(text)
    if run is None or _OPENED.fullmatch(text[: run.start()]) is None:
        return None
    return _read(text, run, decimal) or run[0]


def placed(text: str, decimal: str = ".") -> Sequence[tuple[int, int, Found]]:
    """Every number of a text that can be read, with where its digits begin and end."""
    return [(found.start, found.end, found) for found in all_of(text, decimal)]


def unread(text: str, decimal: str = ".") -> Sequence[tuple[int, int]]:
    """Where numerals stand that no notation explains: digits of other scripts, `1.2.3`, `5:30`, `3\u00b2`."""
    found = [run.span() for run in _RUN.finditer(text) if _read(text, run, decimal) is None]
    for match in _OTHERS.finditer(text):
        if not any(start <= match.start() <= end or start <= match.end() <= end for start, end in found):
            found.append(match.span())
    return sorted(found)


def all_of(text: str, decimal: str = ".") -> Sequence[Found]:
    """Every number of a text that can be read, in its order."""
    return [found for run in _RUN.finditer(text) if (found := _read(text, run, decimal)) is not None]


def in_unit(found: Found, units: Mapping[str, Fraction]) -> Fraction | None:
    """The value in the unit whose factor is 1, or None for a unit that was not declared. Without units, the value."""
    if not units or not found.unit:
        return found.value
    factor = units.get(found.unit)
    return None if factor is None else found.value * factor
