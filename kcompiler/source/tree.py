"""A spec as plain values, each key and value with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kcompiler.diagnostic import Diagnostic, Place, Related, Severity, at

#: A value of a spec. Recursive, so that no `Any` is needed by readers.
Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


class Limits(NamedTuple):
    """What a spec may cost to read. `alias_nodes` counts the values that aliases stand for; after so many `mistakes`
    reading stops."""

    bytes: int = 1_000_000
    depth: int = 64
    values: int = 100_000
    alias_nodes: int = 10_000
    mistakes: int = 100


LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Tree:
    """Values and places. Pointers are RFC 6901; `broken` are those whose value had to be guessed after a mistake.

    A composed tree has values from several files: `foreign` names the file of each pointer that is not from `file`,
    `texts` has the text of those files.
    """

    file: str
    text: str = field(repr=False)
    data: Value = field(repr=False)
    keys: dict[str, Place] = field(repr=False)
    values: dict[str, Place] = field(repr=False)
    broken: frozenset[str] = frozenset()
    foreign: Mapping[str, str] = field(default_factory=dict, repr=False)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def nearest(self, pointer: str) -> str:
        """The pointer itself, or its nearest ancestor that stands in the text."""
        while pointer and pointer not in self.values:
            pointer = pointer.rpartition("/")[0]
        return pointer

    def file_of(self, pointer: str) -> str:
        """The file in which a pointer, or its nearest ancestor in the text, is written."""
        return self.foreign.get(self.nearest(pointer), self.file)

    def written(self, pointer: str) -> str:
        """The text of a value as somebody wrote it."""
        place, file = self.place(pointer, "value"), self.file_of(pointer)
        return (self.text if file == self.file else self.texts[file])[place.start : place.end]

    def place(self, pointer: str, on: str = "auto") -> Place:
        """Where a pointer stands: its "key", its "value", or "auto": the key of a value that is empty, has several
        lines, or is a collection below its key; any other value itself."""
        pointer = self.nearest(pointer)
        key, value = self.keys.get(pointer), self.values[pointer]
        if key is None or on == "value":
            return value
        below = value.line != key.line and isinstance(self.get(pointer), dict | list)
        if on == "key" or below or value.line != value.end_line or value.start == value.end:
            return key
        return value

    def diagnostic(
        self,
        code: str,
        pointer: str,
        summary: str,
        *,
        on: str = "auto",
        severity: Severity = "error",
        label: str = "",
        detail: str = "",
        help: str = "",
        notes: Sequence[str] = (),
        related: Sequence[Related] = (),
    ) -> Diagnostic:
        """A diagnostic at a pointer, or at its nearest ancestor in the text."""
        return at(
            self.place(pointer, on),
            code=code,
            summary=summary,
            file=self.file_of(pointer),
            severity=severity,
            pointer=pointer,
            label=label,
            detail=detail,
            help=help,
            notes=notes,
            related=related,
        )

    def related(self, pointer: str, message: str, on: str = "auto") -> Related:
        """A second place for a diagnostic."""
        return related(self.file_of(pointer), self.place(pointer, on), message)

    def get(self, pointer: str) -> Value:
        """The value at a pointer. Raises KeyError when nothing stands there."""
        value = self.data
        for part in pointer.split("/")[1:]:
            if isinstance(value, dict):
                value = value[part.replace("~1", "/").replace("~0", "~")]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                raise KeyError(pointer)
        return value


def related(file: str, place: Place, message: str) -> Related:
    end = place.end_column if place.end_line == place.line else place.column
    return Related(file=file, line=place.line, column=place.column, end_column=end, message=message)


def child(pointer: str, key: str | int) -> str:
    """The RFC 6901 pointer of a key or index below `pointer`."""
    if isinstance(key, str) and ("~" in key or "/" in key):
        key = key.replace("~", "~0").replace("/", "~1")
    return f"{pointer}/{key}"


def described(pointer: str) -> str:
    """The command that prints what a field means; for one that only an overlay or extra step names, of all fields."""
    names = [part for part in pointer.split("/")[1:] if not part.isdecimal()]
    if not names or names[0] in ("profiles", "matrix", "steps", "include"):
        return "`kcompiler explain fields` lists what there is"
    return f"`kcompiler explain field:{'.'.join(names)}` says what it means"
