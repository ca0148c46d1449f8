"""Bytes → JSON values, strictly; values, files and folders → SHA-256 as kcompiler has them. Standard library only."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Iterable, List, Mapping, Tuple

MOST_DEEP, MOST_WHOLE = 64, 2**53 - 1


def _object(pairs: List[Tuple[str, Any]]) -> Any:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number out of range: {text[:40]}")
    return value


def _int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MOST_WHOLE:
        raise ValueError(f"integer beyond 2^53 - 1: {text[:40]}")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant, strict=True
)


def _sound(value: Any, deep: int) -> None:
    if deep > MOST_DEEP:
        raise ValueError(f"nested deeper than {MOST_DEEP}")
    if isinstance(value, str):
        value.encode("utf-8")  # half of a surrogate pair raises UnicodeEncodeError, a ValueError
    elif isinstance(value, list):
        for item in value:
            _sound(item, deep + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _sound(name, deep)
            _sound(item, deep + 1)


def strict(data: Any) -> Any:
    """One JSON value, from bytes or text. Raises ValueError for NaN, infinities, a key twice, integers beyond 2^53 - 1,
    lone surrogates, a byte-order mark, and anything that is not JSON."""
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    if text.startswith("\ufeff"):
        raise ValueError("starts with a byte-order mark")
    try:
        value = _DECODER.decode(text)
        _sound(value, 0)
    except RecursionError:
        raise ValueError(f"nested deeper than {MOST_DEEP}") from None
    return value


def _number(value: float) -> str:
    """A double as ECMAScript writes it, which RFC 8785 asks for."""
    if value == 0:
        return "0"
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, part = digits.partition(".")
    part = "" if part == "0" else part
    point = len(whole) + int(exponent or 0)
    digits = (whole + part).lstrip("0")
    point -= len(whole + part) - len(digits)
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        shown = digits.ljust(point, "0")[:point] + ("." + digits[point:] if digits[point:] else "")
    elif -6 < point <= 0:
        shown = "0." + "0" * -point + digits
    else:
        sign = "+" if point > 0 else "-"
        shown = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{sign}{abs(point - 1)}"
    return ("-" if value < 0 else "") + shown


def canonical(value: Any) -> str:
    """RFC 8785 text of a JSON value."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def laid_out(value: Any) -> bytes:
    """The one text of a JSON value that kcompiler writes into files. Raises ValueError for NaN and infinities."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def digest_of(value: Any, domain: str) -> str:
    """ "sha256:…" of a JSON value under a domain such as "kc.plan.v1"."""
    return "sha256:" + hashlib.sha256(domain.encode() + b"\0" + canonical(value).encode()).hexdigest()


def digest_of_bytes(data: bytes) -> str:
    """ "sha256:…" of the bytes themselves."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of_files(files: Mapping[str, bytes]) -> str:
    """ "sha256:…" of a folder with these files: its manifest, so that names, sizes and contents count."""
    entries = [
        {"path": name, "bytes": len(data), "digest": digest_of_bytes(data)} for name, data in sorted(files.items())
    ]
    return digest_of(entries, "kc.tree.v1")


def text_at(value: Any, *names: str) -> Any:
    """What lies below an object by these names, or None."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def first(found: Iterable[str]) -> str:
    """The first of several texts, or ""."""
    return next(iter(found), "")
