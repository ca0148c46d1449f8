"""A regular expression as JSON Schema means it (ECMA-262, Unicode mode) → Python's, or a ValueError that says why not.

The two differ silently: in Python `$` also matches before a final line break, `\\d`, `\\w` and `\\b` know every script,
`.` matches carriage returns, `{,3}` is a quantifier, `(?i)` and `\\Z` mean something. What has no counterpart is
refused.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

#: what `\\s` matches in ECMA-262: WhiteSpace and LineTerminator
_SPACE = "\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
#: everything else, as ranges
_NO_SPACE = "\0-\x08\x0e-\x1f!-\x9f\xa1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff"
_NO_SPACE += "\u3001-\ufefe\uff00-\U0010ffff"
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": _SPACE, "D": r"\D", "W": r"\W", "S": _NO_SPACE}
_CONTROL = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_SYNTAX = "^$\\.*+?()[]{}|/"
_QUANTIFIER = re.compile(r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??")
_GROUP = re.compile(r"\((?:\?(?::|=|!|<=|<!|<(?P<name>[A-Za-z_][A-Za-z0-9_]*)>))?")
_CODE = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}|c([A-Za-z])|(0)(?![0-9])")


def _escape(text: str, at: int, *, inside: bool) -> tuple[str, str, int]:
    """The escape whose backslash stands at `at`: (a class or "", a character or "", where the text goes on)."""
    rest = text[at + 1 :]
    if not rest:
        raise ValueError("ends with a backslash")
    if rest[0] in _CLASSES:
        return _CLASSES[rest[0]], "", at + 2
    if rest[0] in _CONTROL:
        return "", _CONTROL[rest[0]], at + 2
    if rest[0] in _SYNTAX or (inside and rest[0] == "-"):
        return "", rest[0], at + 2
    code = _CODE.match(rest)
    if code is None:
        raise ValueError(f"`\\{rest[0]}` is no escape of ECMA-262 that is supported here")
    hexadecimal = code[1] or code[2] or code[3]
    point = int(hexadecimal, 16) if hexadecimal else ord(code[4]) % 32 if code[4] else 0
    if point > 0x10FFFF:
        raise ValueError(f"`\\{code[0]}` is no character")
    return "", chr(point), at + 1 + code.end()


def _ranges(text: str, at: int) -> bool:
    """Whether a hyphen stands at `at` that makes a range."""
    return text[at : at + 1] == "-" and text[at + 1 : at + 2] not in ("]", "")


def _set(text: str, at: int) -> tuple[str, int]:
    """The set whose bracket stands at `at`, in Python, and where the text goes on."""
    out, at = "[", at + 1
    if text[at : at + 1] == "^":
        out, at = "[^", at + 1
    empty = True
    while text[at : at + 1] != "]":
        if at >= len(text):
            raise ValueError("`[` without `]`")
        kind, char, after = _escape(text, at, inside=True) if text[at] == "\\" else ("", text[at], at + 1)
        is_range = not empty and _ranges(text, at)
        if (kind and _ranges(text, after)) or (is_range and re.match(r"\\[dDwWsS]", text[at + 1 : at + 3])):
            raise ValueError("a range from or to a class of characters")
        out += kind or ("-" if is_range else re.escape(char))
        at, empty = after, False
    if empty:
        raise ValueError("an empty set")
    return out + "]", at + 1


def translated(pattern: str) -> str:
    """ECMA-262 → the source of a Python expression, to be compiled with `re.ASCII`. Raises ValueError."""
    out, at, repeatable = "", 0, False
    while at < len(pattern):
        char = pattern[at]
        if char in "*+?{":
            quantifier = _QUANTIFIER.match(pattern, at)
            if quantifier is None or not repeatable:
                raise ValueError(f"`{char}` repeats nothing; write `\\{char}` for the character")
            out, at, repeatable = out + quantifier[0], quantifier.end(), False
        elif char == "(":
            group = _GROUP.match(pattern, at)
            if group is None or pattern[group.end() : group.end() + 1] == "?":
                raise ValueError(f"`{pattern[at : at + 3]}` opens no group of ECMA-262")
            out += f"(?P<{group['name']}>" if group["name"] else group[0]
            at, repeatable = group.end(), False
        elif char == "[":
            found, at = _set(pattern, at)
            out, repeatable = out + found, True
        elif char == "\\" and pattern[at + 1 : at + 2] in ("b", "B"):
            out, at, repeatable = out + pattern[at : at + 2], at + 2, False
        elif char == "\\":
            kind, single, at = _escape(pattern, at, inside=False)
            out, repeatable = out + (f"[{kind}]" if kind else re.escape(single)), True
        elif char in "]}":
            raise ValueError(f"`{char}` closes nothing; write `\\{char}` for the character")
        else:
            special = {".": "[^\n\r\u2028\u2029]", "$": r"\Z", "^": "^", "|": "|", ")": ")"}
            out += special.get(char) or re.escape(char)
            at, repeatable = at + 1, char not in "^$|"
    return out


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """The expression, to be searched with. Raises ValueError with the reason for one that has no meaning here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(translated(pattern), re.ASCII)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
