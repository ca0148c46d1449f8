"""Markdown text → its blocks, and the claims, anchors, banned words and named files in each, with their places.

What is read is what a renderer shows (`markup`); offsets are of that text, `source` says where it stands in the file.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from kcompiler.claims import markup
from kcompiler.claims.clause import NOT, denied, significances, words_before
from kcompiler.claims.evidence import NUMERAL
from kcompiler.claims.policy import Policy, Relation
from kcompiler.claims.spelled import ALL, COMPARED, amounts, parts, spelled
from kcompiler.diagnostic import Place

#: what holds where a comparison is denied
OPPOSITE: Mapping[str, Relation] = {">": "<=", "<": ">=", ">=": "<", "<=": ">"}
Kind = Literal[
    "number", "decimal", "bare", "share", "interval", "comparison", "relation", "status", "significance", "whole"
]

_ADDRESS = re.compile(r"\bhttps?://\S+")
_PATH = re.compile(r"[A-Za-z0-9_.@-]+(?:/[A-Za-z0-9_.@<>*-]+)+/?\Z")
_NUMBER = rf"(?P<number>{NUMERAL.pattern})"
#: what makes a numeral part of a name, a version or a date and no claim
_BEFORE = r"(?<!\w)(?<!\w[.@/^\-−])(?<![\-−](?=[\-−]))(?<!\d[,:$])"
_AFTER = r"(?![\w]|[.,/]\d|:\d|-[A-Za-z0-9])"
#: words around a number that make it another one, before and behind it
_CHANGED_BEFORE = re.compile(
    r"(?:(?P<sign>±|\+/[-−])\s*|\b(?P<word>(?:is|was|are|were)\s+not|isn't|wasn't|aren't|weren't|not|never|minus|plus|negative|twice|thrice"
    r"|half|double|triple"
    r"|(?:rose|rises|fell|falls|grew|grows|gained|gains|lost|loses|dropped|drops|improved|improves|increased|increases"
    r"|decreased|decreases|shrank|shrinks|up|down|better|worse|higher|lower|off|wrong)\s+by)\s+(?:only\s+)?)[*_`]*\Z",
    re.IGNORECASE,
)
_CHANGED_BEHIND = re.compile(
    r"[*_`)]*[ \u00a0-]?(?P<word>(?:hundred|thousand|million|billion|trillion|dozen|lakh|crore)s?|times\s+\d|squared"
    r"|cubed|per\s+(?!cent\b|mille\b)[a-z]+|(?:percentage\s+)?(?:less|more|fewer|better|worse|higher|lower|faster|slower|smaller|larger)(?:\s+than)?)(?!\w)",
    re.IGNORECASE,
)
#: behind the whole of a share, `990 calls in 1000 are valid`, and not behind `3 steps in 10 runs`
_CLOSED = (
    r"(?:\s+(?:is|are|was|were|pass|fail|get|got|go|went|have|had|work|come|came|end)(?:e?s|ed)?\b|\s*(?:[.,;:!?)|]|$))"
)
#: `34 / 7,184` are two numbers, and `990 / 1000 valid` is a share
_JUDGED = re.compile(r"\b(?:valid|right|correct|pass|fail|accura|score|wrong|exact|solve|success|agree)", re.IGNORECASE)
_EXACT = re.compile(r"\b(?:exactly|precisely)\s+[*_`]*\Z", re.IGNORECASE)
#: between a measured quantity and what it is; and a thing behind a number, which it counts
_SAID = re.compile(
    r"(?:\s+(?:score|value))?[\s*_`\"'\ufffc]*(?:[=!~]=|[=:→]|\b(?:is|was|are|were|of|at|reaches|reached|hits|scores|now|to)\b)?"
    r"(?:\s+(?:about|only|now|exactly|even|up\s+to|still))?[\s*_`|]*",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"[ \u00a0-](?!(?:on|over|for|in|with|and|or|after|at|by|from|than|of|while|but|points?)\b)[^\W\d_]{2,}",
    re.IGNORECASE,
)
_POINTING = {"this", "that", "each", "every", "our", "its", "the"}


@dataclass(frozen=True)
class Claim:
    """A typed claim and the stretch of text it stands in; `numbers` as written, an interval has two."""

    kind: Kind
    start: int
    end: int
    numbers: tuple[str, ...] = ()
    unit: str = ""
    compare: Relation | None = None
    about: bool = False
    #: `~` stands before it
    near: bool = False
    word: str = ""
    #: a denial stands close before its comparison, yet not right before it
    unclear: bool = False
    #: a word right before or behind the number that makes it another one
    changed: str = ""
    #: `exactly` stands before it: it is not rounded
    exact: bool = False
    said: str = ""
    source: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Anchor:
    """What stands behind `evidence:`, and where."""

    start: int
    text: str
    source: tuple[int, int]


@dataclass(frozen=True)
class Block:
    """A stretch of prose whose anchors bear out its own claims, or the lines of a fenced one, each with its place in
    the source, and the anchor before it."""

    claims: tuple[Claim, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    fenced: tuple[tuple[str, int], ...] | None = None
    text: str = ""
    #: of a cell, what stands first in its row and above it
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """All that a text claims; of banned words and named files the words and their place in the source."""

    blocks: tuple[Block, ...]
    banned: tuple[tuple[int, int, str], ...]
    paths: tuple[tuple[int, int, str], ...]


def document(text: str, policy: Policy, *, spoken: bool = False) -> Document:
    """The claims of a markdown text, in the order they stand. Of what is `spoken`, a model's answer, code is read like
    everything else."""
    blocks, banned, paths = list[Block](), list[tuple[int, int, str]](), list[tuple[int, int, str]]()
    stretches = markup.read(text, codes=None if spoken else _number_alone(tuple(policy.units)))
    used = {id(before.anchors[-1]) for before, fence in pairwise(stretches) if _of_fence(before, fence)}
    for index, one in enumerate(stretches):
        anchors = tuple(Anchor(a.at, a.text, a.source) for a in one.anchors if id(a) not in used)
        if one.info is None:
            shown = _ADDRESS.sub(lambda found: markup.HOLE * len(found[0]), one.text)
        elif index and _of_fence(stretches[index - 1], one):
            before = stretches[index - 1].anchors[-1]
            lines = tuple(markup.lines(one))
            blocks.append(Block(anchors=(Anchor(before.at, before.text, before.source),), fenced=lines))
            continue
        elif one.info in policy.code and not spoken:
            continue
        else:
            # nothing can be anchored inside a fence: what it claims needs the record it was taken from
            shown = one.text
        found = tuple(
            replace(
                claim, said=" ".join(shown[claim.start : claim.end].split()), source=one.source(claim.start, claim.end)
            )
            for claim in numerals(shown, policy, spoken=spoken)
        )
        if anchors or found:
            blocks.append(Block(found, anchors, text=shown, context=one.context))
        if one.info is None:
            banned += [(*one.source(*word.span()), word[0]) for word in _words(tuple(policy.banned)).finditer(shown)]
        paths += [
            (*code.source, code.text)
            for code in one.codes
            if _PATH.match(code.text) and code.text.split("/")[0] in policy.paths
        ]
        paths += [
            (*link.source, path)
            for link in one.links
            if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", link.text) and (path := re.split(r"[#?]", link.text)[0])
        ]
    return Document(tuple(blocks), tuple(banned), tuple(paths))


def _of_fence(before: markup.Stretch, fence: markup.Stretch) -> bool:
    """Whether a stretch ends in an anchor of its own line, directly before a fence."""
    if fence.info is None or before.info is not None or not before.anchors:
        return False
    at = before.anchors[-1].at
    return not before.text[before.text.rfind("\n", 0, at) + 1 :].replace(markup.HOLE, "").strip()


def _plain(text: str) -> str:
    """The same text, each place the same, with the digits 0 to 9 and a point for those of other scripts and widths."""
    if not text.isascii():
        text = "".join(_digit(char) for char in text)
        text = re.sub(r"(?<=[0-9])\u066b(?=[0-9])|(?<=\b0)\u00b7(?=[0-9])", ".", text)
    return re.sub(r"(?<![\w.,])(0) ([.,]) ([0-9]+)", r"\1\2\3  ", text)


def _digit(char: str) -> str:
    if char == "\uff0e":
        return "."
    return char if char.isascii() or not char.isdecimal() else str(unicodedata.decimal(char))


def numerals(text: str, policy: Policy, *, spoken: bool = False, glued: bool = False) -> list[Claim]:
    """Every claim of a plain text and every other numeral in it; of what is `spoken` also numbers that are words.
    `glued`: also what a sign or a word makes a name in a document, `#12` or `section 12`; so of what is spoken."""
    text = _plain(text)
    return sorted(_claims(text, 0, len(text), policy, spoken, glued or spoken), key=lambda claim: claim.start)


class Places:
    """Offsets of a text → places for messages."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def of(self, start: int, end: int) -> Place:
        line, last = bisect_right(self._starts, start), bisect_right(self._starts, end)
        return Place(line, start - self._starts[line - 1] + 1, last, end - self._starts[last - 1] + 1, start, end)


