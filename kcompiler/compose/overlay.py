"""Dotted path → value, for some places of a spec: the form in which profiles and sweeps change it.

    training.stages.kd.steps: 20        the item of a list is called by its name, id, term or use, or by its number

A key that is not there yet is made, with the mappings around it: sections and fields may be left out of a spec, and the
schema says which names there are. `null` takes a key away that is there; no key of a spec has that value. Items of
lists are neither made nor taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kcompiler.compose.draft import Draft, item, key_of, names
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.source import Tree, Value, child

#: what a spec is: no overlay may make another one of it
FIXED = ("apiVersion", "kind", "metadata", "include", "profiles")


def apply(draft: Draft, tree: Tree, pointer: str, fixed: Sequence[str] = FIXED) -> list[Diagnostic]:
    """Put every value of the overlay at `pointer` of `tree` in its place."""
    changes = [(path, child(pointer, path)) for path in paths(tree, pointer)]
    return list(clashes(tree, [[change] for change in changes])) or put(draft, tree, changes, fixed)


def paths(tree: Tree, pointer: str) -> list[str]:
    """The paths of the overlay at `pointer`, as they are written."""
    overlay = tree.get(pointer)
    return list(overlay) if isinstance(overlay, dict) else []


def clashes(tree: Tree, groups: Sequence[Sequence[tuple[str, str]]]) -> Iterator[Diagnostic]:
    """(path, where it is written) of different groups that lead to one place, or one into the other: which of them is
    applied last would decide, and the order of keys means nothing. Paths of one group exclude each other."""
    places: dict[tuple[str, ...], dict[int, tuple[str, str]]] = {}
    for number, group in enumerate(groups):
        for path, origin in group:
            places.setdefault(_parts(tree.data, path), {}).setdefault(number, (path, origin))
    for parts, changes in sorted(places.items()):
        for number, (path, origin) in changes.items():
            around = (places.get(parts[:length], {}) for length in range(1, len(parts) + 1))
            others = [(at, *one) for found in around for at, one in found.items() if at != number]
            # the same place is met from both sides, and said once
            for at, other, written in others[:1]:
                same = _parts(tree.data, other) == parts
                if same and at > number:
                    continue
                yield tree.diagnostic(
                    "KC2122",
                    origin,
                    f"`{other}` and `{path}` lead {'to one place' if same else 'into each other'}",
                    on="key",
                    label="which of them counts is not said",
                    help="keep one of them, with the whole value",
                    related=(tree.related(written, "the other", "key"),),
                )


def within(tree: Tree, path: str, around: str) -> bool:
    """Whether a path leads to the place that another leads to, or into it."""
    outer = _parts(tree.data, around)
    return _parts(tree.data, path)[: len(outer)] == outer


def _parts(data: Value, path: str) -> tuple[str, ...]:
    """Where a path leads: items of lists by their number, however they are called."""
    found: list[str] = []
    for part in path.split("."):
        if isinstance(data, list):
            number = item(data, part)
            found.append(part if number is None else str(number))
            data = None if number is None else data[number]
        else:
            found.append(part)
            data = data.get(part) if isinstance(data, dict) else None
    return tuple(found)


def put(draft: Draft, tree: Tree, changes: Sequence[tuple[str, str]], fixed: Sequence[str] = FIXED) -> list[Diagnostic]:
    """Put the value at each origin of `tree` where its dotted path leads. Refused: a path that leads nowhere, and one
    that leads to a `fixed` place, into it or around it.

    All paths lead through the spec as it was: a change of an item's name does not decide where another path leads.
    """
    led = [(_led(draft.data, tree, path, origin, fixed), origin) for path, origin in changes]
    wrong = [way for way, _ in led if isinstance(way, Diagnostic)]
    for (way, origin), (path, _) in zip(led, changes, strict=True):
        if isinstance(way, Diagnostic):
            continue
        if tree.get(origin) is None:
            wrong += _taken(draft, tree, way, path, origin)
            continue
        for pointer in way[:-1]:
            draft.open(pointer, tree, origin)
        draft.put(way[-1], tree, origin)
    return wrong


def _taken(draft: Draft, tree: Tree, way: list[str], path: str, origin: str) -> Iterator[Diagnostic]:
    """Take away the key that a way leads to. Refused: one that is not there, and an item of a list."""
    around, _, last = way[-1].rpartition("/")
    holder = None if way[:-1] else draft.get(around)
    if isinstance(holder, dict) and key_of(last) in holder:
        draft.take(way[-1])
        return
    item = isinstance(holder, list)
    yield tree.diagnostic(
        "KC2113",
        origin,
        f"`{path}` cannot be taken away" if item else f"`{path}` leads nowhere in this spec",
        on="key",
        label="an item of a list" if item else "nothing is there to take away",
        help="give the whole list" if item else "remove the line: the key is absent as it is",
    )


def _led(value: Value, tree: Tree, path: str, origin: str, fixed: Sequence[str]) -> list[str] | Diagnostic:
    """The pointers of mappings that must be made, then the pointer that the path leads to."""
    held = next((one for one in fixed if path == one or path.startswith(f"{one}.") or one.startswith(f"{path}.")), "")
    if held:
        return tree.diagnostic(
            "KC2114",
            origin,
            f"`{held}` cannot be changed here",
            on="key",
            label="the same in every form of this spec",
            help="remove it, or write a spec of its own",
        )
    pointer, parts, made = "", path.split("."), []
    for i, part in enumerate(parts):
        if isinstance(value, list):
            number = item(value, part)
            if number is None:
                return _nowhere(tree, origin, parts, i, names(value))
            pointer, value = child(pointer, number), value[number]
        elif isinstance(value, dict):
            pointer = child(pointer, part)
            if part not in value and i + 1 < len(parts):
                made.append(pointer)
                value = {}
            else:
                value = value.get(part)
        else:
            return _nowhere(tree, origin, parts, i, [])
    return [*made, pointer]


def _nowhere(tree: Tree, origin: str, parts: list[str], i: int, known: list[str]) -> Diagnostic:
    return tree.diagnostic(
        "KC2113",
        origin,
        f"`{'.'.join(parts)}` leads nowhere in this spec",
        on="key",
        label=f"`{'.'.join(parts[:i])}` has no `{parts[i]}`",
        help=did_you_mean(parts[i], known) or "a path names keys of the spec, and items of lists by their name",
    )


@dataclass(frozen=True)
class Nowhere:
    """A path that leads nowhere: how far it led, the part that is missing, and what would have been there."""

    at: str
    part: str
    known: list[str]


@dataclass(frozen=True)
class Found:
    """Where a path leads, and what stands there."""

    pointer: str
    value: Value


def lookup(data: Value, path: str) -> Found | Nowhere:
    """What stands at a dotted path."""
    pointer, parts = "", path.split(".")
    for i, part in enumerate(parts):
        at = ".".join(parts[:i])
        if isinstance(data, list):
            number = item(data, part)
            if number is None:
                return Nowhere(at, part, names(data))
            pointer, data = child(pointer, number), data[number]
        elif isinstance(data, dict) and part in data:
            pointer, data = child(pointer, part), data[part]
        else:
            return Nowhere(at, part, sorted(data) if isinstance(data, dict) else [])
    return Found(pointer, data)


def sections(tree: Tree, pointer: str) -> Iterator[str]:
    """Top-level sections that the overlay at `pointer` changes."""
    for path in paths(tree, pointer):
        yield path.partition(".")[0]
