"""A path × a JSON Schema → what may stand where the path leads, or the first name in it that the schema does not know.

Rules are checked against the schema of the report they read when their pack is loaded, and their conditions against the
schema of a spec: a misspelt name would otherwise be found only when the report is there, or never.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

from kcompiler import assets
from kcompiler.policy.path import Every, Field, Path, Values, Where, parse
from runtime.contract.units import UNIT

Node = Mapping[str, Any]
ENVELOPE = "report.schema.json"
#: definitions of the envelope that are leaves: what a rule may read
LEAVES = ("number", "flag", "datum", "name")
#: those that are numbers of a narrower range
NUMBERS = ("amount", "cosine", "count", "rate", "share")


@dataclass(frozen=True)
class Place:
    """A part of a schema, with the file that its references start from."""

    node: Node
    file: str


@dataclass(frozen=True)
class Lost:
    """Where a path leaves its schema: the name that is not known there, and those that are."""

    step: str
    known: Sequence[str] = field(default_factory=tuple)


@cache
def _file(name: str) -> Node | None:
    path = assets.folder("schemas") / name
    if not path.is_file():
        return None
    content: Node = json.loads(path.read_text(encoding="utf-8"))
    return content


def of_report(kind: str) -> Place | None:
    """The schema of the data of this kind of report; None where there is none: a third party's kind."""
    name = f"report.{kind}.schema.json"
    schema = _file(name)
    return None if schema is None else Place(schema["properties"]["data"], name)


def title_of(kind: str) -> str:
    """What the schema of a kind of report says of the whole; "" of a kind without one."""
    schema = _file(f"report.{kind}.schema.json") or {}
    return str(schema.get("title", ""))


@cache
def kinds() -> tuple[str, ...]:
    """Every kind of report that has a schema, sorted."""
    names = (path.name for path in assets.folder("schemas").glob("report.*.schema.json"))
    return tuple(
        sorted(name.removeprefix("report.").removesuffix(".schema.json") for name in names if name != ENVELOPE)
    )


def of_spec() -> Place:
    """The schema of a spec, with every built-in plug-in."""
    schema = _file("spec.schema.json")
    assert schema is not None
    return Place(schema, "spec.schema.json")


def leaf(place: Place) -> str:
    """Which leaf of the envelope this is: a name of `LEAVES`, or "" for anything else."""
    file, _, name = str(place.node.get("$ref", "")).partition("#/$defs/")
    if file != ENVELOPE:
        return ""
    return "number" if name in NUMBERS else name if name in LEAVES else ""


def units(places: Sequence[Place]) -> set[str]:
    """The units of the numbers that stand at these places, as far as their schema says."""
    return {str(one.node[UNIT]) for place in places for one in _forms(place) if leaf(one) and UNIT in one.node}


def range_of(places: Sequence[Place]) -> tuple[Fraction | None, Fraction | None]:
    """The least and the largest number that may stand at any of these places; None where there is no end."""
    defined = (_file(ENVELOPE) or {}).get("$defs", {})
    found = []
    for one in (form for place in places for form in _forms(place) if leaf(form)):
        name = str(one.node["$ref"]).partition("#/$defs/")[2]
        value = defined[name].get("properties", {}).get("value", {})
        found.append([Fraction(value[key]) if key in value else None for key in ("minimum", "maximum")])
    lows, highs = {one[0] for one in found}, {one[1] for one in found}
    return (lows.pop() if len(lows) == 1 else None), (highs.pop() if len(highs) == 1 else None)


def ends(kinds_: Sequence[str], text: str) -> tuple[Fraction | None, Fraction | None]:
    """The least and the largest number that may stand where a path leads, in reports of any of these kinds."""
    found = []
    for kind in kinds_:
        start = of_report(kind)
        places = Lost(text) if start is None else follow(parse(text), start)
        found.append((None, None) if isinstance(places, Lost) else range_of(places))
    lows, highs = [low for low, _ in found], [high for _, high in found]
    return (
        None if None in lows else min((one for one in lows if one is not None), default=None),
        None if None in highs else max((one for one in highs if one is not None), default=None),
    )


def whole(places: Sequence[Place]) -> bool:
    """Whether only whole numbers may stand at these places, by the definitions of their leaves."""
    defined = (_file(ENVELOPE) or {}).get("$defs", {})
    names = [str(one.node["$ref"]).rpartition("/")[2] for place in places for one in _forms(place) if leaf(one)]
    return bool(names) and all(
        defined[name].get("properties", {}).get("value", {}).get("multipleOf") == 1 for name in names
    )