@lru_cache(maxsize=64)
def _words(words: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(words, key=len, reverse=True)
    inner = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in longest)
    return re.compile(rf"(?<![\w-])(?:{inner})(?![\w-])", re.IGNORECASE) if words else re.compile(r"(?!)")


@lru_cache(maxsize=8)
def _unit(units: tuple[str, ...]) -> str:
    """A written unit; `640 x 480` has none."""
    words = (re.escape(word).replace(r"\ ", r"\s+") for word in sorted(units, key=len, reverse=True))
    return rf"(?P<unit>{'|'.join(words)})(?![\w/]|(?<=[x×])\s?\d)"


@lru_cache(maxsize=8)
def _number_alone(units: tuple[str, ...]) -> re.Pattern[str]:
    """Code that is nothing but a number: a reader takes it for one."""
    one = NUMERAL.pattern
    return re.compile(rf"[≥≤<>=]{{0,2}}\s*(?:{one}(?:\s?{_unit(units)})?|{one}(?:\s+of\s+|/){one}|\[{one},\s*{one}\])")


@lru_cache(maxsize=8)
def _patterns(units: tuple[str, ...], comparisons: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    unit = _unit(units)
    compare = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(comparisons, key=len, reverse=True))
    compare = rf"(?:(?P<compare>{compare})\s*)"
    one = NUMERAL.pattern
    interval = re.compile(
        rf"{_BEFORE}(?:(?P<level>\d+(?:\.\d+)?)\s*%\s+in\s+)?\[(?P<low>{one}),\s*(?P<high>{one})\](?:\s?{unit})?"
    )
    # `7 of 9`, `7/9`, `7 right answers of 9`
    share = re.compile(
        rf"{compare}?{_BEFORE}(?P<k>{one})(?:\s+(?:[a-z]{{2,20}}\s+){{0,2}}of\s+(?:every\s+)?|\s?/\s?"
        rf"|\s+in\s+(?:every\s+)?(?=10+\b)|\s+(?:[a-z]{{2,20}}\s+){{1,2}}in\s+(?:every\s+)?(?=10+{_CLOSED}))"
        rf"(?P<n>{one}){_AFTER}(?!(?<=0)\s?{_unit(units).replace('?P<unit>', '?:')})",
        re.IGNORECASE,
    )
    span = re.compile(rf"{_BEFORE}(?P<low>{one})\s?[-–—]\s?(?P<high>{one})(?:[\s-]?{unit})?{_AFTER}")
    number = re.compile(
        rf"(?:{compare}|(?P<about>\babout\s+)|(?P<near>[~≈∼≃≅]\s?))?{_BEFORE}{_NUMBER}"
        rf"(?:[\s-]?{unit}|\s+(?P<times>times)(?={COMPARED}))?{_AFTER}",
        re.IGNORECASE,
    )
    return interval, share, span, number


