"""The words around a claim × the places its evidence names → whether both speak of the same things.

`Error rate 0.87` is not borne out by an F1 of 0.87, `p99 0.9 s` not by a median, `the student gets 0.87` not by what
the teacher gets, and `n = 5000, F1 0.87` not by one of a thousand items.
`The teacher is higher than the student` is not borne out by the student's value above the teacher's. What words a thing
goes by is data (`subjects` of the policy); a thing that is not listed there is known by the parts in which the names of
both places differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from kcompiler.claims import spelled
from kcompiler.claims.evidence import NUMERAL
from kcompiler.claims.policy import Policy
from kcompiler.claims.spelled import ITEMS

#: how far from a relation its subjects are looked for
_NEAR = 160


def astray(text: str, start: int, end: int, sides: tuple[str, str], policy: Policy) -> str:
    """What is wrong with the places of a relation that stands in a text from `start` to `end`, or nothing."""
    clause = re.split(r"[.;!?](?=\s|$)", text[max(0, start - _NEAR) : start])[-1].lower()
    behind = re.split(r"[.;,!?](?=\s|$)", text[start : end + _NEAR])[0].lower()
    # `above the teacher` names its second thing itself
    left, right = (set(_parts(side)) for side in sides)
    for words, mine, other in ((clause, left, right), (behind, right, left)):
        things = [(found.start(), name) for found, name in _things(words, policy)]
        if things:
            _, name = max(things) if words is clause else min(things)
            if not name & mine:
                return f"`{sorted(name)[0]}` is named, and `{sides[words is behind]}` is not of it"
        else:
            here = set(re.findall(r"[\w]+", words))
            if here & (other - mine) and not here & (mine - other):
                return f"`{sorted(here & (other - mine))[0]}` is named on the other side"
    return ""


def mismeasured(text: str, start: int, end: int, target: str, context: Sequence[str], policy: Policy) -> str:
    """Which measured quantity, or which of its quantiles, is named beside a number that stands in a text from `start`
    to `end`, where its evidence is of another one; or nothing. A key that names no known one may be of any. Of a cell
    `context` is what stands first in its row and above it: it is asked where the cell itself names nothing."""
    return next(
        (
            one
            for table in (policy.measures, policy.quantiles)
            if (one := _other(table, text, start, end, target, context))
        ),
        "",
    )


def _other(
    table: Mapping[str, Sequence[str]], text: str, start: int, end: int, target: str, context: Sequence[str]
) -> str:
    pattern, known = _pattern(tuple(table)), {name.lower(): names for name, names in table.items()}
    # decimals hold no end of a clause
    clause = re.split(r"[.;,!?](?=\s|$)", text[max(0, start - _NEAR) : start])[-1].lower()
    behind = re.match(r"[\s*_`)]*(?:of\s+)?", text[end : end + _NEAR])
    assert behind is not None
    named = pattern.findall(clause)
    if not named and (right := pattern.match(text[end : end + _NEAR].lower(), behind.end())):
        named = [right[0]]
    named = named or next((found for one in context if (found := pattern.findall(one.lower()))), [])
    parts, key = set(_parts(target)), set(_parts(target.partition("#")[2]))
    here = [" ".join(one.split()) for one in named]
    if not here or any(parts & set(known[one]) for one in here):
        return ""
    return here[-1] if key & {name for names in known.values() for name in names} else ""


def of_other(text: str, since: int, start: int, end: int, target: str, context: Sequence[str], policy: Policy) -> str:
    """Whose number it is said to be, where its evidence is somebody else's; or nothing. Asked are the words of its
    clause behind `since`, where the number before ends, then those right behind it, then the context of a cell. A key
    that names nobody known may be of anybody."""
    before = re.split(r"[.;!?](?=\s|$)", text[max(since, start - _NEAR) : start])[-1].lower()
    behind = re.split(r"[.;:,!?](?=\s|$)|\d", text[end : end + _NEAR])[0].lower()
    for words, last in ((before, True), (behind, False), *((one.lower(), False) for one in context)):
        things = [(found, names) for found, names in _things(words, policy) if not _beside(words, found)]
        if things:
            found, names = things[-1] if last else things[0]
            key = set(_parts(target.partition("#")[2]))
            somebody = {name for names in policy.subjects.values() for name in names}
            return " ".join(found[0].split()) if key & somebody and not key & names else ""
    return ""


_THAN = re.compile(
    r"\b(?:than|behind|above|below|over|under|as|like|unlike|beats?|from|of|to|by|for|against|and|or)\s+(?:(?:the|its|an?)\s+)?\Z"
)
_HAS = re.compile(r"[\s*_`]*(?:=|\b(?:with|gets?|got|at|has|had|reach(?:es|ed)?|is|was|scores?)\b)")


def _beside(words: str, found: re.Match[str]) -> bool:
    """Whether a thing is only what something else is compared with: `more than the teacher`."""
    return bool(_THAN.search(words[: found.start()])) and not _HAS.match(words, found.end())


_COUNT = re.compile(
    rf"(?<![\w.])[nN]\s?=\s?(?P<n>{NUMERAL.pattern})(?![\w.]\w)"
    rf"|\b(?:over|on|across|among|with)\s+(?:all\s+)?(?P<items>{NUMERAL.pattern})\s+(?:[a-z-]+\s+){{0,2}}{ITEMS}\b",
    re.IGNORECASE,
)


def counted(text: str, start: int, end: int) -> list[tuple[int, int, str]]:
    """Of how many items a number is said to be in its own sentence: each place, and the numeral that stands there."""
    before = re.split(r"[.;!?](?=\s|$)|\n\s*\n", text[max(0, start - _NEAR) : start])[-1]
    behind = re.split(r"[.;!?](?=\s|$)|\n\s*\n", text[end : end + _NEAR])[0]
    first = start - len(before)
    found = []
    for match in _COUNT.finditer(text, first, end + len(behind)):
        name = "n" if match["n"] else "items"
        if match.end(name) <= start or match.start(name) >= end:
            found.append((match.start(name), match.end(), match[name]))
    words = spelled.counts(text, first, end + len(behind))
    return found + [one for one in words if one[1] <= start or one[0] >= end]


def _parts(target: str) -> Iterator[str]:
    """The words of a place's name: `a/kd.json#data.right.student` has student, and student alone of a join."""
    for part in re.split(r"[./#:]", target.lower()):
        yield part
        yield from re.split(r"[_ -]", part)


def _things(words: str, policy: Policy) -> Iterator[tuple[re.Match[str], frozenset[str]]]:
    phrases = tuple((phrase, tuple(names)) for phrase, names in policy.subjects.items())
    pattern = _pattern(tuple(phrase for phrase, _ in phrases))
    known = {phrase.lower(): frozenset(names) for phrase, names in phrases}
    for found in pattern.finditer(words):
        yield found, known[" ".join(found[0].split())]


@lru_cache(maxsize=8)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(phrases, key=len, reverse=True)
    inner = "|".join(re.escape(phrase.lower()).replace(r"\ ", r"\s+") for phrase in longest)
    return re.compile(rf"\b(?:{inner})\b" if phrases else r"(?!)")
