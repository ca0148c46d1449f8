"""JSON text from anywhere → values, or a ValueError that says why not. Standard library only.

Python's `json` accepts NaN, Infinity, duplicate keys and lone surrogates, and dies by recursion on deep nesting
(JSONTestSuite). Each of those is refused here, so that a value read once means the same everywhere.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn

#: A value of JSON. Recursive, so that no `Any` is needed by readers.
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_DEPTH = 64
#: integers beyond 2^53 - 1 do not survive RFC 8785 or a reader that stores doubles
MAX_INTEGER = 2**53 - 1


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number out of range: {text[:40]}")
    return value


def _int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f"integer beyond 2^53 - 1: {text[:40]}")
    return int(text)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"duplicate key {name[:80]!r}")
        found[name] = value
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant, strict=True
)


def _check(value: Json, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_text(name)
            _check(item, depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a string holds half of a surrogate pair") from None


def loads(text: str | bytes) -> Json:
    """One JSON value with nothing after it. Raises ValueError for anything strict JSON forbids.

    Refused beyond the grammar: duplicate keys, numbers that are not finite, integers beyond 2^53 - 1, lone
    surrogates, bytes that are not UTF-8, a byte-order mark, nesting deeper than `MAX_DEPTH`.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise ValueError("starts with a byte-order mark")
    try:
        value: Json = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None
    _check(value, 0)
    return value


def dumps(value: Json) -> str:
    """One line of compact text in the order of the keys given. Raises ValueError for NaN and infinities."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