def _claims(text: str, start: int, end: int, policy: Policy, spoken: bool, glued: bool) -> Iterator[Claim]:
    interval, share, span, number = _patterns(tuple(policy.units), tuple(policy.comparisons))
    taken: list[tuple[int, int]] = []

    def unread(first: int, last: int) -> bool:
        """Whether nothing was read there; what was read does not overlap, so that its neighbours are enough."""
        at = bisect_left(taken, (first, last))
        return not (at and taken[at - 1][1] > first) and not (at < len(taken) and taken[at][0] < last)

    def free(found: re.Match[str]) -> bool:
        return unread(*found.span())

    words = {word.lower(): relation for word, relation in policy.comparisons.items()}
    units = {word.lower(): word for word in reversed(policy.units)}

    def unit_of(found: re.Match[str]) -> str:
        unit = " ".join((found["unit"] or "").split())
        if found.groupdict().get("times"):
            return "×"
        return unit if unit in policy.units else units.get(unit.lower(), "")

    def compared(found: re.Match[str]) -> tuple[Relation | None, bool]:
        """How a value relates to what is written, and whether a denial stands close before."""
        compare = words.get(" ".join((found["compare"] or "").lower().split()))
        if compare and NOT.search(words_before(text, start, found.start(), 1)):
            return OPPOSITE[compare], False
        return compare, bool(compare) and denied(text, start, found.start())

    def changed(found: re.Match[str], number: str) -> str:
        """A word beside a number that makes it another one: its value is not what is written."""
        before = "" if found["compare"] else text[max(start, found.start(number) - 30) : found.start(number)]
        times = found.groupdict().get("times")
        there = _CHANGED_BEFORE.search(before)
        there = there if there or times else _CHANGED_BEHIND.match(text, found.end(), min(end, found.end() + 30))
        if there is None:
            return ""
        said = there.groupdict()
        return " ".join((said["word"] or said.get("sign") or "").lower().split())

    for found in interval.finditer(text, start, end):
        insort(taken, found.span())
        level = found["level"] or ""
        yield Claim("interval", *found.span(), (found["low"], found["high"]), unit_of(found), word=level)
    for found in share.finditer(text, start, end):
        two = " / " in found[0] and not _JUDGED.search(text, max(start, found.start() - 40), min(end, found.end() + 40))
        if free(found) and not two and (glued or not _glued(text, found.start("k"))):
            insort(taken, found.span())
            compare, unclear = compared(found)
            other = changed(found, "k")
            yield Claim("share", *found.span(), (found["k"], found["n"]), "", compare, unclear=unclear, changed=other)
    names = {name.lower() for name in policy.names}
    for found in span.finditer(text, start, end):
        sure = _sure(found["low"] + found["high"], unit_of(found))
        if (
            free(found)
            and sure != "bare"
            and (glued or not _named(text, start, found.start("low"), names, unit_of(found)))
        ):
            insort(taken, found.span())
            for name in ("low", "high"):
                yield Claim(sure, *found.span(name), (found[name],), unit_of(found))
    for found in number.finditer(text, start, end):
        if free(found) and (glued or not _named(text, start, found.start("number"), names, unit_of(found))):
            unit, first = unit_of(found), found.start("number")
            sure, measure = _sure(found["number"], unit), _measure(text, start, first, end, found.end(), policy)
            if _glued(text, first) and not (glued or unit or measure):
                continue
            if sure == "bare" and measure:
                sure = "number"
            compare, unclear = compared(found)
            if compare:
                insort(taken, found.span())
            kind: Kind = "comparison" if compare and sure != "bare" else sure
            about = found["about"] is not None
            other = changed(found, "number")
            said = (found["number"],)
            exact = _EXACT.search(text, max(start, first - 20), first) is not None
            yield Claim(
                kind, *found.span(), said, unit, compare, about, found["near"] is not None,
                unclear=unclear, changed=other, exact=exact,
            )  # fmt: skip
    in_words = () if spoken else amounts(text, start, end, policy)
    for one in (*in_words, *parts(text, start, end, wide=not spoken), *spelled(text, start, end, alone=spoken)):
        if unread(one.start, one.end):
            insort(taken, (one.start, one.end))
            compare = one.compare
            if compare and NOT.search(words_before(text, start, one.start, 1)):
                compare = OPPOSITE[compare]
            yield Claim(one.kind, one.start, one.end, one.numbers, one.unit, compare, changed=one.changed)
    for found in _words(tuple(policy.relations)).finditer(text, start, end):
        if free(found) and not denied(text, start, found.start()):
            yield Claim("relation", *found.span(), word=" ".join(found[0].lower().split()))
    if not spoken:
        for first, last, word in significances(text):
            yield Claim("significance", first, last, word=word)
        for all_ in ALL.finditer(text, start, end):
            if not denied(text, start, all_.start()):
                yield Claim("whole", *all_.span())
    for status in policy.statuses:
        for found in _words(tuple(status.words)).finditer(text, start, end):
            if not denied(text, start, found.start()):
                yield Claim("status", *found.span(), word=status.name)


