"""A file of somebody's rows → how a spec names it: kind, delimiter, and which of its columns are asked and answered."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

from kcompiler.begin.unable import Unable
from runtime.contract import MachineError, Refusal, Unavailable, formats
from runtime.contract.formats import DELIMITERS, GZIP, Form
from runtime.contract.rows import Row
from runtime.contract.sources import Reader
from runtime.contract.strict_json import Json, dumps

#: the names that people give these columns, likeliest first
NAMED: Mapping[str, Sequence[str]] = {
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "chat"),
    "prompt": ("prompt", "question", "instruction", "query", "input", "user", "request", "q"),
    "response": ("response", "answer", "completion", "output", "reply", "target", "assistant", "label", "chosen", "a"),
}
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
#: rows that are looked at to learn the names of a file without a header
_LOOKED = 200
#: further rows that a message names
_NAMED = 12
#: rows whose tokens are counted, at least, where there are so many
SAMPLE = 2000


@dataclass(frozen=True)
class File:
    """What a file is. `names` are those of its columns, or of the members of its first rows."""

    path: Path
    form: Form
    names: tuple[str, ...] = field(repr=False)


def look(path: Path) -> File:
    """What lies there. Raises Unable for what holds no rows."""
    if not path.exists():
        raise Unable(f"{path}: no such file", "name the file that holds the rows: --data FILE")
    if path.is_dir():
        return _named(path, Form("datasets"))
    ending = next((one for one in reversed(path.suffixes) if one.lower() != ".gz"), "").lower()
    kind = _ENDINGS.get(ending)
    if kind is None:
        known = ", ".join(sorted(_ENDINGS))
        raise Unable(f"{path}: what a `{ending or path.name}` holds is not known", f"name it by what it is: {known}")
    if path.stat().st_size == 0:
        raise Unable(f"{path}: the file is empty", "put rows into it, with a header where it is CSV")
    if kind == "csv":
        return _named(path, Form("csv", _delimiter(path)))
    return _named(path, Form("parquet" if kind == "parquet" else "jsonl"))


def _delimiter(path: Path) -> str:
    """What stands most often in the first line."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        first = next(iter(_first_lines(path, packed)), "")
    except (OSError, EOFError):
        first = ""
    counts = {one: first.count(one) for one in DELIMITERS}
    return max(DELIMITERS, key=lambda one: counts[one])


def _first_lines(path: Path, packed: bool) -> list[str]:
    import gzip

    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        return [file.readline(1 << 16).decode("utf-8", "replace")]


def _named(path: Path, form: Form) -> File:
    names: dict[str, None] = {}
    count = 0
    for record in _records(path, form, frozenset()):
        count += 1
        names.update(dict.fromkeys([*record.asked, *record.rest]))
        if count == _LOOKED:
            break
    if not count:
        raise Unable(f"{path}: there is no row in it", "put rows into it")
    return File(path, form, tuple(names))


def _records(path: Path, form: Form, asked: frozenset[str]) -> itertools.chain[formats.Record]:
    """The records of a file. Raises Unable for what refuses it."""
    try:
        found = formats.records(path, form, asked)
        first = next(found, None)
    except Refusal as refusal:
        raise Unable(f"{refusal.place or path}: {refusal.message}", refusal.action) from None
    except Unavailable as lacking:
        raise Unable(str(lacking), lacking.needs) from None
    except MachineError as other:
        raise Unable(f"{path}: {other}", "mend the file") from None
    return itertools.chain([] if first is None else [first], found)


