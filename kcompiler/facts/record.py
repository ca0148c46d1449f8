"""A small file of recorded answers → prompt and whether it has choices, as far as a compiler may read it.

The replay step reads the same file strictly and refuses more; what is said here is refused there as well.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from kcompiler.facts.rows import MAX_BYTES


@dataclass(frozen=True)
class Recorded:
    """`answers` maps a prompt to whether choices stand beside its answer; `wrong` is (line, reason) of the first line
    that is no answer."""

    answers: dict[str, bool]
    wrong: tuple[int, str] | None = None


def recorded(path: Path) -> Recorded | None:
    """The answers of a file; None when it is too large to read here, or cannot be opened."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    if len(data) > MAX_BYTES:
        return None
    found: dict[str, object] = {}
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return Recorded({}, (number, "an empty line" if not line.strip() else "not JSON"))
        reason = _fault(value)
        if not reason and found.setdefault(value["prompt"], value) != value:
            reason = "a second, different answer to one prompt"
        if reason:
            return Recorded({}, (number, reason))
    return Recorded({prompt: bool(_choices(value)) for prompt, value in found.items()})


def _choices(value: object) -> object:
    return value.get("choices") if isinstance(value, dict) else None


def _fault(value: object) -> str:
    if not isinstance(value, dict):
        return "not a JSON object"
    for name in ("prompt", "text"):
        if not isinstance(value.get(name), str):
            return f"field `{name}` {'is not text' if name in value else 'is missing'}"
    choices = _choices(value)
    if choices is None:
        return ""
    if not isinstance(choices, dict) or len(choices) < 2:
        return "`choices` must map at least two answers to log-probabilities"
    for name, number in choices.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number > 0:
            return f"the log-probability of choice `{name}` is {number!r}; it is finite and at most 0"
    return ""
