"""Markdown text → its blocks, and the claims, anchors, banned words and named files in each, with their places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from kcompiler.claims.evidence import NUMERAL
from kcompiler.claims.policy import Policy, Relation
from kcompiler.diagnostic import Place

Kind = Literal["number", "decimal", "bare", "share", "interval", "comparison", "relation", "status"]

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*([\w-]*)")
_ANCHOR = re.compile(r"<!--\s*evidence:\s*(?P<hidden>.*?)\s*-->|\[evidence:\s*(?P<shown>[^\]]*?)\s*\]", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\(\s*([^)\s]+)[^)]*\)|<(https?:[^>]+)>|\bhttps?://\S+")
#: a table's cell, a list's item, a heading: a claim and its anchor stand in the same one
_BREAK = re.compile(r"(?<!\\)\||\n(?=\s*(?:[-*+]|\d+[.)])\s)|\n(?=#)|\n\s*\n")
_PATH = re.compile(r"[A-Za-z0-9_.@-]+(?:/[A-Za-z0-9_.@<>*-]+)+/?\Z")
_NOT = re.compile(r"\b(?:not|no|never|nor|cannot|neither|without|before|pending|until|isn't|aren't|wasn't|n't)\b", re.I)
#: words of a denial that deny nothing
_SURE = re.compile(
    r"\b(?:(?:without|no|beyond)(?: an?| any)? (?:doubt|question)|never before|not (?:only|just|merely|least))\b", re.I
)
_OPPOSITE: Mapping[Relation, Relation] = {">": "<=", "<": ">=", ">=": "<", "<=": ">"}
_NUMBER = rf"(?P<number>{NUMERAL.pattern})"
#: what makes a numeral part of a name, a version or a date and no claim
_BEFORE = r"(?<![\w.,:/#=@^~$\-−])"
_AFTER = r"(?![\w]|[.,:/]\d|-[A-Za-z0-9])"


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
    word: str = ""
    #: a denial stands close before its comparison, yet not right before it
    unclear: bool = False


@dataclass(frozen=True)
class Anchor:
    """What stands behind `evidence:`, and where."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Block:
    """A stretch of prose whose anchors bear out its own claims, or a fenced one with the anchor before it."""

    claims: tuple[Claim, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    fenced: tuple[int, int] | None = None


@dataclass(frozen=True)
class Document:
    """All that a text claims."""

    blocks: tuple[Block, ...]
    banned: tuple[tuple[int, int], ...]
    paths: tuple[tuple[int, int, str], ...]


def document(text: str, policy: Policy) -> Document:
    """The claims of a markdown text, in the order they stand."""
    prose, fences = _fences(text)
    anchors = [
        Anchor(found.start(), found.end(), (found["hidden"] if found["hidden"] is not None else found["shown"]).strip())
        for found in _ANCHOR.finditer(_blank(prose, _CODE))
    ]
    codes = [(found.start(2), found.end(2), found[2]) for found in _CODE.finditer(_blank(prose, _COMMENT))]
    bare = _blank(_blank(_blank(prose, _ANCHOR), _COMMENT), _CODE)
    links = [(found.start(1), found.end(1), found[1]) for found in _LINK.finditer(bare) if found[1]]
    bare = _blank(bare, _LINK)
    blocks, used = [], set[int]()
    for start, end, typed in fences:
        before = [anchor for anchor in anchors if anchor.end <= start and not prose[anchor.end : start].strip()]
        if before:
            used.add(before[-1].start)
            blocks.append(Block(anchors=(before[-1],), fenced=(start, end)))
        elif not typed:
            # nothing can be anchored inside a fence: what it claims needs the record it was taken from
            blocks.append(Block(claims=tuple(_claims(text, start, end, policy))))
    for start, end in _spans(bare, [(anchor.start, anchor.end) for anchor in anchors]):
        mine = tuple(a for a in anchors if start <= a.start < end and a.start not in used)
        found = tuple(sorted(_claims(bare, start, end, policy), key=lambda claim: claim.start))
        if mine or found:
            blocks.append(Block(claims=found, anchors=mine))
    banned = tuple((found.start(), found.end()) for found in _words(tuple(policy.banned)).finditer(bare))
    named = [(a, b, path) for a, b, path in codes if _PATH.match(path) and path.split("/")[0] in policy.paths]
    named += [(a, b, path.split("#")[0]) for a, b, path in links if not re.match(r"[a-z]+:|#", path)]
    return Document(tuple(blocks), banned, tuple(sorted(named)))


def numerals(text: str, policy: Policy) -> list[Claim]:
    """Every claim of a plain text and every other numeral in it."""
    return sorted(_claims(text, 0, len(text), policy), key=lambda claim: claim.start)


def place(text: str, start: int, end: int) -> Place:
    """Where a stretch of text stands, for a message."""
    line = text.count("\n", 0, start) + 1
    last = text.count("\n", 0, end) + 1
    column = start - (text.rfind("\n", 0, start) + 1) + 1
    return Place(line, column, last, end - (text.rfind("\n", 0, end) + 1) + 1, start, end)


def _fences(text: str) -> tuple[str, list[tuple[int, int, bool]]]:
    """The text with fenced blocks blanked, where their contents stand, and whether that is code to be typed."""
    out, spans, open_mark, begun, offset, typed = [], list[tuple[int, int, bool]](), "", 0, 0, False
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if open_mark:
            if found and found[1][0] == open_mark[0] and len(found[1]) >= len(open_mark) and not found[2]:
                spans.append((begun, offset, typed))
                open_mark = ""
            out.append(_spaces(line))
        elif found:
            open_mark, begun, typed = found[1], offset + len(line), found[2] not in ("", "text", "console")
            out.append(_spaces(line))
        else:
            out.append(line)
        offset += len(line)
    if open_mark:
        spans.append((begun, offset, typed))
    return "".join(out), spans


def _spaces(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _blank(text: str, pattern: re.Pattern[str]) -> str:
    return pattern.sub(lambda found: _spaces(found[0]), text)


def _spans(text: str, anchors: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The blocks of a text; what looks like a break inside an anchor is none."""
    start = 0
    for found in _BREAK.finditer(text):
        if not any(a <= found.start() < b for a, b in anchors):
            yield start, found.start()
            start = found.end()
    yield start, len(text)


@lru_cache(maxsize=64)
def _words(words: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(words, key=len, reverse=True)
    inner = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in longest)
    return re.compile(rf"(?<![\w-])(?:{inner})(?![\w-])", re.IGNORECASE) if words else re.compile(r"(?!)")


@lru_cache(maxsize=8)
def _patterns(
    units: tuple[str, ...], comparisons: tuple[str, ...]
) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    unit = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(units, key=len, reverse=True))
    compare = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(comparisons, key=len, reverse=True))
    one = NUMERAL.pattern
    interval = re.compile(
        rf"{_BEFORE}(?:(?P<level>\d+(?:\.\d+)?)\s*%\s+in\s+)?\[(?P<low>{one}),\s*(?P<high>{one})\]"
        rf"(?:\s?(?P<unit>{unit})(?![\w/]))?"
    )
    share = re.compile(rf"{_BEFORE}(?P<k>{one})(?:\s+of\s+|/)(?P<n>{one}){_AFTER}")
    number = re.compile(
        rf"(?:(?P<compare>{compare})\s*|(?P<about>\babout\s+))?{_BEFORE}{_NUMBER}"
        rf"(?:[\s-]?(?P<unit>{unit})(?![\w/]))?{_AFTER}"
    )
    return interval, share, number


def _claims(text: str, start: int, end: int, policy: Policy) -> Iterator[Claim]:
    interval, share, number = _patterns(tuple(policy.units), tuple(policy.comparisons))
    taken: list[tuple[int, int]] = []

    def free(found: re.Match[str]) -> bool:
        return not any(a < found.end() and found.start() < b for a, b in taken)

    for found in interval.finditer(text, start, end):
        taken.append(found.span())
        level = found["level"] or ""
        yield Claim("interval", *found.span(), (found["low"], found["high"]), found["unit"] or "", word=level)
    for found in share.finditer(text, start, end):
        if free(found):
            taken.append(found.span())
            yield Claim("share", *found.span(), numbers=(found["k"], found["n"]))
    words = {word.lower(): relation for word, relation in policy.comparisons.items()}
    names = {name.lower() for name in policy.names}
    for found in number.finditer(text, start, end):
        before = text[max(start, found.start("number") - 30) : found.start("number")].split()
        if free(found) and not (before and before[-1].lower() in names):
            compare = words.get(" ".join((found["compare"] or "").lower().split()))
            unit = " ".join((found["unit"] or "").split())
            sure: Kind = "number" if unit else "decimal" if "." in found["number"] else "bare"
            kind: Kind = "comparison" if compare and sure != "bare" else sure
            unclear = False
            if compare:
                taken.append(found.span())
                if _NOT.search(_words_before(text, start, found.start(), 1)):
                    compare = _OPPOSITE[compare]
                else:
                    unclear = _denied(text, start, found.start())
            about = found["about"] is not None
            yield Claim(kind, *found.span(), (found["number"],), unit, compare, about, unclear=unclear)
    for found in _words(tuple(policy.relations)).finditer(text, start, end):
        if free(found) and not _denied(text, start, found.start()):
            yield Claim("relation", *found.span(), word=" ".join(found[0].lower().split()))
    for status in policy.statuses:
        for found in _words(tuple(status.words)).finditer(text, start, end):
            if not _denied(text, start, found.start()):
                yield Claim("status", *found.span(), word=status.name)


def _denied(text: str, start: int, at: int) -> bool:
    """Whether one of the three words before a place, in the same clause, denies what follows."""
    return bool(_NOT.search(_words_before(text, start, at, 3)))


def _words_before(text: str, start: int, at: int, most: int) -> str:
    clause = re.split(r"[,;:!?]|\.\s", " ".join(text[max(start, at - 60) : at].split()) + " ")[-1]
    return " ".join(_SURE.sub(" ", clause).split()[-most:])