def mapped(names: Sequence[str], given: Mapping[str, str], path: Path, *, alone: bool = False) -> dict[str, str]:
    """Row field → column: what was given, else what columns of that meaning are usually called.

    `alone` takes prompts without responses. Raises Unable for a column that is not there, and when the columns say
    nothing.
    """
    there = ", ".join(f"`{name}`" for name in names)
    for part, name in given.items():
        if name not in names:
            raise Unable(f"{path} has no column `{name}` for the {part}", f"name one of its columns: {there}")
    if given:
        missing = {"prompt", "response"} - given.keys() if "messages" not in given else set()
        found = {part: _guess(names, part) for part in missing}
        whole = {**given, **{part: name for part, name in found.items() if name}}
    else:
        messages = _guess(names, "messages")
        pair = {part: _guess(names, part) for part in ("prompt", "response")}
        whole = {part: name for part, name in pair.items() if name}
        if len(whole) < 2 and messages:
            return {"messages": messages}
    if "messages" in whole:
        return {"messages": whole["messages"]}
    for part in ("prompt",) if alone else ("prompt", "response"):
        if part not in whole:
            teach = "; where there is none the teacher answers: add --judge FILE, rows with answers to judge by"
            raise Unable(
                f"none of the columns of {path} looks like the {part}",
                f"say which it is: --{part} COLUMN, of {there}{teach if part == 'response' else ''}",
            )
    return {part: whole[part] for part in ("prompt", "response") if part in whole}


def guessed(names: Sequence[str], *, alone: bool = False) -> bool:
    """Whether the names of the columns say which is asked and (unless `alone`) which answered."""
    return bool(_guess(names, "messages")) or all(
        _guess(names, part) for part in (("prompt",) if alone else ("prompt", "response"))
    )


def word(name: str) -> str:
    """A name as a spec may have one."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-")
    return found if found and found[0].isalpha() else f"rows-{found}".rstrip("-")


class Read(NamedTuple):
    """How many rows there are, and a fair sample of them."""

    total: int
    sample: list[Row]


def prompts(fields: Mapping[str, str]) -> bool:
    """Whether these are rows that the teacher answers."""
    return "response" not in fields and "messages" not in fields


def read(file: File, fields: Mapping[str, str]) -> Read:
    """Every row, as the data step will read it. Raises Unable for the first that it will refuse."""
    sample: list[Row] = []
    count, step = 0, 1
    reader = Reader(word(file.path.name.partition(".")[0]), fields, form=file.form, prompts=prompts(fields))
    try:
        for found in reader.file(file.path):
            if count % step == 0:
                sample.append(found.row)
            count += 1
            if len(sample) == 2 * SAMPLE:
                # every second of them: evenly spaced, whatever comes
                sample, step = sample[::2], 2 * step
    except Refusal as refusal:
        said = f"{refusal.place or file.path}: {refusal.message}{_more(reader, file.path)}"
        raise Unable(said, refusal.action) from None
    return Read(count, sample)


def identified(file: File, fields: Mapping[str, str]) -> dict[str, str]:
    """The mapping, with the file's `id` left unread where it names several rows: a conversation, a person. Raises
    nothing: what is wrong with the rows `read` says."""
    if "id" not in file.names:
        return dict(fields)
    reader = Reader(word(file.path.name.partition(".")[0]), fields, form=file.form, prompts=prompts(fields))
    seen: dict[str, str] = {}
    with suppress(MachineError):
        for found in reader.file(file.path):
            text = dumps(cast(Json, {**found.row, "id": ""}))
            if seen.setdefault(found.row["id"], text) != text:
                return {**fields, "id": ""}
    return dict(fields)


def _more(reader: Reader, path: Path) -> str:
    """That further rows are wrong, and where: nobody mends a file one row at a time."""
    wrong: list[str] = []
    with suppress(MachineError):
        # what ends the reading is the next thing that is told
        wrong += (one.place for one in reader.faults(path))
    more = wrong[1:]
    if not more:
        return ""
    shown = ", ".join(place.rpartition(":")[2] for place in more[:_NAMED]) + (" …" if len(more) > _NAMED else "")
    if len(more) == 1:
        return f"; one more row is wrong, on line {shown}"
    return f"; {len(more):,} more rows are wrong, on lines {shown}"


def _guess(names: Sequence[str], part: str) -> str:
    folded = {name.strip().casefold(): name for name in reversed(names)}
    return next((folded[name] for name in NAMED[part] if name in folded), "")
