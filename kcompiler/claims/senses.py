"""The words around a claim × the key of its evidence → whether both mean the same of it.

`Wrong in 200 of 200` is not borne out by 200 that were right, and `at most 4.6 ms` not by a median: half of all are
above it. What says one or the other is data (`senses`, `bounds` and `quantiles` of the policy); a key that names none
of them may be of any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from kcompiler.claims.clause import sentence
from kcompiler.claims.evidence import Found
from kcompiler.claims.extract import Block, Claim
from kcompiler.claims.policy import Policy

#: how far from a claim its words are looked for
_NEAR = 160
_NOT = re.compile(
    r"(?:\b(?:not|never|no|none|nothing|nobody|cannot|hardly|rarely|barely|seldom|anything\s+but|fail(?:s|ed)?\s+to)|n't)\s+"
    r"(?:(?:a|is|are|was|were|be|been|being|get|gets|got|yet|quite|always|[a-z]+ly)\s+){0,2}\Z",
    re.IGNORECASE,
)
#: between the word and the number behind it: `wrong in`, `errors:`, `right answers are`
_TO = (
    r"(?:\s+(?:answers?|rows?|calls?|items?|rate|count))?[\s*_`:=|]+"
    r"(?:(?:in|on|for|at|of|is|was|are|were|about|only|all|exactly)\s+)*[*_`]*\Z"
)
#: between a number and the word behind it; a conjunction begins something else
_FROM = (
    r"[\s*_`)]*(?:(?!(?:and|but|or|while|whereas|than|then|if|when|because|as|like|with|without|from|to)\b)"
    r"[a-z'’-]+\s+){0,6}?[*_`]*"
)


def of_another(claim: Claim, since: int, target: str, found: Found, block: Block, policy: Policy) -> str:
    """Why evidence is not of what the words around a claim say, or nothing. `since` is where the number before ends.

    Asked are the words right before and right behind the claim, then its clause, then the context of a cell."""
    if not claim.unit or (policy.unit(claim.unit) or ("",))[0] == "ratio":
        words = _said(block.text, since, claim.start, claim.end, block.context, policy)
        if words and _opposite(words, target.partition("#")[2], found.lines, policy):
            return f"it counts the opposite of `{words}`"
    if named := _quantile(claim, target, block, policy):
        return f"it is the {named}, and of all values it shows nothing: name the {named} beside the number"
    return ""


def reversed_relation(text: str, start: int, sides: Sequence[str], policy: Policy) -> str:
    """Which word says of a relation, `is wrong more often than`, the opposite of what a side's key counts, if any."""
    found = _before(text, max(0, start - _NEAR), start, policy)
    keys = [side.partition("#")[2] for side in sides]
    return found if found and any(_opposite(found, key, (), policy) for key in keys) else ""


def _quantile(claim: Claim, target: str, block: Block, policy: Policy) -> str:
    """Which quantile the evidence is of, where the words say that no value is beyond the number, as a comparison does,
    and do not name it; or nothing."""
    text, start, end = block.text, claim.start, claim.end
    key = set(_parts(target.partition("#")[2]))
    known = {name for names in policy.quantiles.values() for name in names} - set(policy.bounds.keys)
    quantile = sorted(key & known)
    if not quantile or key & set(policy.bounds.keys):
        return ""
    bound = _pattern(tuple(policy.bounds.words)).pattern
    before = re.search(rf"{bound},?\s+[*_`]*\Z", text[max(0, start - 40) : start], re.IGNORECASE)
    behind = re.match(rf"[\s*_`,]*{bound}", text[end : end + 40], re.IGNORECASE)
    if not (claim.compare or before or behind):
        return ""
    first, last = sentence(text, start, end)
    names = _pattern(tuple(phrase for phrase, parts in policy.quantiles.items() if set(parts) & set(quantile)))
    return "" if any(names.search(one) for one in (text[first:last], *block.context)) else quantile[0]


def _said(text: str, since: int, start: int, end: int, context: Sequence[str], policy: Policy) -> str:
    """The word of a sense that is said of a claim, with `not` before it where that is said."""
    first = max(since, start - _NEAR)
    if found := _before(text, first, start, policy):
        return found
    pattern = _senses(policy)
    if behind := re.match(_FROM + pattern.pattern, text[end : end + _NEAR], re.IGNORECASE):
        return _denied(text, end, end + behind.start(1), behind[1])
    clause = re.split(r"[.;,!?](?=\s|$)", text[first:start])[-1]
    for words in (clause, *context):
        said = [_denied(words, 0, one.start(1), one[1]) for one in pattern.finditer(words)]
        if said and len({(_sense(one, policy), one.startswith("not ")) for one in said}) == 1:
            return said[-1]
    return ""


def _before(text: str, first: int, start: int, policy: Policy) -> str:
    """The word of a sense right before a place."""
    clause = re.split(r"[.;,!?](?=\s|$)", text[first:start])[-1]
    found = re.search(rf"{_senses(policy).pattern}(?:{_TO}|\s*\Z)", clause, re.IGNORECASE)
    if found is None:
        return ""
    return _denied(clause, 0, found.start(1), found[1])


def _denied(text: str, first: int, at: int, word: str) -> str:
    plain = " ".join(word.lower().split())
    return f"not {plain}" if _NOT.search(text[max(first, at - 60) : at]) else plain


def _sense(word: str, policy: Policy) -> str:
    plain = word.removeprefix("not ")
    return next(name for name, one in policy.senses.items() if plain in (each.lower() for each in one.words))


def _opposite(word: str, key: str, lines: Sequence[str], policy: Policy) -> bool:
    """Whether a key, or a recorded line, names another sense than a word: the last that a key names counts, and a line
    that names several has none."""
    if lines:
        said = [_denied(lines[0], 0, one.start(1), one[1]) for one in _senses(policy).finditer(lines[0])]
        if len({(_sense(one, policy), one.startswith("not ")) for one in said}) != 1:
            return False
        return not _agree(word, _sense(said[0], policy), said[0].startswith("not "), policy)
    parts = _parts(key)
    there = [name for part in parts for name, one in policy.senses.items() if part in one.keys]
    return bool(there) and not _agree(word, there[-1], False, policy)


def _agree(word: str, sense: str, denied: bool, policy: Policy) -> bool:
    return (_sense(word, policy) == sense) == (word.startswith("not ") == denied)


def _parts(key: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", key.lower())


def _senses(policy: Policy) -> re.Pattern[str]:
    return _pattern(tuple(word for one in policy.senses.values() for word in one.words))


@lru_cache(maxsize=16)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(phrases, key=len, reverse=True)
    inner = "|".join(re.escape(phrase).replace(r"\ ", r"\s+") for phrase in longest)
    return re.compile(rf"(?<![\w-])({inner})(?![\w-])" if phrases else r"((?!))", re.IGNORECASE)
