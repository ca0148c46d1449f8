"""YAML text → a tree of plain values that remembers the place of every key and value.

The C parser gives a stream of events; values are built from it here, so that nothing but text, numbers, true, false,
null, lists and mappings can come out. Refused with a place: tags, merge keys, duplicate keys, keys that are not text,
more than one document, numbers that are not finite or beyond 2^53 - 1, invisible and bidirectional characters, merge
conflicts, text that is not UTF-8, and whatever exceeds `Limits`. Anchors are plain reuse; every use counts.
"""

from __future__ import annotations

import gc
from typing import Any

import yaml

from kcompiler.diagnostic import Diagnostic, Place, at
from kcompiler.source.builder import Builder, Stop
from kcompiler.source.syntax import syntax, unreadable
from kcompiler.source.text import decode
from kcompiler.source.tree import LIMITS, Limits, Tree, Value, child, described

__all__ = ["LIMITS", "Limits", "Tree", "Value", "child", "described", "load"]


#: the parser breaks lines at these, editors and our places do not; each was refused as invisible before
_ONE_LINE = {0x85: " ", 0x2028: " ", 0x2029: " "}


def load(
    path_for_display: str, data: bytes, *, limits: Limits = LIMITS, pure: bool | None = None
) -> tuple[Tree | None, list[Diagnostic]]:
    """The tree of a spec and every mistake in its text; None when the text gives no tree at all.

    `pure` asks for PyYAML's own parser (slower, the same meaning); by default it is taken, with a warning, only where
    the C parser is not installed.
    """
    text, found = decode(path_for_display, data, limits)
    if text is None:
        return None, found
    if pure is None:
        pure = not yaml.__with_libyaml__
    if pure:
        found.append(
            Diagnostic(
                code="KC1022",
                severity="warning",
                file=path_for_display,
                summary="the C parser of PyYAML is missing, reading is about ten times slower",
                help="install a PyYAML wheel with libyaml",
            )
        )
    # a collector that runs while a million small objects are made doubles the time
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _read(path_for_display, text, found, limits, yaml.SafeLoader if pure else yaml.CSafeLoader)
    finally:
        if collecting:
            gc.enable()


def _read(
    file: str, text: str, found: list[Diagnostic], limits: Limits, loader: Any
) -> tuple[Tree | None, list[Diagnostic]]:
    builder = Builder(file, text, limits)
    named = any(diagnostic.code in ("KC1007", "KC1008") for diagnostic in found)
    try:
        builder.build(yaml.parse(text.translate(_ONE_LINE), Loader=loader))
    except Stop as stop:
        return None, [*found, *builder.found, stop.diagnostic]
    except yaml.reader.ReaderError as error:
        return None, [*found, *builder.found, *([] if named else [unreadable(file, text, error)])]
    except yaml.MarkedYAMLError as error:
        # hidden characters and conflict markers are the cause, and have been named already
        return None, [*found, *builder.found, *([] if named else [syntax(file, text, error)])]
    found = [*found, *builder.found]
    if builder.root in ([], [None]):
        found.append(
            at(
                Place(1, 1, 1, 1, 0, 0),
                code="KC1018",
                file=file,
                summary="the spec is empty",
                help="`kcompiler init` writes one to start from",
            )
        )
        return None, found
    return Tree(file, text, builder.root[0], builder.keys, builder.values, frozenset(builder.broken)), found
