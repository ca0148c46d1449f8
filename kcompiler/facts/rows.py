"""Small JSON Lines files → their rows, as far as a compiler may read them: bounded, by content, without judging twice.

The data step reads the same files strictly and refuses more; what is said here is refused there as well. `normalised`
and `held_out` are the data step's own rules (runtime/data/splits.py), which the compiler may not import; a test keeps
the two equal.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from kcompiler.facts import World
from kcompiler.facts.paths import kind, located
from kcompiler.spec.data import Data, JsonlSource

#: larger files are left to the data step: reading 8 MB of rows takes about 0.1 s
MAX_BYTES = 8 << 20
_DOMAIN = b"kc.split.v1\0"


class Row(NamedTuple):
    """One row of a source file and the line it stands in, counted from 1."""

    line: int
    prompt: str
    response: str
    spans: tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """What a file holds. `wrong` is (line, reason) of the first line that is no row; rows before it are kept."""

    rows: tuple[Row, ...]
    wrong: tuple[int, str] | None = None


@dataclass(frozen=True)
class Read:
    """One source of the spec whose file could be read."""

    index: int
    source: JsonlSource
    path: Path
    data: bytes
    content: Content


def readable(data: Data, world: World) -> Iterator[Read]:
    """The JSON Lines sources that exist inside the project and are small enough, in order."""
    for index, source in enumerate(data.sources):
        if not isinstance(source, JsonlSource):
            continue
        path = located(source.path, world)
        if path is None or kind(path) != "file":
            continue
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except OSError:
            # `references` and the data step speak about files that cannot be opened
            continue
        if len(text) <= MAX_BYTES:
            yield Read(index, source, path, text, parsed(text, tuple(sorted(source.fields.items())), source.limit))


def whole(data: Data, world: World) -> list[Read] | None:
    """Every source of the spec, or None when one of them cannot be read here (a generator, a large or broken file)."""
    found = list(readable(data, world))
    complete = len(found) == len(data.sources) and not any(item.content.wrong for item in found)
    return found if complete else None


@lru_cache(maxsize=8)
def parsed(text: bytes, fields: tuple[tuple[str, str], ...], limit: int) -> Content:
    """The rows of a file's bytes under a mapping of fields; `limit` 0 takes all."""
    names = dict(fields)
    prompt, response, spans = (names.get(name, name) for name in ("prompt", "response", "spans"))
    rows: list[Row] = []
    lines = text.split(b"\n")
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, start=1):
        if limit and len(rows) == limit:
            break
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return Content(tuple(rows), (number, "an empty line" if not line.strip() else "not JSON"))
        if not isinstance(value, dict):
            return Content(tuple(rows), (number, "not a JSON object"))
        for field in (prompt, response):
            if not isinstance(value.get(field), str):
                what = "is not text" if field in value else "is missing"
                return Content(tuple(rows), (number, f"field `{field}` {what}"))
        marked = value.get(spans)
        rows.append(Row(number, value[prompt], value[response], tuple(marked) if isinstance(marked, dict) else ()))
    return Content(tuple(rows))


class _Spaces(dict[int, str]):
    """Character → itself, or a space for white space and punctuation; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        found = " " if unicodedata.category(character)[0] in "PZC" else character
        self[code] = found
        return found


_SPACES = _Spaces()


def normalised(text: str) -> str:
    """NFKC, case folded, every run of white space and punctuation one space, none at the ends."""
    if text.isascii():
        folded = text.casefold()
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_SPACES).split()) or text


def held_out(prompt: str, share: float) -> bool:
    """Whether a row of an `auto` source goes to the test split."""
    drawn = int.from_bytes(hashlib.sha256(_DOMAIN + normalised(prompt).encode()).digest()[:8], "big")
    return drawn < Fraction(share) * 2**64