def plain_range(places: Sequence[Place]) -> tuple[Fraction | None, Fraction | None]:
    """The same as `range_of` of numbers that are no data: ends that every schema of a number there gives."""
    numbers = [node for node in forms(places) if "type" in node]
    lows = [Fraction(str(node["minimum"])) if "minimum" in node else None for node in numbers]
    highs = [Fraction(str(node["maximum"])) if "maximum" in node else None for node in numbers]
    return (
        None if None in lows else min((one for one in lows if one is not None), default=None),
        None if None in highs else max((one for one in highs if one is not None), default=None),
    )


def reads(place: Place, leaves: Sequence[str]) -> bool:
    """Whether one of these leaves stands at the place; a plain text or whole number is a name, too."""
    return any(leaf(one) in leaves or ("name" in leaves and _is_name(one.node)) for one in _forms(place))


def _is_name(node: Node) -> bool:
    return node.get("type") in ("string", "integer") or "enum" in node


def follow(path: Path, start: Place | Sequence[Place]) -> list[Place] | Lost:
    """Every part of the schema that the path may lead to, from one place or from several that are possible."""
    places = [start] if isinstance(start, Place) else list(start)
    for step in path.steps:
        reached = [found for place in places for one in _forms(place) for found in _take(step, one)]
        if not reached:
            return _lost(step, places)
        places = reached
    return places


def forms(places: Sequence[Place]) -> list[Node]:
    """Every schema that says what may stand at these places, without the references between."""
    return [one.node for one in parts(places)]


def parts(places: Sequence[Place]) -> list[Place]:
    """The same, with the file of each."""
    return [one for place in places for one in _forms(place)]


def _forms(place: Place) -> Iterator[Place]:
    """The schema itself and all it is put together from."""
    yield place
    if leaf(place):
        return
    reference = place.node.get("$ref")
    if isinstance(reference, str):
        name, _, inner = reference.partition("#")
        file = name or place.file
        node: Any = _file(file)
        for part in inner.split("/")[1:]:
            node = node[part]
        yield from _forms(Place(node, file))
    for key in ("allOf", "anyOf", "oneOf"):
        for one in place.node.get(key, ()):
            yield from _forms(Place(one, place.file))
    for key in ("then", "else"):
        if isinstance(place.node.get(key), Mapping):
            yield from _forms(Place(place.node[key], place.file))


def _take(step: Field | Every | Values | Where, place: Place) -> Iterator[Place]:
    properties: Node = place.node.get("properties", {})
    further = place.node.get("additionalProperties")
    items = place.node.get("items")
    if isinstance(step, Field):
        allowed = place.node.get("propertyNames", {}).get("enum")
        if step.name in properties:
            yield Place(properties[step.name], place.file)
        elif isinstance(further, Mapping) and (allowed is None or step.name in allowed):
            yield Place(further, place.file)
    elif isinstance(step, Values):
        yield from (Place(one, place.file) for one in properties.values())
        if isinstance(further, Mapping):
            yield Place(further, place.file)
    elif isinstance(items, Mapping):
        below = Place(items, place.file)
        if isinstance(step, Every) or any(_selects(step, one.node) for one in _forms(below)):
            yield below


def _selects(step: Where, node: Node) -> bool:
    """Whether an element like this can have the text that is asked for at the key."""
    key = node.get("properties", {}).get(step.key)
    return key is not None and step.value in key.get("enum", (step.value,))


def _lost(step: Field | Every | Values | Where, places: Sequence[Place]) -> Lost:
    """The part of a step that leads nowhere, and what could stand in its place."""
    nodes = forms(places)
    if isinstance(step, Where):
        items = [Place(node["items"], one.file) for one in places for node in forms([one]) if "items" in node]
        keys = {name: node for one in forms(items) for name, node in one.get("properties", {}).items()}
        if step.key in keys:
            return Lost(step.value, tuple(map(str, keys[step.key].get("enum", ()))))
        return Lost(step.key, tuple(sorted(keys)))
    known = {name for node in nodes for name in node.get("properties", ())}
    known |= {name for node in nodes for name in node.get("propertyNames", {}).get("enum", ())}
    text = step.name if isinstance(step, Field) else ".*" if isinstance(step, Values) else "[*]"
    return Lost(text, tuple(sorted(known)))
