"""A text × the place of a value in it → whether the words around it make something else of it.

`more than 7.5 km`, `twice 7.5 km`, `7.5 million km` and `7.5 km squared` name 7.5 and say another thing, as `unlike X`
and `anything except X` do not say X, and `New X` names another place; `7.5 km; add ten to that` is not 7.5, and
`7.5 km an hour` no distance. English only; what is denied is told by runtime/data/denied.py, and `about`, `nearly` and
`exactly` leave a value what it is.
"""

from __future__ import annotations

import re

#: characters before and behind a place that are looked at
_BEFORE, _BEHIND = 60, 30
_FILLER = (
    r"(?:\s+(?:the|an?|that|this|of|about|exactly|some(?:where|thing|one)?|any(?:where|thing|one)?))*\s+[^\w\s]*\Z"
)
_EXCEPT = re.compile(
    r"\b(?:(?:other|rather)\s+than|except(?:ing)?(?:\s+for)?|excluding|(?:apart|aside)\s+from|unlike|(?:instead|opposite|reverse)\s+of"
    r"|(?:contrary|opposed)\s+to|(?:any|every|no)(?:one|body|thing|where)\s+but|all\s+but|(?:any|every)\s+\w+\s+but|failed\s+to\s+\w+"
    rf"|außer|non|anti){_FILLER}"
    r"|\b(?:non|anti)-\Z",
    re.I,
)
#: a name that is a part of another: of a place there is a new one, and a northern one
_OTHER_NAME = re.compile(
    r"\b(?:New|Old|(?:North|South|East|West)(?:ern)?|Upper|Lower|Little|Neu|Alt|Nord|Süd|Ost)[ -]\Z"
)
_NAME_GOES_ON = re.compile(
    r"[ -](?:Heights|Hills|Beach|Valley|Junction|Springs|Falls|Creek|Grove|Gardens|County|Avenue|Street|Road"
    r"|Jr|Junior|I{2,3})\b"
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
    r"|\s+(?:mod|modulo|to\s+the\s+power)\b"
    rf"|{_PART}"
    r"|\s*\(in\s+(?:hundred|thousand|million|billion)s?\))"
)
#: a length or an amount of data by the hour
_RATE = re.compile(
    r"[ \u00a0\u202f-]?(?:[kc]?m|mi|miles?|(?:kilo)?met(?:er|re)s?|feet|ft|[KMGT]i?B"
    r"|(?:kilo|mega|giga)?(?:bytes?|bits?))"
    r"(?:\s+(?:an?|per|each|every)\s+(?:hour|minute|second)\b|/(?:h|hour|min|s|sec)\b)",
    re.IGNORECASE,
)
#: what is to be done with it makes another value, unless only in some case
_CALCULATED = re.compile(
    r"[^\n]{0,80}?[.;,:(\u2013\u2014-][ \t]*(?:(?:and|then|but|now|please|just)\s+)*(?:(?:add"
    r"|subtract|take\s+(?:away|off)|multiply|divide|double|halve|triple|square)\b[^.;!?\n]{0,30}?\b(?:that|this|it|the\s+(?:number|value|result|distance|figure|total))\b"
    r"(?![^.!?\n]*\b(?:if|for|when|unless)\b)|(?:plus|minus|times)\s+(?:\d|two|three|four|five|six|seven|eight|nine|ten)\b(?=\s*(?:[).!;]|\n|\Z)))",
    re.IGNORECASE,
)
#: characters behind a place that are looked at for it
_FAR = 120
_NUMBER = re.compile(r"[\d.,\u00a0\u202f ]*\d")
_BEHIND_IT = re.compile(rf"{_MAGNITUDE}|(?i:{_POWER})")
#: what may stand within the place of a number
_SCALED = re.compile(rf"{_MAGNITUDE}|(?i:{_PART})")


def excepted(text: str, start: int) -> bool:
    """Whether what begins here is named as what it is not: `other than …`, `except …`."""
    return bool(_EXCEPT.search(text[max(0, start - _BEFORE) : start]))


def renamed(text: str, start: int, end: int) -> bool:
    """Whether a name stands here as a part of another: `New X`, `X Heights`."""
    return bool(_OTHER_NAME.search(text[max(0, start - _BEFORE) : start]) or _NAME_GOES_ON.match(text, end))


def rated(text: str, start: int, end: int) -> bool:
    """Whether the number at this place is one by the hour: `7.5 km an hour` is no distance."""
    number = _NUMBER.match(text, start, end)
    return number is not None and _RATE.match(text, number.end()) is not None


def altered(text: str, start: int, end: int) -> bool:
    """Whether the number at this place is a bound, a part or a multiple there, or an exception."""
    number = _NUMBER.match(text, start, end)
    if excepted(text, start) or number is None:
        return excepted(text, start)
    at = number.end()
    scaled = _SCALED.match(text, at, end)
    at = scaled.end() if scaled else at
    behind = _BEHIND_IT.match(text, at, at + _BEHIND)
    if _CALCULATED.match(text, at, at + _FAR):
        return True
    return bool(behind or _BOUND.search(text[max(0, start - _BEFORE) : start]))
