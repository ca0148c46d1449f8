"""A program: one Parquet file, a folder of them, or a folder that `datasets` saved → its rows as lines of JSON.

Run by runtime/contract/tables.py, by its path and in isolation. It reads one JSON object from standard input
(`path`, `kind`, `asked`: the columns that somebody wants, `most`: bytes of the longest row) and writes lines: a row is
an object; `["shard", name]` begins another file; `["wrong", place, message, action]` and `["end"]` end everything.

What a table means as JSON: text, whole numbers, numbers, booleans, lists and structs are what they are; a dictionary
column is its values. A struct has a value for each of its fields in every row, and None where the row said nothing:
such members are left out, because a table cannot tell them from a null that somebody wrote. Whole numbers that stand in
a column of floats (`1` beside `2.5`) have become floats when the table was written, and stay so. A column of type
`arrow.json` is text. Maps, decimals, times, bytes and unions have no form in a row: a column that is asked for and is
one of these is refused by its name and type. `datasets` itself is not used: it rewrites values of chat rows.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: bytes of address space of this process, and of one column of one row group when it is unpacked
MEMORY, COLUMN = 4 << 30, 1 << 30
#: rows in memory at a time: each may be as long as the whole column of a dictionary's longest value
ROWS = 64
DEPTH = 32
#: names of splits in the names of shards, as on the Hub
SPLITS = re.compile(r"(?:^|[/._-])(train|training|test|testing|validation|valid|val|dev|eval|evaluation)(?=[/._-])")
_AGAIN = "write the file again with a current version of pyarrow"


class Wrong(Exception):
    """The file is refused: place, message, action."""


def say(*words: str) -> None:
    sys.stdout.buffer.write(json.dumps(words).encode() + b"\n")


def unfit(kind: Any, depth: int = 0) -> str:
    """Why a type has no form in a row; "" when it has one."""
    import pyarrow as pa

    types = pa.types
    if depth > DEPTH:
        return f"nested deeper than {DEPTH}"
    if isinstance(kind, pa.BaseExtensionType):
        return "" if kind.extension_name == "arrow.json" else f"extension type {kind.extension_name}"
    if types.is_dictionary(kind):
        return unfit(kind.value_type, depth + 1)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return unfit(kind.value_type, depth + 1)
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        names = [field.name for field in fields]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            return f"two members called `{twice}`"
        return next((why for field in fields if (why := unfit(field.type, depth + 1))), "")
    plain = (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_null(kind)
    )
    return "" if plain else str(kind)[:200]


def textual(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return textual(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


class Columns:
    """Which columns of a schema are read, and what the rest is called."""

    def __init__(self, schema: Any, asked: set[str], place: str) -> None:
        names = list(schema.names)
        for name in names:
            if names.count(name) > 1:
                raise Wrong(place, f"two columns are called `{name}`", "give each its own name")
        for name in names:
            why = unfit(schema.field(name).type) if name in asked else ""
            if why:
                raise Wrong(
                    place,
                    f"column `{name}` has a type without a form in a row: {why}",
                    "write the column as text, numbers, lists or structs, or map another",
                )
        self.asked = [name for name in names if name in asked]
        self.texts = [name for name in names if name not in asked and textual(schema.field(name).type)]
        self.others = [name for name in names if name not in asked and name not in self.texts]

    @property
    def read(self) -> list[str]:
        return [*self.asked, *self.texts]


def plain(value: Any, name: str, here: str) -> Any:
    """A value of a column as JSON. Members of structs without a value are left out."""
    if isinstance(value, dict):
        return {key: plain(item, name, here) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item, name, here) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong(here, f"column `{name}` holds {value}, which is no number of JSON", "correct the row, or remove it")
    return value


def values(column: Any, name: str, place: str, first: int) -> list[Any]:
    """The values of one column of a batch whose first row is `first`."""
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        for i in range(len(column)):
            try:
                column[i].as_py()
            except UnicodeDecodeError:
                raise Wrong(
                    f"{place}:{first + i}", f"column `{name}` holds text that is not UTF-8", "correct the row"
                ) from None
        raise


def named(columns: Columns) -> None:
    """Writes one row without values, for a table that has no column to read: the names are told by it."""
    sys.stdout.buffer.write(json.dumps(dict.fromkeys(columns.others)).encode() + b"\n")


def too_long(batch: Any, most: int) -> int | None:
    """The first row of a batch that is far too long to be made a line of, without making one."""
    import pyarrow as pa

    # the values of a dictionary are as long as their column, which is bounded
    columns = [column for column in batch.columns if not pa.types.is_dictionary(column.type)]
    if sum(column.nbytes for column in columns) <= ROWS * most:
        return None
    sizes = (sum(column.slice(i, 1).nbytes for column in columns) for i in range(batch.num_rows))
    return next((i for i, size in enumerate(sizes) if size > most), None)


def rows(batches: Iterator[Any], columns: Columns, place: str, most: int) -> None:
    """Writes the rows of batches."""
    first = 1
    for whole in batches:
        whole = whole.select(columns.read)
        for start in range(0, whole.num_rows, ROWS):
            batch = whole.slice(start, ROWS)
            long = too_long(batch, most)
            if long is not None:
                raise Wrong(f"{place}:{first + long}", f"row longer than {most} bytes", "split or shorten the row")
            found = {name: values(batch.column(name), name, place, first) for name in columns.read}
            for i in range(batch.num_rows):
                here = f"{place}:{first + i}"
                row = {name: plain(found[name][i], name, here) for name in columns.read}
                row |= dict.fromkeys(columns.others)
                try:
                    line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
                except UnicodeEncodeError:
                    raise Wrong(here, "the row holds half of a surrogate pair", "correct the row") from None
                if len(line) > most:
                    raise Wrong(here, f"row longer than {most} bytes", "split or shorten the row")
                sys.stdout.buffer.write(line + b"\n")
            first += batch.num_rows


def parquet(path: Path, place: str, asked: set[str], most: int) -> None:
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        head, size = file.read(4), file.seek(0, 2)
        file.seek(max(0, size - 8))
        tail = file.read(8)
    if head == b"PARE" or tail[4:] == b"PARE":
        raise Wrong(place, "the Parquet file is encrypted", "write it without encryption")
    if head != b"PAR1" or size < 12:
        raise Wrong(
            place, "the file is not Parquet: it does not begin with PAR1", "name a Parquet file, or its true kind"
        )
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > size - 12:
        raise Wrong(place, "the Parquet file is cut short: its end is not that of Parquet", "copy or write it again")
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False, buffer_size=1 << 20) as opened:
        columns = Columns(opened.schema_arrow, asked, place)
        read = set(columns.read)
        for group in range(opened.metadata.num_row_groups):
            about = opened.metadata.row_group(group)
            for number in range(about.num_columns):
                chunk = about.column(number)
                name = str(chunk.path_in_schema).partition(".")[0]
                if name in read and chunk.total_uncompressed_size > COLUMN:
                    raise Wrong(
                        place,
                        f"column `{name}` of row group {group + 1} has {chunk.total_uncompressed_size:,} bytes, "
                        f"at most {COLUMN:,} are read at once",
                        "write the file with smaller row groups: row_group_size=10_000",
                    )
        if columns.read:
            rows(opened.iter_batches(batch_size=ROWS, columns=columns.read, use_threads=False), columns, place, most)
        elif opened.metadata.num_rows:
            named(columns)


def arrow(path: Path, place: str, asked: set[str], most: int) -> None:
    import pyarrow as pa

    def batches(opened: Any, columns: Columns) -> Iterator[Any]:
        number = 0
        while True:
            try:
                batch = opened.read_next_batch() if streamed else opened.get_batch(number)
            except StopIteration:
                return
            number += 1
            batch = batch.select(columns.read)
            # offsets and lengths of an Arrow file are its writer's word
            batch.validate(full=True)
            yield batch
            if not streamed and number == opened.num_record_batches:
                return

    with pa.memory_map(str(path)) as mapped:
        streamed = mapped.read(6) != b"ARROW1"
        mapped.seek(0)
        opened = pa.ipc.open_stream(mapped) if streamed else pa.ipc.open_file(mapped)
        columns = Columns(opened.schema, asked, place)
        if columns.read:
            rows(batches(opened, columns), columns, place, most)
        else:
            named(columns)


def shards(folder: Path) -> list[str]:
    """The files of a folder that hold its rows, in order, relative to it."""
    if (folder / "dataset_dict.json").is_file():
        names = sorted(item.name for item in folder.iterdir() if (item / "state.json").is_file())
        raise Wrong(
            folder.name,
            f"the folder holds several splits: {', '.join(names) or 'none that is complete'}",
            f"name one of them: `path: …/{folder.name}/{names[0] if names else 'train'}`",
        )
    state = folder / "state.json"
    if state.is_file():
        return saved(state)
    found = sorted(item.relative_to(folder).as_posix() for item in folder.rglob("*.parquet") if item.is_file())
    if not found:
        raise Wrong(
            folder.name,
            "the folder holds no rows: neither a state.json, as save_to_disk writes it, nor *.parquet",
            "name the folder that save_to_disk wrote, or that of the Parquet files",
        )
    splits = sorted({match[1] for name in found for match in SPLITS.finditer(name)})
    if len(splits) > 1:
        raise Wrong(
            folder.name,
            f"the folder holds shards of several splits: {', '.join(splits)}",
            "name the files as sources of `kind: parquet`, or put each split into a folder of its own",
        )
    return found


def saved(state: Path) -> list[str]:
    """The shards that save_to_disk names."""
    place = f"{state.parent.name}/{state.name}"
    try:
        if state.stat().st_size > 1 << 20:
            raise ValueError("longer than 1 MiB")
        files = [entry["filename"] for entry in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
        if not files or not all(isinstance(name, str) for name in files):
            raise ValueError("no file of rows is named")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Wrong(place, f"not what save_to_disk writes: {error}", "save the dataset again") from None
    for name in files:
        if name != Path(name).name or not (state.parent / name).is_file():
            raise Wrong(place, f"names the file {name!r}, which is not in its folder", "save the dataset again")
    return list(files)


def main() -> None:
    # macOS knows the limit and refuses to set it
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    request = json.load(sys.stdin)
    path, asked, most = Path(request["path"]), set(request["asked"]), int(request["most"])
    try:
        import pyarrow as pa
    except ImportError:
        say("absent")
        return
    place = path.name
    try:
        names = shards(path) if request["kind"] == "datasets" else [""]
        for name in names:
            place = f"{path.name}/{name}" if name else path.name
            say("shard", place)
            sys.stdout.flush()
            file = path / name if name else path
            (arrow if file.suffix == ".arrow" else parquet)(file, place, asked, most)
    except Wrong as wrong:
        say("wrong", *wrong.args)
    except MemoryError:
        say(
            "wrong",
            place,
            f"reading it takes more than {MEMORY >> 30} GiB of memory",
            "write it with smaller row groups",
        )
    except (pa.ArrowException, OSError, ValueError, RecursionError, OverflowError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        say("wrong", place, f"the file cannot be read: {first}", _AGAIN)
    else:
        say("end")


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
