"""A spec and what it names → the pins it should carry, and its text with them in it: comments and layout stay.

Pinned are files of rows (`sha256`, `bytes`), folders of weights (`revision`) and fragments (`sha256`). A fragment has
pins of its own; it is brought up to date before the spec's pin of it is computed. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kcompiler import source
from kcompiler.facts import World
from kcompiler.facts import weights as lying
from kcompiler.facts.paths import kind, located
from kcompiler.source import Tree, Value, child
from runtime import digest
from runtime.contract.formats import KINDS
from runtime.contract.tables import size_of


class Unwritable(Exception):
    """A text whose pins cannot be written by machine; the message says which and why."""


class Unstable(Unwritable):
    """A folder that has no digest; the message says where it is named, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One value that should stand at a pointer. `old` is None where nothing stands; `line` 0 likewise."""

    file: str
    pointer: str
    line: int
    column: int
    old: Value
    new: str | int


@dataclass
class Pinned:
    """`texts`: file → its new text, of those that change. `absent`: what is named, has no pin and is not here."""

    pins: list[Pin] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def pinned(name: str, data: bytes, world: World) -> Pinned:
    """The pins of a spec's text and of its fragments. `name` is what messages call the spec.

    Raises Unwritable: a text that cannot be read, or in which a pin has no plain place; Unstable for a folder without
    stable content. Raises OSError for what cannot be read.
    """
    found = Pinned()
    tree = _load(name, data)
    brought: dict[str, bytes] = {}
    for i, entry in _entries(tree, "/include"):
        written = entry.get("path")
        path = located(written, world) if isinstance(written, str) else None
        if path is None or kind(path) != "file":
            if "sha256" not in entry:
                found.absent.append(str(written))
            continue
        shown = path.relative_to(world.root.resolve()).as_posix()
        if shown not in brought:
            part = _load(shown, path.read_bytes())
            text = _with(part, shown, list(_own(part, world, found)), found)
            brought[shown] = text.encode()
        pin = digest.of_bytes(brought[shown]).removeprefix("sha256:")
        brought[f"/include/{i}"] = pin.encode()
    wanted = list(_own(tree, world, found))
    wanted += [
        (pointer, "path", "sha256", pin.decode()) for pointer, pin in brought.items() if pointer.startswith("/include/")
    ]
    _with(tree, name, wanted, found)
    return found


def _load(name: str, data: bytes) -> Tree:
    tree, wrong = source.load(name, data)
    first = next((item for item in wrong if item.severity == "error"), None)
    if tree is None or first is not None:
        raise Unwritable(f"{first.place if first else name}: {first.summary if first else 'cannot be read'}")
    return tree


def _entries(tree: Tree, pointer: str) -> Iterator[tuple[int, dict[str, Value]]]:
    value = _get(tree, pointer)
    for i, entry in enumerate(value if isinstance(value, list) else []):
        if isinstance(entry, dict):
            yield i, entry


def _get(tree: Tree, pointer: str) -> Value:
    try:
        return tree.get(pointer)
    except (KeyError, TypeError):
        return None


#: pointer of a mapping, the key that names the thing, the key of the pin, the pin
_Wanted = tuple[str, str, str, "str | int"]


def _own(tree: Tree, world: World, found: Pinned) -> Iterator[_Wanted]:
    """What one text names by itself."""
    for pointer in ("/teacher", "/student/checkpoint"):
        section = _get(tree, pointer)
        where = lying.written(section)
        if where is None or where.remote or not isinstance(section, dict):
            continue
        path = lying.path_of(where, world)
        if path is not None:
            pin = digest.of_file(path) if where.packed else _of_folder(tree, child(pointer, where.key), path)
            yield pointer, where.key, "revision", pin
        elif "revision" not in section:
            found.absent.append(where.place)
    for i, entry in _entries(tree, "/data/sources"):
        written = entry.get("path")
        if entry.get("kind") not in KINDS or not isinstance(written, str):
            continue
        path = located(written, world)
        if path is not None and kind(path) == ("folder" if entry["kind"] == "datasets" else "file"):
            at = f"/data/sources/{i}/path"
            pin = _of_folder(tree, at, path) if entry["kind"] == "datasets" else digest.of_file(path)
            yield f"/data/sources/{i}", "path", "sha256", pin.removeprefix("sha256:")
            yield f"/data/sources/{i}", "path", "bytes", size_of(path)
        elif "sha256" not in entry or "bytes" not in entry:
            found.absent.append(written)


def _of_folder(tree: Tree, pointer: str, path: Path) -> str:
    try:
        return digest.of_folder(path)
    except ValueError as reason:
        at = tree.place(pointer)
        raise Unstable(
            f"{tree.file}:{at.line}:{at.column}: the folder has no stable content: {reason}\n"
            "replace links by the files they point to: cp -rL, as for a snapshot in the cache of Hugging Face"
        ) from None


def _with(tree: Tree, name: str, wanted: list[_Wanted], found: Pinned) -> str:
    """The text with its pins, noted in `found` when it changes. Raises Unwritable."""
    edits: list[tuple[int, int, str]] = []
    meant: dict[str, str | int] = {}
    for pointer, beside, key, new in wanted:
        place, old = child(pointer, key), _get(tree, child(pointer, key))
        if old == new and type(old) is type(new):
            continue
        meant[place] = new
        at = tree.values.get(place)
        pin = Pin(file=name, pointer=place, line=at.line if at else 0, column=at.column if at else 0, old=old, new=new)
        found.pins.append(pin)
        edits.append(_replaced(tree, place, new) if at else _inserted(tree, pointer, beside, key, new))
    if not edits:
        return tree.text
    parts, at_end = [], 0
    for start, end, put in sorted(edits, key=lambda edit: edit[0]):
        parts += [tree.text[at_end:start], put]
        at_end = end
    text = "".join([*parts, tree.text[at_end:]])
    _prove(tree, name, text, meant)
    found.texts[name] = text
    return text


def _replaced(tree: Tree, pointer: str, new: str | int) -> tuple[int, int, str]:
    place = tree.values[pointer]
    quote = tree.text[place.start] if tree.text[place.start : place.start + 1] in ("'", '"') else ""
    return place.start, place.end, f"{quote}{new}{quote}" if isinstance(new, str) else str(new)


def _inserted(tree: Tree, pointer: str, beside: str, key: str, new: str | int) -> tuple[int, int, str]:
    """A key of its own, behind the one that names the thing: on that line in `{…}`, else on the next."""
    text, sibling = tree.text, child(pointer, beside)
    end = tree.values[sibling].end
    if text[tree.values[pointer].start] == "{":
        return end, end, f", {key}: {new}"
    line_end = text.find("\n", end)
    at = len(text) if line_end == -1 else line_end
    newline = "\r\n" if text[at - 1 : at] == "\r" else "\n"
    at -= len(newline) - 1
    return at, at, f"{newline}{' ' * (tree.keys[sibling].column - 1)}{key}: {new}"


def _prove(tree: Tree, name: str, text: str, meant: Mapping[str, str | int]) -> None:
    """Raises Unwritable unless the new text says what the old one said, and the pins."""
    again, wrong = source.load(name, text.encode())
    expected = _set(tree.data, "", meant)
    if again is None or any(item.severity == "error" for item in wrong) or again.data != expected:
        keys = ", ".join(pointer[1:].replace("/", ".") for pointer in meant)
        raise Unwritable(f"{name}: {keys} cannot be written without changing something else; write it by hand")


def _set(value: Any, pointer: str, meant: Mapping[str, str | int]) -> Any:
    if isinstance(value, dict):
        made = {
            key: meant.get(child(pointer, key), _set(item, child(pointer, key), meant)) for key, item in value.items()
        }
        prefix = f"{pointer}/"
        new = {p.removeprefix(prefix): pin for p, pin in meant.items() if p.startswith(prefix)}
        return made | {key: pin for key, pin in new.items() if "/" not in key}
    if isinstance(value, list):
        return [_set(item, child(pointer, i), meant) for i, item in enumerate(value)]
    return value
