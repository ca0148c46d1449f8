"""A place in an answer → whether the answer says what stands there, or denies it, or leaves it open. Standard library.

A negation denies what follows it closely within its clause (English and German); one that only bounds a value ("not
only", "no later than") does not. "It is not true that" denies to the end of its sentence. What is called wrong behind
its place or by the next sentence, what is asked, and what "or" joins to something else is not said either. Language
denies in more ways than these: who reads answers for a living reads the worst of them, too (`show items --worst`).
"""

from __future__ import annotations

import re

#: words between a negation and what it denies, at most
_REACH = 4
#: characters that are looked at on either side of a place, and those of a sentence
_NEAR, _SENTENCE = 120, 400
_NEGATED = r"(?:not|never|nicht|niemals|hardly|kaum|\w+n['’]t)"
_NOT = re.compile(
    r"\b(?:not|never|no(?!\.?\s*\d)|neither|nor|without|cannot|\w+n['’]t|nicht|nie|niemals|kein\w{0,2}|ohne|weder|noch"
    r"|hardly|barely|scarcely|kaum|anything\s+but|alles\s+andere\s+als|rather\s+than|instead\s+of|statt"
    r"|doubt\w{0,3}|bezweif\w{1,4}|den(?:y|ies|ied|ying)|unlikely)\b"
    r"(?!\s+(?:only|just|later|more|less|earlier|sooner|before|until|doubt|problem|nur|später|mehr|weniger|früher|vor))",
    re.IGNORECASE,
)
_NO_DOUBT = re.compile(
    r"\b(?:no|without|beyond|not|never|any|kein\w{0,2}|\w+n['’]t)(?:\s+a)?\s+doubt\w{0,3}\b", re.IGNORECASE
)
_CLAUSE = re.compile(
    r"[.,;:!?](?=\s|$)|\n|\s[-–—]\s|\b(?:(?<!anything )but|and|sondern|aber|und)\b",
    re.IGNORECASE,
)
_END = re.compile(r"[.!?](?=\s|$)|\n|\b(?:(?<!anything )but|sondern|aber)\b", re.IGNORECASE)
_FALSE = r"(?:wrong|false|untrue|incorrect|inaccurate|mistaken|impossible|a\s+lie|falsch|unwahr|unrichtig|gelogen)"
_TRUE = r"(?:right|true|correct|so|the\s+case|richtig|wahr|korrekt|der\s+Fall)"
_BE = r"(?:is|are|was|were|ist|sind|war|waren)"
_BE_NOT = rf"(?:(?:is|are|was|were)n['’]t|{_BE}\s+(?:not|never|nicht|kein\w{{0,2}}))"
#: what the words right behind a place say of it
_UNTRUE = re.compile(
    rf"[^\w\n]*\s+(?:{_BE}\s+(?:\w+\s+)?{_FALSE}|{_BE_NOT}\s+(?:{_TRUE}|the|its?|an?|what|where|either|der|die|das))\b",
    re.IGNORECASE,
)
#: the next sentence, or the rest of this one, takes it back
_TAKEN_BACK = re.compile(
    rf"(?:[.!;,:]|\s[-–—])\s+(?:(?:but|and|no|which|aber|was)\W+)*(?:that|this|it|which|das|dies|es|was)(?:\s+{_BE}\s+(?:\w+\s+)?{_FALSE}|"
    rf"\s+{_BE_NOT}\s+{_TRUE}|['’]s\s+(?:\w+\s+)?{_FALSE}|['’]s\s+not\s+{_TRUE})\b|[.!;,:]\s+(?:not\s+true|just\s+kidding|not)\s*(?:[.!]|$)",
    re.IGNORECASE,
)
#: a sentence whose that-clause is called wrong
_NOT_THAT = re.compile(
    rf"(?:\b{_NEGATED}\s+(?:\w+\s+){{0,2}}{_TRUE}|\b{_FALSE})\b[^.!?\n]*\b(?:that|dass)\b", re.IGNORECASE
)
_OPEN_BEFORE = re.compile(r"\b(?:or|oder)\s+[^\w\s]*$", re.IGNORECASE)
_OPEN_BEHIND = re.compile(r"[^\w\s]*,?\s+(?:or|oder)\b", re.IGNORECASE)
_INVERTED = re.compile(
    r"\s*(?:(?:is|are|was|were|does|do|did|could|might|would|should|can|ist|sind|war|könnte|kann)\b)", re.IGNORECASE
)


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands from `start` to `end` is denied, asked, or left open."""
    before, behind = text[max(0, start - _NEAR) : start], text[end : end + _NEAR]
    if _OPEN_BEFORE.search(before) or _OPEN_BEHIND.match(behind) or _UNTRUE.match(behind):
        return True
    if _asked(text, start, end) or _taken_back(text, end):
        return True
    sentence = _END.split(text[max(0, start - _SENTENCE) : start])[-1]
    if _NOT_THAT.search(sentence):
        return True
    clause = _NO_DOUBT.sub("", _CLAUSE.split(before)[-1])
    nots = [*_NOT.finditer(clause)]
    return bool(nots) and len(clause[nots[-1].end() :].split()) <= _REACH


def denied_everywhere(text: str, places: list[tuple[int, int]]) -> bool:
    """Whether every place of a value denies it; of no place at all nothing is known: False."""
    return bool(places) and all(denied(text, *at) for at in places)


def _asked(text: str, start: int, end: int) -> bool:
    """Whether a place stands in a question: its clause ends with the mark, or its sentence begins as one and does."""
    behind = text[end : end + _SENTENCE]
    first = re.search(r"[.,;:!?](?=\s|$)|\n", behind)
    if first and first[0] == "?":
        return True
    last = re.search(r"[.!?](?=\s|$)|\n", behind)
    if not last or last[0] != "?":
        return False
    return bool(_INVERTED.match(re.split(r"[.!?](?=\s|$)|\n", text[max(0, start - _SENTENCE) : start])[-1]))


def _taken_back(text: str, end: int) -> bool:
    """Whether the rest of the sentence or the next one calls it wrong."""
    behind = text[end : end + _SENTENCE]
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)|\n", behind)]
    return bool(_TAKEN_BACK.search(behind[: ends[1]] if len(ends) > 1 else behind))
