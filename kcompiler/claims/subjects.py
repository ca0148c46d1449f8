"""The words around a relation × the two places its evidence names → whether both speak of the same things.

`The teacher is higher than the student` is not borne out by the student's value above the teacher's. What words a thing
goes by is data (`subjects` of the policy); a thing that is not listed there is known by the parts in which the names of
both places differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from kcompiler.claims.policy import Policy

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
