"""A file of rows as people keep it (JSON Lines, CSV, Parquet, a folder of `datasets`) → its records, one in memory at a
time: the members of each row that were asked for, and where it stands.

Standard library only. JSON Lines and CSV are unpacked when they begin as gzip does; Parquet and Arrow are read by a
process of their own (runtime/contract/tables.py). Nothing is guessed: neither delimiter, nor encoding, nor a type.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from runtime.contract import Refusal, rows, tables
from runtime.contract.strict_json import Json, members

Kind = Literal["jsonl", "csv", "parquet", "datasets"]
KINDS = ("jsonl", "csv", "parquet", "datasets")
#: what is no text, and is read through `tables`
TABLES = ("parquet", "datasets")
#: what may stand between the fields of a line of CSV
DELIMITERS = (",", ";", "\t", "|")

#: how a file that is packed begins
GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
#: how a file begins that is something else → what it is, what to do
_FOREIGN = {
    b"PAR1": ("a Parquet file", "write `kind: parquet`"),
    b"ARROW1": ("an Arrow file", "write `kind: datasets` and name its folder, or save it as Parquet"),
    b"PK\x03\x04": ("a zip archive, as a spreadsheet (.xlsx) is", "unpack it; in a spreadsheet, save as CSV UTF-8"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "unpack it, or pack it by gzip"),
    b"BZh": ("packed by bzip2", "unpack it, or pack it by gzip"),
    b"\xfd7zXZ": ("packed by xz", "unpack it, or pack it by gzip"),
    b"\xff\xfe": ("saved as UTF-16", "save it as UTF-8; in a spreadsheet, as CSV UTF-8"),
    b"\xfe\xff": ("saved as UTF-16", "save it as UTF-8; in a spreadsheet, as CSV UTF-8"),
}


class Form(NamedTuple):
    """What the file of a source is. `columns` names those of a CSV file whose first line is a row already."""

    kind: Kind = "jsonl"
    delimiter: str = ","
    columns: tuple[str, ...] = ()


class Record(NamedTuple):
    """One row before its fields are mapped. `number` is the line where it begins, in a table the row, from 1."""

    number: int
    place: str
    asked: dict[str, Json]
    rest: dict[str, Any]


class TooMuch(Exception):
    """The content of a file is longer than its reader wanted to look at."""


def records(path: Path, form: Form, asked: frozenset[str], *, most: int | None = None) -> Iterator[Record]:
    """The records of a file or folder. `most` bytes of content are looked at, of a packed file when it is unpacked.

    Raises Refusal with file and line for the first thing that is wrong, TooMuch, and Unavailable for a table where
    pyarrow is not installed.
    """
    if form.kind in TABLES:
        yield from _of_table(path, form, asked, most)
        return
    with path.open("rb") as file:
        yield from of_text(file, form, asked, place=path.name, size=path.stat().st_size, most=most)


def of_text(
    file: BinaryIO, form: Form, asked: frozenset[str], *, place: str, size: int, most: int | None = None
) -> Iterator[Record]:
    """What `records` gives, of a file of text that is open and `size` bytes long. Raises what it raises."""
    with _opened(file, place, size, most) as text:
        yield from _of_csv(text, form, asked, place) if form.kind == "csv" else _of_json(text, asked, place)


def _of_json(file: BinaryIO, asked: frozenset[str], place: str) -> Iterator[Record]:
    for number, (here, line) in enumerate(rows.lines_of(file, place=place), start=1):
        yield Record(number, here, *_members(line, asked, here))


def _members(line: bytes, asked: frozenset[str], here: str) -> tuple[dict[str, Json], dict[str, Any]]:
    try:
        return members(line, asked.__contains__)
    except ValueError as error:
        raise Refusal(_why(str(error)), place=here, action=_what_to_do(str(error), line)) from None


def _why(error: str) -> str:
    """What is wrong with a line, in words that are true of it: text that breaks no grammar is not called "not JSON"."""
    judged = error.startswith(("field ", "duplicate key", "not a JSON object", "starts with", "nested"))
    return error.replace("not a JSON object", "a row must be a JSON object") if judged else f"not JSON: {error}"


def _what_to_do(error: str, line: bytes) -> str:
    if line.lstrip().startswith(b"["):
        return "write one object a line, as `jq -c '.[]' FILE` makes them of an array"
    if error.startswith("starts with"):
        return "save the file as UTF-8 without a byte-order mark"
    if error.startswith("duplicate key"):
        return "keep one of the two; readers disagree on which one counts"
    return "correct the line, or remove it"


@contextmanager
def _opened(file: BinaryIO, place: str, size: int, most: int | None) -> Iterator[BinaryIO]:
    """The text of a file, unpacked if it is packed by gzip. Raises Refusal for what is no text."""
    head = file.read(8)
    file.seek(0)
    for magic, (what, action) in _FOREIGN.items():
        if head.startswith(magic):
            raise Refusal(f"the file is {what}", place=place, action=action)
    if not head.startswith(GZIP):
        yield file
        return
    with gzip.GzipFile(fileobj=file, mode="rb") as packed:
        yield cast(BinaryIO, _Unpacked(packed, place, size, most))


class _Unpacked:
    """A packed file, line by line: what is damaged is a place in it, and what expands without end is refused."""

    def __init__(self, packed: gzip.GzipFile, place: str, size: int, most: int | None) -> None:
        self._packed, self._place, self._most = packed, place, most
        self._bound = tables.expanded(size)
        self._lines = self._bytes = 0

    def readline(self, size: int) -> bytes:
        here = f"{self._place}:{self._lines + 1}"
        try:
            line = self._packed.readline(size)
        except (EOFError, OSError, zlib.error) as error:
            raise Refusal(f"the gzip file is damaged: {error}", place=here, action="pack it again") from None
        self._lines += 1
        self._bytes += len(line)
        if self._most is not None and self._bytes > self._most:
            raise TooMuch
        if self._bytes > self._bound:
            raise tables.bomb(self._bound, here)
        return line


# -- CSV, RFC 4180 -----------------------------------------------------------------------------------------------------
#
# Read by hand, and not by the module `csv`: that one takes a quotation mark inside a bare field, text after a closed
# field (unless strict), NUL, and lines of any width, and its bound on a field is one number for the whole process.


def _fields(delimiter: str) -> re.Pattern[str]:
    return re.compile(rf'"([^"]*(?:""[^"]*)*)"|([^"{re.escape(delimiter)}\r\n]*)')


_FIELDS = {delimiter: _fields(delimiter) for delimiter in DELIMITERS}


def split(text: str, delimiter: str, here: str) -> list[str]:
    """The fields of one record of CSV, without its line end. Raises Refusal for what RFC 4180 does not have."""
    found: list[str] = []
    at = 0
    while True:
        match = _FIELDS[delimiter].match(text, at)
        assert match is not None  # the second form matches nothing at all, too
        quoted = match[1]
        found.append(match[2] if quoted is None else quoted.replace('""', '"'))
        start, at = at, match.end()
        if at == len(text):
            return found
        if text[at] != delimiter:
            raise _broken(text, start, at, quoted is not None, f"field {len(found)}", here)
        at += 1


def _broken(text: str, start: int, at: int, closed: bool, name: str, here: str) -> Refusal:
    if text[at] == '"' and at == start:
        return Refusal(
            f"{name} begins with a quotation mark that is never closed",
            place=here,
            action='close it; a mark inside such a field is written twice: "5"" pipe"',
        )
    if text[at] == '"':
        return Refusal(
            f"{name} holds a quotation mark and does not begin with one",
            place=here,
            action='put the field into quotation marks and write each mark inside twice: "5"" pipe"',
        )
    if closed:
        return Refusal(
            f"text stands between the closing quotation mark of {name} and the delimiter: {text[at : at + 20]!r}",
            place=here,
            action="remove it, or declare the delimiter of the file: `delimiter: …`",
        )
    return Refusal(
        f"{name} holds a line end of its own (a carriage return) outside quotation marks",
        place=here,
        action="put the field into quotation marks, or end lines with a line feed",
    )


def _lines(file: BinaryIO, place: str) -> Iterator[tuple[int, str]]:
    """Each record of CSV as (line where it begins, its text): a record goes on where a quotation mark is open."""
    most, number = rows.MAX_LINE_BYTES, 0
    while line := file.readline(most + 2):
        first, number = number + 1, number + 1
        if first == 1:
            line = line.removeprefix(_BOM)
        parts, size, marks = [line], len(line), line.count(b'"')
        while marks % 2 and size <= most and (line := file.readline(most + 2)):
            parts.append(line)
            number, size, marks = number + 1, size + len(line), marks + line.count(b'"')
        here = f"{place}:{first}"
        whole = b"".join(parts)
        whole = whole[:-1].removesuffix(b"\r") if whole.endswith(b"\n") else whole
        if len(whole) > most or (marks % 2 and size > most):
            raise Refusal(
                f"row longer than {most} bytes",
                place=here,
                action="split or shorten the row; perhaps a quotation mark that opens here is never closed",
            )
        if not whole.strip():
            raise Refusal("empty line in a CSV file", place=here, action="remove the line")
        try:
            yield first, whole.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refusal(
                f"not UTF-8 at byte {error.start + 1} of the row",
                place=here,
                action="save the file as UTF-8; in a spreadsheet, as CSV UTF-8",
            ) from None


def _of_csv(file: BinaryIO, form: Form, asked: frozenset[str], place: str) -> Iterator[Record]:
    header = list(form.columns)
    for number, text in _lines(file, place):
        here = f"{place}:{number}"
        found = split(text, form.delimiter, here)
        if not header:
            header = _header(found, form.delimiter, here)
            continue
        if len(found) != len(header):
            raise Refusal(
                f"{len(found)} fields, where {'the spec names' if form.columns else 'the header has'} {len(header)}",
                place=here,
                action=_width(found, form.delimiter),
            )
        for name, value in zip(header, found, strict=True):
            if "\0" in value:
                raise Refusal(f"column `{name}` holds a NUL character", place=here, action="remove it")
        row: dict[str, Json] = dict(zip(header, found, strict=True))
        rest = {name: value for name, value in row.items() if name not in asked}
        yield Record(number, here, {name: value for name, value in row.items() if name in asked}, rest)


def _header(found: Sequence[str], delimiter: str, here: str) -> list[str]:
    for name in found:
        if not name.strip() or "\0" in name:
            raise Refusal(
                "a column has no name in the header",
                place=here,
                action="name every column in the first line, or write `columns: […]` where there is no header",
            )
        if found.count(name) > 1:
            raise Refusal(
                f"two columns of the header are called `{name[:80]}`", place=here, action="give each its own name"
            )
    others = [other for other in DELIMITERS if other != delimiter and other in found[0]]
    if len(found) == 1 and others:
        raise Refusal(
            f"the header is one column, {found[0][:80]!r}",
            place=here,
            action=f"declare the delimiter of the file, which may be `delimiter: {others[0]!r}`",
        )
    return list(found)


def _width(found: Sequence[str], delimiter: str) -> str:
    other = next((one for one in DELIMITERS if one != delimiter and len(found) == 1 and one in found[0]), "")
    if other:
        return f"declare the delimiter of the file, which may be `delimiter: {other!r}`"
    return "give every row as many fields; one that holds the delimiter stands in quotation marks"


# -- tables ------------------------------------------------------------------------------------------------------------


def _of_table(path: Path, form: Form, asked: frozenset[str], most: int | None) -> Iterator[Record]:
    seen = 0
    for number, here, line in tables.lines(path, form.kind, asked):
        seen += len(line)
        if most is not None and seen > most:
            raise TooMuch
        yield Record(number, here, *_members(line, asked, here))


def opened_bytes(data: bytes) -> BinaryIO:
    """Bytes as a file."""
    return io.BytesIO(data)
