"""A text × how numbers are declared → the one number that it states as its answer, or the reason why there is none.

The number directly follows the declared marker; in a text without the marker (or where none is declared) it is the last
one. Behind it stands the end of the answer, a unit, or the sentence's own way on (`7 apples`, `7, because 3 + 4 = 7`).
An operator (`7^2`, `7 + 5`, `7±3`), a bound before it (`> 7`) or a word of magnitude (`7k`, `7 million`) makes it
another number; more numbers in one breath (`7, 8`, `7 or 8`, `7, wait: 8`), or behind the marker when it comes again,
are several answers. Numbers that are spelled out in words are not read.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from runtime.contract import Params
from runtime.contract.units import unit
from runtime.data import numbers
from runtime.data.denied import denied

#: characters behind a number that are looked at
_NEAR = 120
_SPACE = r"[ \t\u00a0\u202f]*"
_NUMBER = rf"[+\u2212-]?[ ]?[{numbers.CURRENCY}]?[ ]?\.?\d"
_COUNT = rf"(?:{_NUMBER}|(?:half|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|an?|eins?|zwei|drei)\b)"
#: closing brackets, quotation marks, emphasis and tags belong to the number that they close
_CLOSED = re.compile(r"(?:[\"'\u201d\u2019*_`)\]}$]|</?[A-Za-z][^<>\n]{0,40}>)+")
_CALCULATED = re.compile(
    rf"\(\d|[^\s\w.,;:|&/]\d|(?:ish|[ij])(?!\w)"
    rf"|{_SPACE}(?:[\^\u00b1+\u00d7\u00f7\u00b7\u22c5\u221a]|\\+(?:times|cdot|pm|div|over)"
    rf"|(?:[*]{{1,2}}|[-\u2212\u2010-\u2015=<>\u2264\u2265\u2260~]+|[xX]){_SPACE}{_NUMBER}"
    rf"|(?:times|plus|minus|over|to|through|bis|up\s+to|point|mal|hoch|geteilt\s+durch|divided\s+by|multiplied\s+by)\s+{_COUNT}"
    rf"|(?:[\u2192\u21d2\u279c\u2794\u21a6\u2026]|\.{{2,3}}|(?:vs\.?|versus|per|mod|modulo|(?:in\s+)?base)(?!\w)){_SPACE}{_NUMBER}"
    r"|(?:to|raised\s+to)\s+the\s+(?:power\b|\d)|in\s+(?:10|100|1,?000|1,?000,?000|ten|a\s+(?:hundred|thousand|million))(?=\W*(?:\n|\Z))"
    r"|gross(?=\W*(?:\n|\Z)|\s+of\b)|[(\[]?(?:negative|minus|below(?:\s+zero)?)(?=\W*(?:\n|\Z))|at\s+(?:most|least)\b"
    r"|(?:squared|cubed|factorial)\b|and\s+an?\s+(?:half|third|quarter|fifth|eighth|tenth)\b)",
    re.IGNORECASE,
)
_MAGNITUDE = re.compile(
    r"[ \t\u00a0\u202f-]?[(\[]?(?:(?i:(?:hundred|thousand|million|billion|trillion|dozen|lakh|crore|bn|mn)s?|mio|mrd"
    r"|tens|(?:ten|hundred|thousand|million|billion)ths|(?:hundred|thousand|million)th|halves|thirds|(?:fif|six|seven|eigh|nin)ths"
    r"|hundert|tausend|millionen|milliarden?|billionen|dutzend)|[kKMB])(?!\w)"
)
_AND = (
    r"(?:[,;|&/]|\b(?:or|and|oder|und|maybe|perhaps|possibly|probably|alternatively|else|otherwise|even|also|if\s+not"
    r"|vielleicht)\b)"
)
_JOINED = rf"(?:{_SPACE}{_AND})+{_SPACE}{_NUMBER}"
#: other numbers in one breath, and those that stand alone in the next lines or sentences
_MORE = re.compile(
    rf"{_JOINED}|[ \t\u00a0\u202f]+{_NUMBER}"
    rf"|[.,;]?\s+{_NUMBER}[\d.,]*{_SPACE}(?=\n|\Z)|\.{_SPACE}{_NUMBER}[\d,]*[.,;](?=\s)",
    re.IGNORECASE,
)
_MORE_OF_IT = re.compile(_JOINED, re.IGNORECASE)
#: another number in its place: `7, wait: 8`
_CORRECTED = re.compile(
    rf"[^\d\n.!?]{{0,30}}?(?:[,;:.!?(\[\u2013\u2014\u2026-]|\.{{2,3}}){_SPACE}(?:no|nope|wait|sorry|oops|hm+|actually|correction|scratch\s+that"
    r"|I\s+meant?|(?:or\s+)?rather|make\s+(?:that|it)|nein|moment|eigentlich)\b"
    rf"(?:\W+(?:no|wait|sorry|that|that['\u2019]s|it|it['\u2019]s|is|should|be|the|answer|actually|make|rather)\b){{0,5}}[^\w\n]{{0,3}}?{_NUMBER}",
    re.IGNORECASE,
)
#: a thing that is counted: no conjunction, no preposition
_THING = re.compile(
    r"[ \u00a0\u202f]?(?!(?:because|since|as|so|for|if|when|while|of|in|at|by|from|with|than|that|which|per|and|or|to"
    r"|is|are|was|were|weil|da|denn|von|oder|und)\b)[^\W\d_]+",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>\s*\Z")
_BOUND = re.compile(
    rf"(?:[\u221a\u221b]|\b(?i:sqrt|log|ln|negative){_SPACE}\(?"
    rf"|(?<![<>=-])[<>]=?|[\u2264\u2265\u2260\u00b1^]|\+/?[-\u2212]){_SPACE}[{numbers.CURRENCY}]?[ ]?\Z"
)


class Numeric(Params):
    """How a number is found and compared."""

    after: str = Field(
        default="",
        max_length=40,
        description="Marker that the number directly follows, in the rows and in the outputs, as `####` in GSM8K. "
        "Without one it is the last number.",
        examples=["####"],
    )
    strict: bool = Field(
        default=False,
        description="An output without the marker is wrong; otherwise its last number counts.",
        examples=[True],
    )
    decimal: Literal[".", ","] = Field(
        default=".",
        description="Sign before decimals. The other one groups thousands, as a no-break space does.",
        examples=[","],
    )
    units: dict[str, float] = Field(
        default_factory=dict,
        max_length=64,
        description="Unit or currency → its factor. A number in another unit is wrong; without a unit it has 1.",
        examples=[{"km": 1, "m": 0.001}],
        json_schema_extra=unit("1"),
    )
    tolerance: float = Field(
        default=0,
        ge=0,
        description="Largest difference that is right, in the unit of factor 1.",
        examples=[0.01],
        json_schema_extra=unit("1"),
    )
    relative: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Largest difference that is right, as a share of the row's number.",
        examples=[0.001],
        json_schema_extra=unit("1"),
    )

    @model_validator(mode="after")
    def _sound(self) -> Numeric:
        if self.strict and not self.after.strip():
            raise ValueError("`strict` asks for a marker; give `after`")
        if self.after and not self.after.strip():
            raise ValueError("a marker of spaces is none")
        if any(not factor > 0 for factor in self.units.values()):
            raise ValueError("the factor of a unit is above 0")
        for name in self.units:
            if not numbers.readable(name):
                raise ValueError(f"`{name}` is no unit: a word, two with `/` between them, % or a currency sign")
        return self

    def factors(self) -> dict[str, Fraction]:
        """Unit → its factor, exactly as it is written."""
        return {name: Fraction(repr(factor)) for name, factor in self.units.items()}


def stated(numeric: Numeric, text: str, *, strict: bool) -> Fraction | str:
    """The number that a text states, in the unit of factor 1, or the reason why there is none (`matching.REASONS`)."""
    head, *marked = text.split(numeric.after) if numeric.after else (text,)
    if not marked:
        return "no_marker" if numeric.after and strict else _one(numeric, head, numbers.final(head, numeric.decimal), 0)
    # what stands close before the marker may deny it
    before = " ".join(head.rpartition("\n")[2].split()[-2:]) + " "
    found = _one(numeric, before + marked[0], numbers.first(marked[0], numeric.decimal), len(before))
    if not isinstance(found, str):
        for again in marked[1:]:
            other = numbers.first(again, numeric.decimal)
            if other is not None and (isinstance(other, str) or numbers.in_unit(other, numeric.factors()) != found):
                return "several_answers"
    return "no_marker" if found == "no_number" else found


def _one(numeric: Numeric, text: str, found: numbers.Found | str | None, offset: int) -> Fraction | str:
    """A number beside what stands around it; its places are those of the text behind `offset`."""
    if found is None:
        return "no_number"
    if isinstance(found, str):
        return "unreadable_number"
    units = numeric.factors()
    value = numbers.in_unit(found, units)
    if value is None:
        return "other_unit"
    start, end = offset + found.start, offset + found.end
    before = text[max(0, start - _NEAR) : start]
    if _BOUND.search(before) and not _TAG.search(before):
        return "unreadable_number"
    named = found.unit in units and text[end:].lstrip(" \u00a0\u202f").startswith(found.unit)
    if named:
        end = text.index(found.unit, end) + len(found.unit)
    if reason := _beyond(text[end : end + _NEAR], named=named):
        return reason
    return "denied" if denied(text, start, end) else value


def _beyond(behind: str, *, named: bool) -> str:
    """Why what stands behind a number, or behind its unit, makes it another number or one of several, or ""."""
    closed = behind[found.end() :] if (found := _CLOSED.match(behind)) else behind
    thing = _THING.match(closed)
    counted = "" if named or thing is None else closed[thing.end() :]
    if not named and (_MAGNITUDE.match(behind) or _MAGNITUDE.match(closed)):
        return "unreadable_number"
    if any(_CALCULATED.match(rest) for rest in (behind, closed, counted)):
        return "unreadable_number"
    return "several_answers" if _CORRECTED.match(behind) or _MORE.match(closed) or _MORE_OF_IT.match(counted) else ""
