"""A text → the texts that somebody reads in it: as it stands, and once for each layer of escapes taken off.

Whoever looks a text through for what must not be there looks at all of them. What JSON, Python, HTML or an address
writes for a character (`\\n`, `\\u0040`, `\\x40`, `&#64;`, `%40`) is that character to its reader, and the letter of an
escape is no letter of the word behind it. Escapes are taken off wherever they stand: JSON in the middle of a sentence,
in a string of JSON, or cut off half-way is read as well as whole JSON is.
"""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

from runtime.contract.seen import seen

#: how many layers are taken off: JSON in a string of JSON in a string of JSON, and one more
_LAYERS = 4
_ESCAPES = re.compile(
    r"(?P<code>(?:\\u[0-9A-Fa-f]{4})+)|\\(?:x(?P<byte>[0-9A-Fa-f]{2})|u\{(?P<braced>[0-9A-Fa-f]{1,6})\}"
    r"|U(?P<long>[0-9A-Fa-f]{8})|(?P<letter>[nrtbf\"'/\\]))"
    r"|(?P<entity>&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});)|(?P<percent>(?:%[0-9A-Fa-f]{2})+)"
)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": "\n"}
#: dashes that are typed, or put there by a word processor, for a hyphen
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
#: marks of emphasis about a word: Markdown shows the word without them
_MARKS = re.compile(r"(?<![^\W_])(?<![_*~`])[_*~`]+(?=[^\W_])|(?<=[^\W_])[_*~`]+(?![^\W_])")
_STARS = re.compile(r"(?<![^\W_])(?<![*~`])[*~`]+(?=\w)|(?<=\w)[*~`]+(?![^\W_])")
_PAIRED = re.compile(r"(?<![^\W_])(?<!_)_{1,3}(?=[^\W_])([^\n]{0,300}?[^\W_])_{1,3}(?![^\W_])")


def _character(found: re.Match[str]) -> str:
    if units := found["code"]:
        return bytes.fromhex(units.replace("\\u", "")).decode("utf-16-be", errors="replace")
    if number := found["byte"] or found["braced"] or found["long"]:
        return chr(int(number, 16)) if int(number, 16) <= 0x10FFFF else " "
    if letter := found["letter"]:
        return _LETTERS.get(letter, letter)
    return html.unescape(found["entity"]) if found["entity"] else unquote(found["percent"], errors="replace")


def decoded(text: str) -> str:
    """The text without its outermost layer of escapes."""
    return _ESCAPES.sub(_character, text) if any(mark in text for mark in "\\&%") else text


def unmarked(text: str, *, names: bool = False) -> str:
    """The text without marks of emphasis about its words. With `names` a single `_` at one end of a word stays, as in
    the name of a thing that is private."""
    if not any(mark in text for mark in "_*~`"):
        return text
    return _STARS.sub("", _PAIRED.sub(r"\1", text)) if names else _MARKS.sub("", text)


def hyphened(text: str, *, everywhere: bool = False) -> str:
    """The text with a hyphen for each dash that stands beside a digit between two words, or for each."""
    if text.isascii():
        return text
    if everywhere:
        return _DASHES.sub("-", text)
    return _DASHES.sub(lambda found: "-" if _beside_digit(text, found.start()) else found[0], text)


def _beside_digit(text: str, at: int) -> bool:
    before, after = text[max(0, at - 2) : at].rstrip(" ")[-1:], text[at + 1 : at + 3].lstrip(" ")[:1]
    return before.isalnum() and after.isalnum() and (before.isdigit() or after.isdigit())


def readings(text: str) -> list[str]:
    """The text as it looks, and as it reads with one layer of escapes after the other taken off; none twice."""
    found = [seen(text)]
    for _ in range(_LAYERS):
        further = seen(decoded(found[-1]))
        if further == found[-1]:
            break
        found.append(further)
    return found
