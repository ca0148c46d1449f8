"""A small file of recorded answers, as the replay step will read it (runtime/contract/record.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kcompiler.facts.rows import MAX_BYTES, Wrong
from runtime.contract import Refusal
from runtime.contract.record import Answer, parsed


@dataclass(frozen=True)
class Recorded:
    """Prompt → its answer; `wrong` is the first thing that refuses the file."""

    answers: dict[str, Answer]
    wrong: Wrong | None = None


def recorded(path: Path) -> Recorded | None:
    """The answers of a file; None when it is too large to read here, or cannot be opened."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    if len(data) > MAX_BYTES:
        return None
    try:
        return Recorded(parsed(data, path.name))
    except Refusal as error:
        return Recorded({}, Wrong(error.place or path.name, error.message, error.action))
