"""A plain YAML scalar → text, number, truth value or null by the YAML 1.2 core schema (yaml.org/spec/1.2.2, 10.3).

`no` and `12:30` are text, `017` is 17, `1e-4` is a number. One addition: digits grouped by `_` in threes, as in
`623_000`, are an integer; with any other underscore a scalar is text.
"""

from __future__ import annotations

import math
import re

#: integers beyond it do not survive RFC 8785
MAX_INTEGER = 2**53 - 1

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?([0-9]+|[1-9][0-9]{0,2}(_[0-9]{3})+)\Z")
_OCTAL_OR_HEX = re.compile(r"0(o[0-7]+|x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
#: the longest digits that are converted; Python refuses thousands of them, and nothing in range needs more
_LONGEST = 64


class NotANumber(Exception):
    """A scalar that is written as a number and cannot be kept as one."""

    def __init__(self, code: str, summary: str, label: str, help: str) -> None:
        super().__init__(summary)
        self.code, self.summary, self.label, self.help = code, summary, label, help


def resolve(text: str) -> bool | int | float | str | None:
    """What a plain scalar means. Raises NotANumber for infinities, NaN and what a double cannot hold."""
    if text in _NULL:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _INTEGER.match(text):
        return _integer(text.replace("_", ""), 10)
    if _OCTAL_OR_HEX.match(text):
        return _integer(text, 8 if text[1] == "o" else 16)
    if _FLOAT.match(text):
        number = float(text)
        if not math.isfinite(number):
            raise _not_finite(text)
        if not number and re.search("[1-9]", text.lower().partition("e")[0]):
            raise NotANumber(
                "KC1021",
                "a number too small to be kept",
                "it would be 0",
                "write 0, or the smallest number that is meant",
            )
        # adding zero turns -0.0 into 0.0: RFC 8785 writes both as 0
        return number + 0.0
    if _NOT_FINITE.match(text):
        raise _not_finite(text)
    return text


def _integer(digits: str, base: int) -> int:
    significant = digits.lstrip("+-0xo")
    if len(significant) > _LONGEST or abs(number := int(digits, base)) > MAX_INTEGER:
        raise NotANumber(
            "KC1021",
            "integer beyond 2^53 - 1",
            "cannot be kept exactly",
            "write it in quotes if it is an identifier",
        )
    return number


def _not_finite(text: str) -> NotANumber:
    return NotANumber(
        "KC1020",
        "a number must be finite",
        f"`{text[:40]}` is not",
        "write a finite number, put it in quotes if text is meant, or leave the key out",
    )
