"""Choices → the text of a spec, with the reason for each beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PLAIN = re.compile(r"(?!(true|false|null|yes|no|on|off|~)\Z)[A-Za-z_./][A-Za-z0-9_./@+-]*\Z", re.IGNORECASE)
_WIDTH = 110


@dataclass(frozen=True)
class Line:
    """One line (or a whole block) of a section, and the reason that stands above it."""

    text: str
    why: str = ""


def value(given: Any) -> str:
    """A value in flow style, on one line."""
    if isinstance(given, str):
        return given if _PLAIN.match(given) else json.dumps(given, ensure_ascii=False)
    if isinstance(given, Mapping):
        return "{" + ", ".join(f"{value(key)}: {value(item)}" for key, item in given.items()) + "}"
    if isinstance(given, list | tuple):
        return "[" + ", ".join(map(value, given)) + "]"
    return json.dumps(given)


def section(name: str, lines: Sequence[Line]) -> str:
    """A section; reasons are comments above their lines."""
    written = [f"{name}:"]
    for line in lines:
        indent = line.text[: len(line.text) - len(line.text.lstrip())]
        written += [f"  {indent}# {part}" for part in _wrapped(line.why, indent)]
        written += [f"  {part}" if part else "" for part in line.text.split("\n")]
    return "\n".join(written)


def scalar(name: str, given: Any, why: str = "") -> str:
    """A section that is one value."""
    return "\n".join([*(f"# {part}" for part in _wrapped(why, "")), f"{name}: {value(given)}"])


def _wrapped(text: str, indent: str) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) + len(indent) <= _WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
