"""A text × the place of a value in it → whether the words around it make something else of it.

`more than 7.5 km`, `twice 7.5 km`, `7.5 million km` and `7.5 km squared` name 7.5 and say another thing, as `unlike X`
and `anything except X` do not say X. English only; what is denied is told by runtime/data/denied.py, and `about`,
`nearly` and `exactly` leave a value what it is.
"""

from __future__ import annotations

import re

#: characters before and behind a place that are looked at
_BEFORE, _BEHIND = 60, 30
_FILLER = (
    r"(?:\s+(?:the|an?|that|this|of|about|exactly|some(?:where|thing|one)?|any(?:where|thing|one)?))*\s+[^\w\s]*\Z"
)
_EXCEPT = re.compile(
    rf"\b(?:other\s+than|rather\s+than|except(?:\s+for)?|unlike|instead\s+of|failed\s+to\s+\w+){_FILLER}", re.I
)
_BOUND = re.compile(
    r"(?:\b(?:(?:more|less|fewer|greater|higher|lower|longer|shorter|larger|smaller)\s+than|no\s+(?:more|less|fewer)\s+than"
    r"|at\s+(?:the\s+)?(?:least|most)|up\s+to|over|under|above|below|exceed(?:s|ing|ed)?|minus|twice|thrice|double|triple"
    r"|(?:half|a\s+(?:third|quarter)|\w+\s+times)(?:\s+of)?)(?:\s+(?:the|about|exactly))?\s+|[<>\u2264\u2265]=?\s*)[^\w\s<>]*\Z",
    re.IGNORECASE,
)
_MAGNITUDE = (
    r"[\s-]*(?i:hundred|thousand|million|billion|trillion|dozen|lakh|crore)s?\b|\s?[kKMB]\b|\s?(?:bn|mn|mio|mrd)\b"
)
_PART = r"\s+and\s+(?:an?|one|three)\s+(?:half|third|quarters?)\b"
_POWER = (
    r"(?:\s?[^\W\d_]{1,12})?(?:\s*(?:\^|\*{1,2}\s*\d|[\u00d7x]\s*\d|[\u00b2\u00b3]|/\s*\d)"
    r"|\s+(?:squared|cubed|times|longer|shorter|higher|lower|more\s+than|less\s+than|fewer|too\s+(?:few|many|much))\b"
    rf"|{_PART}"
    r"|\s*\(in\s+(?:hundred|thousand|million|billion)s?\))"
)
_NUMBER = re.compile(r"[\d.,\u00a0\u202f ]*\d")
_BEHIND_IT = re.compile(rf"{_MAGNITUDE}|(?i:{_POWER})")
#: what may stand within the place of a number
_SCALED = re.compile(rf"{_MAGNITUDE}|(?i:{_PART})")


def excepted(text: str, start: int) -> bool:
    """Whether what begins here is named as what it is not: `other than …`, `except …`."""
    return bool(_EXCEPT.search(text[max(0, start - _BEFORE) : start]))


def altered(text: str, start: int, end: int) -> bool:
    """Whether the number at this place is a bound, a part or a multiple there, or an exception."""
    number = _NUMBER.match(text, start, end)
    if excepted(text, start) or number is None:
        return excepted(text, start)
    at = number.end()
    scaled = _SCALED.match(text, at, end)
    at = scaled.end() if scaled else at
    behind = _BEHIND_IT.match(text, at, at + _BEHIND)
    return bool(behind or _BOUND.search(text[max(0, start - _BEFORE) : start]))