def _sure(number: str, unit: str) -> Kind:
    return "number" if unit else "decimal" if not number.replace("-", "").replace("−", "").isdigit() else "bare"


def _measure(text: str, start: int, at: int, end: int, behind: int, policy: Policy) -> bool:
    """Whether a whole number is said of a measured quantity: `F1 is 99`, and neither `recall 3 rows` nor `F1 of 3`."""
    clause = text[max(start, at - 60) : at]
    before = [found.end() for found in _words(tuple(policy.measures)).finditer(clause)]
    said = bool(before) and _SAID.fullmatch(clause, before[-1])
    return bool(said) and not _COUNTED.match(text, behind, end)


def _named(text: str, start: int, at: int, names: Collection[str], unit: str) -> bool:
    """Whether a number is a part of a name: `section 7.7`, and neither `this section 0.7` nor `section 7 %`."""
    before = text[max(start, at - 30) : at].split()[-2:]
    return not unit and bool(before) and before[-1].lower() in names and before[0].lower() not in _POINTING


def _glued(text: str, at: int) -> bool:
    """Whether a number stands right behind a sign that makes it a name: `#12`, `@12`, `name==12`."""
    return text[max(0, at - 1) : at] in ("#", "@", "/", "^") or text[max(0, at - 2) : at] in ("==", "!=", "~=")
