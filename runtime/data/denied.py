"""A place in an answer → whether the answer says what stands there, or denies it, or leaves it open. Standard library.

A negation denies what follows it closely within its clause (English and German); one that only bounds a value ("not
only", "no later than") does not. What "or" joins to something else is left open.
"""

from __future__ import annotations

import re

#: words between a negation and what it denies, at most
_REACH = 4
#: characters that are looked at on either side of a place
_NEAR = 120
_NOT = re.compile(
    r"\b(?:not|never|no(?!\.?\s*\d)|neither|nor|without|cannot|\w+n['’]t|nicht|nie|niemals|kein\w{0,2}|ohne|weder|noch)\b"
    r"(?!\s+(?:only|just|later|more|less|earlier|sooner|before|until|doubt|problem|nur|später|mehr|weniger|früher|vor))",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.,;:!?](?=\s|$)|\n|\s[-–—]\s|\b(?:but|and|sondern|aber|und)\b", re.IGNORECASE)
_UNTRUE = re.compile(r"\W*\s+(?:is|are|was|were|ist|sind|war)\s+(?:wrong|false|untrue|falsch)\b", re.IGNORECASE)
_OPEN_BEFORE = re.compile(r"\b(?:or|oder)\s+[^\w\s]*$", re.IGNORECASE)
_OPEN_BEHIND = re.compile(r"[^\w\s]*,?\s+(?:or|oder)\b", re.IGNORECASE)


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands from `start` to `end` is denied or left open."""
    before, behind = text[max(0, start - _NEAR) : start], text[end : end + _NEAR]
    if _OPEN_BEFORE.search(before) or _OPEN_BEHIND.match(behind) or _UNTRUE.match(behind):
        return True
    clause = _CLAUSE.split(before)[-1]
    nots = [*_NOT.finditer(clause)]
    return bool(nots) and len(clause[nots[-1].end() :].split()) <= _REACH
