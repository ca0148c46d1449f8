"""A kind of report → every datum that it may hold: path, form, unit, what it says. What an author of a rule looks up.

Read from the schema of the kind, as rules are checked against it when their pack is loaded: a path that is listed here
is one that a rule may name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kcompiler.policy import shape
from runtime.contract.units import UNIT

#: what says of a part of a schema that no rule of a shipped pack reads it; its description says why
INFORMATIVE = "x-informative"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One datum. `form` is the name of its form in schemas/report.schema.json (`rate`: k of n items); "text" and the
    like are what is no datum. `optional`: a report may leave it out. `informs`: no shipped rule reads it."""

    path: str
    form: str
    unit: str = ""
    text: str = ""
    optional: bool = False
    informs: bool = False


def of(kind: str) -> list[Leaf]:
    """The data of a kind of report, in the order of its schema; none of a kind without one."""
    start = shape.of_report(kind)
    return [] if start is None else list(dict.fromkeys(_below(start, "", optional=False, informs=False, text="")))


def _below(place: shape.Place, at: str, *, optional: bool, informs: bool, text: str) -> Iterator[Leaf]:
    parts = shape.parts([place])
    informs = informs or any(part.node.get(INFORMATIVE) for part in parts)
    text = next((str(part.node["description"]) for part in parts if "description" in part.node), text)
    found = False
    required = {name for part in parts for name in part.node.get("required", ())}
    for part in parts:
        for name, inner in _inside(part.node):
            step = name if name == "[*]" or not at else f".{name}"
            below = shape.Place(inner, part.file)
            there = name in required or name in ("*", "[*]")
            yield from _below(below, f"{at}{step}", optional=optional or not there, informs=informs, text=text)
            found = True
    if not found and at:
        yield Leaf(path=at, form=_form(parts), unit=_unit(parts), text=text, optional=optional, informs=informs)


def _inside(node: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(step of a path, schema of what it leads to)."""
    yield from node.get("properties", {}).items()
    further, named = node.get("additionalProperties"), node.get("propertyNames", {}).get("enum")
    if isinstance(further, Mapping):
        yield from ((str(name), further) for name in named or ["*"])
    if isinstance(node.get("items"), Mapping):
        yield "[*]", node["items"]


def _form(parts: list[shape.Place]) -> str:
    for part in parts:
        if shape.leaf(part):
            return str(part.node["$ref"]).rpartition("/")[2]
    if any("enum" in part.node or "const" in part.node for part in parts):
        words = [str(word) for part in parts for word in part.node.get("enum", [part.node.get("const")]) if word]
        return " | ".join(words)
    types = [part.node["type"] for part in parts if "type" in part.node]
    return {"string": "text", "integer": "whole number"}.get(str(types[0]), str(types[0])) if types else "anything"


def _unit(parts: list[shape.Place]) -> str:
    return next((str(part.node[UNIT]) for part in parts if UNIT in part.node), "")
