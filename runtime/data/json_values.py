"""A text → the JSON value that it is, its numbers as decimals; and whether two such values are one."""

from __future__ import annotations

import decimal
import json
from decimal import Decimal, InvalidOperation
from typing import Any

from runtime.contract.strict_json import MAX_DEPTH

#: longest text of a JSON number that is compared
_DIGITS = 64
_WIDE = decimal.Context(prec=_DIGITS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


class _Twice(ValueError):
    """A key that stands twice has two values."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice("duplicate key")
    return found


def _decimal(text: str) -> Decimal:
    try:
        if len(text) > _DIGITS:
            raise ValueError(f"a number of {len(text)} characters")
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"number out of range: {text}") from None


def shortest(number: Decimal) -> str:
    """One spelling of a number, so that equal answers are counted as one."""
    return str(_WIDE.normalize(number))


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_decimal, parse_int=_decimal, parse_constant=_constant, strict=True
)


def value(text: str) -> Any:
    """A JSON value with its numbers as decimals. Raises ValueError."""
    try:
        found = _DECODER.decode(text.strip())
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    _shallow(found, 0)
    return found


def _shallow(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _shallow(item, depth + 1)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are one: true is not 1, 1.0 is 1, and the order of keys says nothing."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)
