"""A text → what in it is personal: cards, IBANs, US social security numbers, addresses of mail and of machines.

Only what a checksum or a grammar proves is found, so that a gate at none can be kept: of 1,319 texts about numbers
(GSM8K) not one is a false alarm. Telephone numbers, names and addresses need a region, a context or a model of
language; they are not looked for, and nothing here says that they are absent. Checksums are python-stdnum's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from stdnum import iban, luhn
from stdnum.us import ssn

from runtime.data.readings import hyphened, readings, unmarked

#: a longer text is looked at in pieces of this many characters that overlap by the longest thing there is to find
_PIECE, _LONGEST = 1 << 16, 320
#: what was found in a text of at most so many characters is remembered for a while
_SHORT = 4096
# of an escape (`\n`, `\u00e9`, `%20`) the letters begin no address: what stands behind it is read without it
_MAIL = re.compile(
    r"(?<![\w.+-])(?!(?<=\\)(?:[bfnrt]|[ux][0-9A-Fa-f]{2})|(?<=%)[0-9A-Fa-f]{2})"
    r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}(?:xn--[A-Za-z0-9-]{1,59}|[^\W\d_]{2,24})(?!\w|-[^\W_])"
)
_CARD = re.compile(
    r"(?<![\w.,-])(?:[2-6]\d{3}(?:\.\d{4}){3}|[2-6]\d{3}(?:(?: ?- ?| {1,4}|\t)\d{4}){3}"
    r"|(?:[2-6]|1800)(?:[ -]?\d){11,18})(?![\w-]|[.,]\d)"
)
#: a card that goes on in the next line. Columns of numbers look like it: there it begins as cards that are issued do
_FOLDED = re.compile(
    r"(?<![\w.,-])(?=(?:[46]|5[0-8]|2[2-7]|3[47]))(?=[\d \t\\-]{3,30}\r?\n[ \t>]{0,8}\d)"
    r"(?:\d{4}(?:[ \t-]{0,3}\\?(?:\r?\n[ \t>]{0,8})?\d{4}){3}"
    r"|3\d{3}[ \t-]{0,3}\\?(?:\r?\n[ \t>]{0,8})?\d{6}[ \t-]{0,3}\\?(?:\r?\n[ \t>]{0,8})?\d{5})(?![\w-]|[.,]\d)"
)
_IBAN = re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?:(?: ?- ?| {1,2}|[ \t]{0,3}\r?\n[ \t]{0,8})?[A-Za-z0-9]){11,30}(?!\w)")
_SSN = re.compile(r"(?<![\w-])\d{3}([- ])\d{2}\1\d{4}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_DIGIT = re.compile(r"\d")
#: lengths in which cards are issued; those of twelve digits are Maestro's, which begin with 5 or 6
_CARD_DIGITS = (13, 14, 15, 16, 19)


@dataclass(frozen=True, slots=True)
class Personal:
    """One thing that was found: its kind, and its value without spaces, lines, points and hyphens, in lower case."""

    kind: str
    value: str


def _value(text: str) -> str:
    return re.sub(r"[\s.>\\-]", "", text).lower()


def _address(text: str) -> bool:
    try:
        return not ip_address(text).is_unspecified
    except ValueError:
        return False


def _iban(text: str) -> str:
    """The IBAN that a run of letters and digits begins with, or ""."""
    whole = _value(text).upper()
    return next((whole[:size] for size in range(len(whole), 14, -1) if iban.is_valid(whole[:size])), "")


def _in_piece(text: str) -> Iterator[Personal]:
    if "@" in text:
        yield from (Personal("mail", found[0].lower()) for found in _MAIL.finditer(text))
    if ":" not in text and not _DIGIT.search(text):
        return
    for found in (*_CARD.finditer(text), *_FOLDED.finditer(text)):
        digits = _value(found[0])
        proper = len(digits) in _CARD_DIGITS or (len(digits) == 12 and digits[0] in "56")
        if proper and luhn.is_valid(digits):
            yield Personal("card", digits)
    for found in _IBAN.finditer(text):
        if whole := _iban(found[0]):
            yield Personal("iban", whole.lower())
    for found in _SSN.finditer(text):
        if ssn.is_valid(found[0].replace(" ", "-")):
            yield Personal("ssn", _value(found[0]))
    for pattern in (_IPV4, _IPV6):
        yield from (Personal("ip", found[0].lower()) for found in pattern.finditer(text) if _address(found[0]))


def found(text: str) -> frozenset[Personal]:
    """Everything personal in a text."""
    return _of_short(text) if len(text) <= _SHORT else _of(text)


def _of(text: str) -> frozenset[Personal]:
    # a dash ends an address of mail, and is a hyphen of a card: each text is looked at with both
    plain = [unmarked(one) for one in readings(text)]
    both = dict.fromkeys([*plain, *map(hyphened, plain)])
    return frozenset(one for reading in both for one in _of_reading(reading))


def _of_reading(plain: str) -> Iterator[Personal]:
    starts = [0] if len(plain) <= _PIECE else range(0, len(plain), _PIECE - _LONGEST)
    for start in starts:
        yield from _in_piece(plain[start : start + _PIECE])


#: what is said of many rows is looked at once
_of_short = lru_cache(maxsize=64)(_of)


def leaked(output: str, right: str) -> list[str]:
    """Kinds of personal data in an output that are no part of what its row declares to be right, sorted."""
    there = found(output)
    return sorted({one.kind for one in there - found(right)}) if there else []
