"""JSON text from anywhere → values, or a ValueError that says why not. Standard library only.

Python's `json` accepts NaN, Infinity, duplicate keys and lone surrogates, and dies by recursion on deep nesting
(JSONTestSuite). Each of those is refused here, so that a value read once means the same everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

#: A value of JSON. Recursive, so that no `Any` is needed by readers.
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_DEPTH = 64
#: integers beyond 2^53 - 1 do not survive RFC 8785 or a reader that stores doubles
MAX_INTEGER = 2**53 - 1


class _Fault:
    """Stands in a value for what strict JSON forbids there; it is told of when somebody asks for that place."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> Any:
    value = float(text)
    return value if math.isfinite(value) else _Fault(f"number out of range: {text[:40]}")


def _int(text: str) -> Any:
    if len(text) <= 17 and -MAX_INTEGER <= (value := int(text)) <= MAX_INTEGER:
        return value
    return _Fault(f"integer beyond 2^53 - 1: {text[:40]}")


def _wide(text: str) -> Any:
    """An integer of 64 bits, with or without a sign."""
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        return _Fault(f"integer beyond 64 bits: {text[:40]}")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found[name] = _Fault(f"duplicate key {name[:80]!r}")
            seen.add(name)
    return found


def _double(text: str) -> Any:
    """An integer, also one beyond 2^53 - 1 when it is how RFC 8785 writes a double: then it is that double."""
    found = _int(text)
    if not isinstance(found, _Fault) or len(text) > 22:
        return found
    value = float(text)
    return value if abs(value) < 1e21 and f"{Decimal(repr(value)):f}".removesuffix(".0") == text else found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant, strict=True
)
_DOUBLES = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_double, parse_constant=_constant, strict=True
)
_WIDE = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_wide, parse_constant=_constant, strict=True
)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _simple(value: Any) -> bool:
    """Whether nothing can be wrong with what the decoder made but where it stands."""
    kind = type(value)
    return value.isascii() if kind is str else kind is int or kind is float or kind is bool or value is None


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    kind = type(value)
    if kind is str:
        _check_text(value)
    elif kind is dict:
        for name, item in value.items():
            _check_text(name)
            if depth == MAX_DEPTH or not _simple(item):
                _check(item, depth + 1)
    elif kind is list:
        for item in value:
            if depth == MAX_DEPTH or not _simple(item):
                _check(item, depth + 1)
    elif kind is _Fault:
        raise ValueError(value.why)


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a string holds half of a surrogate pair") from None


def _decoded(text: str | bytes, decoder: json.JSONDecoder = _DECODER) -> Any:
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise ValueError("starts with a byte-order mark")
    try:
        return decoder.decode(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None


def loads(text: str | bytes, *, doubles: bool = False, wide: bool = False) -> Json:
    """One JSON value with nothing after it. Raises ValueError for anything strict JSON forbids.

    Refused beyond the grammar: duplicate keys, numbers that are not finite, integers beyond 2^53 - 1, lone
    surrogates, bytes that are not UTF-8, a byte-order mark, nesting deeper than `MAX_DEPTH`. With `doubles` an integer
    beyond 2^53 - 1 is read when it is exactly what RFC 8785 writes for a double, such as 10000000000000000. With `wide`
    one of 64 bits is read; such a value is not to be written as RFC 8785.
    """
    value: Json = _decoded(text, _DOUBLES if doubles else _WIDE if wide else _DECODER)
    _check(value, 0)
    return value


def members(text: str | bytes, asked: Callable[[str], bool]) -> tuple[dict[str, Json], dict[str, Any]]:
    """The members of one JSON object that somebody asked for, each as strict as `loads`, and the rest, unjudged.

    The rest is only JSON by its grammar: it may hold any number, a key twice, half of a surrogate pair, and an object
    of this module in the place of what `loads` would refuse. Raises ValueError for text that is no JSON object, and
    for a fault in what was asked for, with its name.
    """
    value = _decoded(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    found: dict[str, Json] = {}
    rest: dict[str, Any] = {}
    for name, item in value.items():
        if not asked(name):
            rest[name] = item
            continue
        try:
            _check(item, 1)
        except ValueError as error:
            raise ValueError(str(error) if "duplicate key" in str(error) else f"field `{name}`: {error}") from None
        found[name] = item
    return found, rest


def dumps(value: Json) -> str:
    """One line of compact text in the order of the keys given. Raises ValueError for NaN and infinities."""
    return _ENCODER.encode(value)
