"""Small files of rows → their rows, as the machine will read them (runtime/contract/sources.py), bounded in size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

from kcompiler.facts import World
from kcompiler.facts.paths import kind, located
from kcompiler.spec.data import Data, FileSource
from runtime import digest
from runtime.contract import Refusal, Unavailable, formats, splits, tables
from runtime.contract import rows as form
from runtime.contract.formats import Form
from runtime.contract.sources import Reader

#: larger files are left to the data step: reading 8 MB of rows takes about 0.5 s
MAX_BYTES = 8 << 20
#: and of what such a file holds, when it is unpacked, so much is
MAX_CONTENT = 32 << 20


class Row(NamedTuple):
    """One row of a source file and where it stands (`file:line`). `rest` are texts that nothing maps."""

    place: str
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
    source: FileSource
    path: Path
    content_digest: str
    content: Content


def readable(data: Data, world: World) -> Iterator[Read]:
    """The sources that are files inside the project and small enough to be read here, in order."""
    for index, source in enumerate(data.sources):
        found = look(source, world) if isinstance(source, FileSource) else None
        if found is not None and found.content is not None:
            yield Read(index, cast(FileSource, source), found.path, found.digest, found.content)


class Looked(NamedTuple):
    """A source whose file is here. `content` is None where it is not looked at: `large` says how large it is, or
    `lacking` what would have to be installed."""

    path: Path
    digest: str
    content: Content | None
    large: str = ""
    lacking: str = ""


def look(source: FileSource, world: World) -> Looked | None:
    """The content of a source, as far as it is looked at while compiling. None for what is not here, or of another
    kind, or cannot be opened: `references` and the data step speak about that."""
    path = located(source.path, world)
    if path is None or kind(path) != ("folder" if source.folder else "file"):
        return None
    size = tables.size_of(path)
    if size > MAX_BYTES:
        return Looked(path, "", None, large=f"{size / 2**20:,.0f} MiB")
    pin = content_of(path)
    if not pin:
        return None
    fields = tuple(sorted(source.fields.items()))
    try:
        return Looked(path, pin, parsed(path, pin, source.name, fields, source.limit, source.form, source.responses))
    except formats.TooMuch:
        return Looked(path, pin, None, large=f"more than {MAX_CONTENT >> 20} MiB when it is unpacked")
    except Unavailable as error:
        return Looked(path, pin, None, lacking=error.needs)


def packed(path: Path) -> bool:
    """Whether a file that can be opened begins as gzip does."""
    try:
        with path.open("rb") as file:
            return file.read(len(formats.GZIP)) == formats.GZIP
    except OSError:
        return False


def content_of(path: Path) -> str:
    """The digest of a file, or of a folder and all that is in it; "" for what is neither or cannot be read."""
    try:
        return {"file": digest.of_file, "folder": digest.of_folder}[kind(path)](path)
    except (KeyError, OSError, ValueError):
        return ""


def whole(data: Data, world: World) -> list[Read] | None:
    """Every source of the spec, or None when one of them cannot be read here (a generator, a large or broken file)."""
    found = list(readable(data, world))
    complete = len(found) == len(data.sources) and not any(item.content.wrong for item in found)
    return found if complete else None


@lru_cache(maxsize=8)
def parsed(
    path: Path,
    pin: str,
    name: str,
    fields: tuple[tuple[str, str], ...],
    limit: int,
    form: Form,
    responses: str = "file",
) -> Content:
    """The rows of a file (`pin`: its digest) under a mapping of fields; `limit` 0 takes all. Raises what
    `formats.records` raises beside Refusal."""
    rows: list[Row] = []
    try:
        reader = Reader(name, dict(fields), limit, form, prompts=responses == "teacher")
        for found in reader.file(path, most=MAX_CONTENT):
            texts = {key: value for key, value in found.rest.items() if isinstance(value, str)}
            rows.append(Row(found.place, found.row, texts))
    except Refusal as error:
        return Content(tuple(rows), Wrong(error.place or path.name, error.message, error.action))
    except OSError as error:
        return Content((), Wrong(path.name, f"cannot be read: {error.strerror}", "make it readable"))
    return Content(tuple(rows))


def first_wrong(reads: Iterable[Read]) -> Wrong | None:
    """Why sound files do not go together: one id of two rows, in one file or in two."""
    try:
        splits.unique(_placed(reads))
    except Refusal as error:
        return Wrong(error.place, error.message, error.action)
    return None


def lacking(reads: Sequence[Read], shares: splits.Shares) -> str:
    """The split that gets no row of these files, by the data step's own rules, duplicates dropped; "" when all do."""
    left = splits.assembled(_placed(reads), {read.source.name: read.source.split for read in reads}, shares)[0]
    return next((name for name, split in left.items() if not split), "")


def held(reads: Sequence[Read], shares: splits.Shares, source: str, split: str) -> int:
    """How many rows of a source a split gets, by the data step's own rules, duplicates dropped."""
    left = splits.assembled(_placed(reads), {read.source.name: read.source.split for read in reads}, shares)[0]
    return sum(row["source"] == source for row in left[split])


def _placed(reads: Iterable[Read]) -> Iterator[tuple[str, form.Row]]:
    return ((row.place, row.whole) for read in reads for row in read.content.rows)
