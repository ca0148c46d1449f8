"""A line of source → the same line in which no key can be read: what is shown of a spec goes into logs of others.

Found are the forms that well-known services give their keys, what stands behind a name for a key or a password, and
what an address holds before `@` or in `?key=`. A reference (`env:NAME`) is no secret.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

#: keys of well-known services by the form each gives them, anywhere in a text. After `sk-` without a known word at
#: least one digit must stand in an unbroken run: names of models and runs begin so, too
KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk[-_](?:(?:proj|svcacct|admin|live|test|or-v1|ant-[a-z]{1,8}\d{1,4})[-_][A-Za-z0-9_-]{20,}"
    r"|(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{20,})"
    r"|[pr]k_(?:live|test)_[A-Za-z0-9]{16,}|(?:hf|gsk|gh[oprsu]|r8)_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"
    r"|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{20,}|xai-[A-Za-z0-9]{30,}|nvapi-[A-Za-z0-9_-]{30,}"
    r"|A[KS]IA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
)
#: one of these stands in each of those forms; most texts have none, which is told at once
_MARKS = (
    b"sk-", b"sk_", b"k_live_", b"k_test_", b"hf_", b"gsk_", b"gho_", b"ghp_", b"ghr_", b"ghs_", b"ghu_", b"r8_",
    b"github_pat_", b"glpat-", b"xox", b"xai-", b"nvapi-", b"AKIA", b"ASIA", b"AIza", b"eyJ",
)  # fmt: skip
_NAMED = re.compile(
    r"(?P<keep>\b(?:api|access|private|secret)?[-_]?(?:key|secret|password|token)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)"
    r"(?!env:)[^\s\"',;&}\]]{4,}",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?P<keep>[A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s/?#@\"']+(?=@)")


def places(data: bytes) -> Iterator[tuple[int, int]]:
    """Line and column, from 1, of everything in a text that has the form of a service's key, in comments too."""
    if not any(mark in data for mark in _MARKS):
        return
    for number, raw in enumerate(data.splitlines(), 1):
        if any(mark in raw for mark in _MARKS):
            for found in KEY.finditer(raw.decode("utf-8", "replace")):
                yield number, found.start() + 1


def in_envelope(data: bytes) -> Iterator[tuple[int, int]]:
    """The same of a signature's envelope; of what stands in its payload, the place of the whole."""
    yield from places(data)
    try:
        inner = base64.b64decode(json.loads(data)["payload"])
    except (ValueError, LookupError, TypeError):
        return
    yield from ((1, 1) for _ in places(inner))


def starred(data: bytes) -> bytes:
    """The same text without those keys, in its own length."""
    if not any(mark in data for mark in _MARKS):
        return data
    return KEY.sub(_stars, data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def veiled(line: str) -> str:
    """The line in its own length, each character of a key a star."""
    for form in (KEY, _NAMED, _ADDRESS):
        line = form.sub(_stars, line)
    return line


def _stars(found: re.Match[str]) -> str:
    kept = found.groupdict().get("keep") or ""
    return kept + "*" * (len(found[0]) - len(kept))
