"""A place in a text → the sentence around it, whether its words deny what follows, and what is significant there."""

from __future__ import annotations

import re

NOT = re.compile(r"\b(?:not|no|never|nor|cannot|neither|without|before|pending|until|isn't|aren't|wasn't|n't)\b", re.I)
#: words of a denial that deny nothing
_SURE = re.compile(
    r"\b(?:(?:without|no|beyond)(?: an?| any)? (?:doubt|question)|never before|not (?:only|just|merely|least))\b", re.I
)
_END = re.compile(r"[.;!?](?=\s|$)|\n\s*\n")
_SIGNIFICANT = re.compile(
    r"(?<!least )(?<!most )\b(?:(?:statistically\s+)?(?P<none>in|non-?)?significan(?:t|tly|ce)"
    r"|statistically\s+(?:[a-z]{2,20}er|worse|different))\b"
    r"(?!\s+(?:digit|bit|byte|figure|figures|bits|digits|bytes|place|places|decimal|decimals)\b)",
    re.IGNORECASE,
)
#: before and behind the word, where it is said of a difference: `significant changes` may be any
_IS = re.compile(r"\b(?:is|are|was|were)\s+(?:[a-z]+ly\s+)?\Z", re.IGNORECASE)
_WHAT = re.compile(
    r"\s+(?:[a-z-]+\s+)?(?:gain|improvement|advantage|difference|effect|increase|decrease|reduction|speed-?up|better|worse"
    r"|[a-z]{3,}er)s?\b",
    re.IGNORECASE,
)
#: how far a sentence reaches at most
_FAR = 400
#: words of a sentence that may only speak of significance
_UNSURE = re.compile(r"\b(?:if|when|whether|unless|how|where|what|which|would|could|can|may|might)\b", re.IGNORECASE)


def sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the sentence that holds a place begins and ends; a point inside of a number ends none."""
    first = max(
        (found.end() for found in _END.finditer(text, max(0, start - _FAR), start)), default=max(0, start - _FAR)
    )
    last = _END.search(text, end, end + _FAR)
    return first, last.start() if last else min(len(text), end + _FAR)


def denied(text: str, start: int, at: int) -> bool:
    """Whether one of the three words before a place, in the same clause, denies what follows."""
    return bool(NOT.search(words_before(text, start, at, 3)))


def words_before(text: str, start: int, at: int, most: int) -> str:
    clause = re.split(r"[,;:!?]|\.\s", " ".join(text[max(start, at - 60) : at].split()) + " ")[-1]
    return " ".join(_SURE.sub(" ", clause).split()[-most:])


def significances(text: str) -> list[tuple[int, int, str]]:
    """Where a text says of something that it is significant (`yes`), or `no`, that it is not, or `perhaps`,
    where it may be no more than a word."""
    said = []
    for found in _SIGNIFICANT.finditer(text):
        first, _ = sentence(text, *found.span())
        no = found["none"] is not None or denied(text, first, found.start())
        sure = found[0].lower().startswith("statis") or _WHAT.match(text, found.end())
        sure = sure or _IS.search(text, max(first, found.start() - 30), found.start())
        perhaps = not sure or _UNSURE.search(text, first, found.start()) is not None
        said.append((found.start(), found.end(), "no" if no else "perhaps" if perhaps else "yes"))
    return said
