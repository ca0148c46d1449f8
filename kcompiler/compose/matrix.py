"""Section `matrix` → cells: one value of every dimension, each cell one form of the spec.

    matrix:
      execution.seed: [1, 2, 3]                          # a dimension called `seed`, by the last part of its path
      recipe:                                            # a dimension whose values have names
        int8: {quantization.default.weights: int8}
        fp16: {quantization.default.weights: fp16}

Dimensions and their values are sorted, so that the order in which somebody wrote them decides nothing.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from kcompiler.compose import overlay
from kcompiler.compose.draft import Draft
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree, Value, child

#: cells of one sweep; each is compiled and checked
MOST_CELLS = 256
#: what belongs to a run as a whole
FIXED = (*overlay.FIXED, "matrix", "risk_tier", "policies", "budgets", "decisions", "execution.executor")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?\Z")
_NUMBERS = re.compile(r"(\d+)")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Choice:
    """One value of a dimension. `path` is of the list form: the value at `pointer` goes there; else `pointer` is of an
    overlay."""

    label: str
    pointer: str
    path: str = ""


@dataclass(frozen=True)
class Dimension:
    name: str
    pointer: str
    choices: list[Choice] = field(default_factory=list)


def dimensions(tree: Tree) -> tuple[list[Dimension], list[Diagnostic]]:
    """The dimensions of a sweep, sorted by name. Entries that the schema will refuse are passed over."""
    section = tree.get("/matrix")
    named: dict[str, Dimension] = {}
    found: list[Diagnostic] = []
    for key, values in section.items() if isinstance(section, dict) else ():
        pointer = child("/matrix", key)
        choices = _choices(tree, pointer, key, values, found)
        if not choices:
            continue
        name = key.rpartition(".")[2]
        if name in named:
            found.append(
                tree.diagnostic(
                    "KC2118",
                    pointer,
                    f"two dimensions of the sweep are called `{name}`",
                    on="key",
                    label="again",
                    help="give one a name of its own: `my-name: {a: {path: value}, b: {path: value}}`",
                    related=(tree.related(named[name].pointer, "the first", "key"),),
                )
            )
            continue
        named[name] = Dimension(name, pointer, sorted(choices, key=lambda choice: _natural(choice.label)))
    clashes = list(overlay.clashes(tree, [_changes(tree, named[name]) for name in sorted(named)]))
    if clashes:
        return [], [*found, *clashes]
    cells = math.prod(len(dimension.choices) for dimension in named.values())
    if cells > MOST_CELLS:
        found.append(
            tree.diagnostic(
                "KC2120",
                "/matrix",
                f"the sweep has {cells:,} cells",
                on="key",
                label=f"at most {MOST_CELLS}",
                detail=" × ".join(f"{len(one.choices)} {one.name}" for one in named.values()),
                help="split it into several specs that include the same fragment",
            )
        )
        return [], found
    return [named[name] for name in sorted(named)], found


def lost(tree: Tree, profile: str, named: list[Dimension]) -> Iterator[Diagnostic]:
    """What the overlay at `profile` says in vain: every cell of the sweep puts another value there, or around it."""
    for path in overlay.paths(tree, profile):
        over = next((one for dimension in named if (one := _over(tree, dimension, path))), None)
        if over is not None:
            yield tree.diagnostic(
                "KC2122",
                child(profile, path),
                f"`{over[0]}` of the sweep and `{path}` of the profile lead to one place",
                on="key",
                label="the value of each cell is laid over it",
                help=f"remove it, or let the profile say what is swept: `matrix: {{{over[0]}: […]}}`",
                related=(tree.related(over[1], "the other", "key"),),
            )


def _over(tree: Tree, dimension: Dimension, path: str) -> tuple[str, str] | None:
    """(path, where it is written) by which the last value of the dimension changes that place, if each value does."""
    over: tuple[str, str] | None = None
    for choice in dimension.choices:
        written = (
            {choice.path: dimension.pointer}
            if choice.path
            else {one: child(choice.pointer, one) for one in overlay.paths(tree, choice.pointer)}
        )
        over = next((one for one in written.items() if overlay.within(tree, path, one[0])), None)
        if over is None:
            return None
    return over


def _changes(tree: Tree, dimension: Dimension) -> list[tuple[str, str]]:
    """(path, where it is written) of everything that a dimension changes, each path once."""
    found: dict[str, str] = {}
    for choice in dimension.choices:
        if choice.path:
            found.setdefault(choice.path, dimension.pointer)
        for path in () if choice.path else overlay.paths(tree, choice.pointer):
            found.setdefault(path, child(choice.pointer, path))
    return list(found.items())


def _choices(tree: Tree, pointer: str, key: str, values: Value, found: list[Diagnostic]) -> list[Choice]:
    if isinstance(values, dict):
        labelled = {label: one for label, one in values.items() if isinstance(one, dict)}
        return [Choice(label, child(pointer, label)) for label in labelled]
    choices: dict[str, Choice] = {}
    for i, value in enumerate(values if isinstance(values, list) else []):
        at = child(pointer, i)
        label = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, dict | list) or value is None or not _LABEL.match(label):
            found.append(
                tree.diagnostic(
                    "KC2118",
                    at,
                    "this value cannot be the name of a step's variant",
                    label="letters, digits, `.`, `_` and `-` are possible, at most 32",
                    help=f"name the values: `{key.rpartition('.')[2]}: {{short-name: {{{key}: …}}}}`",
                )
            )
        elif label in choices:
            found.append(
                tree.diagnostic("KC2118", at, f"`{label}` stands twice in the sweep", label="again", help="remove one")
            )
        else:
            choices[label] = Choice(label, at, key)
    return list(choices.values())


def cells(named: list[Dimension]) -> list[tuple[Choice, ...]]:
    """Every combination, in the order of sorted dimensions and sorted values."""
    return list(itertools.product(*(dimension.choices for dimension in named)))


def labels(named: list[Dimension], cell: tuple[Choice, ...]) -> Labels:
    """What a cell is called: (dimension, value) of each dimension."""
    return tuple((dimension.name, choice.label) for dimension, choice in zip(named, cell, strict=True))


def changed(tree: Tree, named: list[Dimension]) -> set[str]:
    """Top-level sections that differ among the cells."""
    found: set[str] = set()
    for choice in (choice for dimension in named for choice in dimension.choices):
        found |= {choice.path.partition(".")[0]} if choice.path else set(overlay.sections(tree, choice.pointer))
    return found


def form(tree: Tree, cell: tuple[Choice, ...]) -> tuple[Tree, list[Diagnostic]]:
    """The spec with the values of one cell in their places."""
    draft = Draft(tree)
    changes: list[tuple[str, str]] = []
    found: list[Diagnostic] = []
    for choice in cell:
        overlaid = [(path, child(choice.pointer, path)) for path in overlay.paths(tree, choice.pointer)]
        changes += [(choice.path, choice.pointer)] if choice.path else overlaid
        found += [] if choice.path else overlay.clashes(tree, [[change] for change in overlaid])
    found = found or overlay.put(draft, tree, changes, FIXED)
    return draft.tree(), found


def _natural(label: str) -> list[tuple[bool, int, str]]:
    """Numbers inside a name by their size: 64 before 128."""
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in _NUMBERS.split(label) if part
    ]
