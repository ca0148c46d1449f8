"""Tree × JSON Schema → diagnostics, all at once, each at its key or value.

The schema is derived from the section models and the catalog (`document`); what is published under schemas/ is the
same text. Only plug-ins that the tree names are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from kcompiler.diagnostic import Diagnostic
from kcompiler.schema.document import document, published, twin
from kcompiler.schema.messages import dotted, explain
from kcompiler.source import Tree
from kcompiler.spec import PLUGGED
from kcompiler.spec.plugins import broken, places
from runtime import catalog
from runtime.contract import Refusal

__all__ = ["Findings", "Made", "dotted", "published", "twin", "validate"]


class Findings(NamedTuple):
    """`foreign` are pointers of keys that resemble no known one: without them, the rest of their section means what
    it says."""

    diagnostics: list[Diagnostic]
    foreign: frozenset[str]


#: a list of a hundred thousand wrong items is one mistake to its author
_MOST = 500


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@cache
def _validator() -> Any:
    """Unlike the standard's, an integer is not a number that merely has no fraction: 300.0 steps are a mistake."""
    # a spec without a mistake need not pay for it
    from runtime.contract.jsonschemas import Draft202012Validator, extend

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    return extend(Draft202012Validator, type_checker=checker)  # type: ignore[no-untyped-call]


#: plug-ins that a tree names → the validator for such trees
Made = dict[tuple[tuple[str, tuple[str, ...]], ...], Any]


def validate(tree: Tree, made: Made | None = None) -> Findings:
    """What the structure of a spec gets wrong. Values that the loader had to guess are not complained about twice.

    `made` keeps what the forms of one spec share; deriving the schema is most of the work.
    """
    used, found = _used(tree)
    key = tuple((room, tuple(names)) for room, names in sorted(used.items()))
    validator = made.get(key) if made is not None else None
    if validator is None:
        known = {room: catalog.names(room) for room in ("executors", *(model.room for model in PLUGGED))}
        validator = _validator()(document(known, used))
        if made is not None:
            made[key] = validator
    foreign: set[str] = set()
    for error in islice(validator.iter_errors(tree.data), _MOST):
        explained = explain(tree, error)
        found += [diagnostic for diagnostic in explained.diagnostics if diagnostic.pointer not in tree.broken]
        foreign |= explained.foreign
    return Findings(found, frozenset(foreign))


def _used(tree: Tree) -> tuple[dict[str, list[str]], list[Diagnostic]]:
    """The plug-ins that a tree names and that can be loaded, by room."""
    used: dict[str, list[str]] = {}
    found: list[Diagnostic] = []
    for model in PLUGGED:
        names = used.setdefault(model.room, [])
        for pointer, name in _named(tree, model.pattern, model.key):
            if name in names or name not in catalog.names(model.room):
                continue
            try:
                catalog.load(model.room, name)
                names.append(name)
            except (Refusal, ImportError, AttributeError) as error:
                found.append(broken(tree, model, pointer, name, error))
    return used, found


def _named(tree: Tree, pattern: str, key: str) -> Iterator[tuple[str, str]]:
    for pointer, _, _, value in places(tree.data, pattern):
        name = value.get(key) if isinstance(value, dict) else None
        if isinstance(name, str):
            yield pointer, name
