"""A text → the keys in it, each at its place; and the same text in which none can be read.

What goes into logs, evidence, bundles and deliveries is read by others. Found are the forms that well-known services
give their keys, and private keys in PEM: as they are written, behind the escapes of JSON and YAML, and in the payload
of a signature's envelope. What is shown of a spec hides besides what stands behind a name for a key or a password, and
what an address holds before `@` or in `?key=`. A reference (`env:NAME`) is no secret.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping

#: keys of well-known services by the form each gives them, anywhere in a text. After `sk-` without a known word at
#: least one digit must stand in an unbroken run: names of models and runs begin so, too
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk[-_](?:(?:proj|svcacct|admin|live|test|or-v1|ant-[a-z]{1,8}\d{1,4})[-_][A-Za-z0-9_-]{20,}"
    r"|(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{20,})"
    r"|[pr]k_(?:live|test)_[A-Za-z0-9]{16,}|(?:hf|gsk|gh[oprsu]|r8)_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"
    r"|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{20,}|xai-[A-Za-z0-9]{30,}|nvapi-[A-Za-z0-9_-]{30,}"
    r"|A[KS]IA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
    # of a private key the header, and what follows it; and how the base64 of OpenSSH's begins
    r"|-----BEGIN\s{1,99}(?:[A-Z0-9]{1,20}\s{1,99}){0,4}PRIVATE\s{1,99}KEY(?:\s{1,99}BLOCK)?-----"
    r"(?:(?:\s|\\[nr]){1,99}[A-Za-z0-9+/=]{16,99})*"
    r"(?:(?:(?:\s|\\[nr]){1,99}[A-Za-z0-9+/=]{1,99})?(?:\s|\\[nr]){1,99}-----END[A-Z0-9 ]{1,60}-----)?"
    r"|b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=]*"
)
#: one of these stands in each of those forms; most texts have none, which is told at once
_MARKS = (
    "sk-", "sk_", "k_live_", "k_test_", "hf_", "gsk_", "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "r8_", "github_pat_",
    "glpat-", "xox", "xai-", "nvapi-", "AKIA", "ASIA", "AIza", "eyJ", "-----BEGIN", "b3BlbnNzaC1rZXktdjE",
)  # fmt: skip
_NAMED = re.compile(
    r"(?P<keep>\b(?:api|access|private|secret)?[-_]?(?:key|secret|password|token)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)"
    r"(?!env:)[^\s\"',;&}\]]{4,}",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?P<keep>[A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s/?#@\"']+(?=@)")
#: in JSON and YAML: a character by its number, by one letter, or none at the end of a line
_ESCAPE = re.compile(
    r"\\(?:u(?P<u>[0-9a-fA-F]{4})|x(?P<x>[0-9a-fA-F]{2})|U(?P<U>[0-9a-fA-F]{8})|(?P<end>\r?\n[ \t]*)|(?P<one>.))"
)
_BLANK = frozenset("0abtnvfreN_LP ")
_PAYLOAD = re.compile(r'"payload"\s{0,99}:\s{0,99}"(?P<text>[A-Za-z0-9+/=_\s-]+)"')
#: escapes in escapes, and envelopes in envelopes, that are looked into
_DEEPEST = 4


def places(data: bytes) -> Iterator[tuple[int, int]]:
    """Line and column, from 1, of every key in a text, in comments too; of one in the payload of an envelope, those of
    the payload."""
    text = data.decode("utf-8", "replace")
    for start in sorted({start for start, _ in _keys(text)}):
        yield text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)


def leaks(files: Mapping[str, bytes]) -> Iterator[tuple[str, int]]:
    """File (path → bytes) and line of every key in files that are given away; line 0 for one in the path itself, which
    is told with stars in its place. Text alone is looked into: bytes with NUL among them are no text."""
    for path, data in sorted(files.items()):
        shown = starred(path)
        if shown != path:
            yield shown, 0
        if b"\0" not in data:
            yield from ((shown, line) for line, _ in places(data))


def holds(text: str) -> bool:
    """Whether a key can be read in it: in a name or a value."""
    return any(True for _ in _keys(text))


def _keys(text: str, depth: int = _DEEPEST) -> Iterator[tuple[int, int]]:
    """Where each begins and ends."""
    if any(mark in text for mark in _MARKS):
        yield from (found.span() for found in _KEY.finditer(text))
    if not depth:
        return
    for found in _PAYLOAD.finditer(text) if '"payload"' in text else ():
        if any(True for _ in _keys(_decoded(found["text"]), depth - 1)):
            yield found.span("text")
    if "\\" in text:
        plain, here, there = _unescaped(text)
        for start, end in _keys(plain, depth - 1):
            yield _at(start, here, there), _at(end, here, there)


def _decoded(text: str) -> str:
    """What base64 is of, of either alphabet; "" for what is none."""
    letters = re.sub(r"[\s=]", "", text).translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _unescaped(text: str) -> tuple[str, list[int], list[int]]:
    """The text as it is read, and where its parts begin: there, and in the text as it is written."""
    parts: list[str] = []
    here, there, size, last = [0], [0], 0, 0
    for found in _ESCAPE.finditer(text):
        one = _character(found)
        parts += [text[last : found.start()], one]
        size += found.start() - last
        here += [size, size + len(one)]
        there += [found.start(), found.end()]
        size, last = size + len(one), found.end()
    return "".join([*parts, text[last:]]), here, there


def _character(found: re.Match[str]) -> str:
    number = found["u"] or found["x"] or found["U"]
    if number is not None:
        return chr(int(number, 16)) if int(number, 16) <= 0x10FFFF else " "
    one = found["one"]
    return "" if one is None else " " if one in _BLANK else str(one)


def _at(place: int, here: list[int], there: list[int]) -> int:
    """Where a place of the text as it is read stands in the text as it is written."""
    part = bisect_right(here, place) - 1
    return there[part] + place - here[part]


def starred(text: str) -> str:
    """The same text without those keys, in its own length and lines."""
    for start, end in sorted(_keys(text)):
        text = text[:start] + re.sub(r"\S", "*", text[start:end]) + text[end:]
    return text


def veiled(line: str) -> str:
    """The line in its own length, each character of a key, a password or what an address holds a star."""
    line = starred(line)
    for form in (_NAMED, _ADDRESS):
        line = form.sub(_stars, line)
    return line


def _stars(found: re.Match[str]) -> str:
    kept = found.groupdict().get("keep") or ""
    return kept + "*" * (len(found[0]) - len(kept))
