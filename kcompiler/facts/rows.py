"""Small JSON Lines files → their rows, as the machine will read them (runtime/contract/sources.py), bounded in size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from kcompiler.facts import World
from kcompiler.facts.paths import kind, located
from kcompiler.spec.data import Data, JsonlSource
from runtime.contract import Refusal, splits
from runtime.contract import rows as form
from runtime.contract.sources import Reader

#: larger files are left to the data step: reading 8 MB of rows takes about 0.5 s
MAX_BYTES = 8 << 20


class Row(NamedTuple):
    """One row of a source file and the line it stands in, counted from 1. `rest` are texts that nothing maps."""

    line: int
    whole: form.Row
    rest: dict[str, str]

    @property
    def prompt(self) -> str:
        return self.whole["prompt"]

    @property
    def response(self) -> str:
        return self.whole["response"]

    @property
    def spans(self) -> tuple[str, ...]:
        return tuple(self.whole["spans"])


class Wrong(NamedTuple):
    """Why a file is refused: where (`file:line`), what, and what to do."""

    place: str
    reason: str
    action: str


@dataclass(frozen=True)
class Content:
    """What a file holds. `wrong` is the first thing that refuses it; rows before it are kept."""

    rows: tuple[Row, ...]
    wrong: Wrong | None = None


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
            fields = tuple(sorted(source.fields.items()))
            yield Read(index, source, path, text, parsed(text, source.name, fields, source.limit, path.name))


def whole(data: Data, world: World) -> list[Read] | None:
    """Every source of the spec, or None when one of them cannot be read here (a generator, a large or broken file)."""
    found = list(readable(data, world))
    complete = len(found) == len(data.sources) and not any(item.content.wrong for item in found)
    return found if complete else None


@lru_cache(maxsize=8)
def parsed(text: bytes, name: str, fields: tuple[tuple[str, str], ...], limit: int, place: str) -> Content:
    """The rows of a file's bytes under a mapping of fields; `limit` 0 takes all."""
    rows: list[Row] = []
    try:
        for found in Reader(name, dict(fields), limit).text(text, place):
            texts = {key: value for key, value in found.rest.items() if isinstance(value, str)}
            rows.append(Row(found.line, found.row, texts))
    except Refusal as error:
        return Content(tuple(rows), Wrong(error.place or place, error.message, error.action))
    return Content(tuple(rows))


def first_wrong(reads: Iterable[Read]) -> Wrong | None:
    """Why sound files do not go together: one id of two rows, in one file or in two."""
    try:
        splits.unique(_placed(reads))
    except Refusal as error:
        return Wrong(error.place, error.message, error.action)
    return None


def lacking(reads: Sequence[Read], held_out: float) -> str:
    """The split that gets no row of these files, by the data step's own rules, duplicates dropped; "" when both do."""
    left = splits.assembled(_placed(reads), {read.source.name: read.source.split for read in reads}, held_out)[0]
    return next((name for name, split in left.items() if not split), "")


def _placed(reads: Iterable[Read]) -> Iterator[tuple[str, form.Row]]:
    return ((f"{read.path.name}:{row.line}", row.whole) for read in reads for row in read.content.rows)
