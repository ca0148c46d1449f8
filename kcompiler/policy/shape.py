"""A path × a JSON Schema → what may stand where the path leads, or the first name in it that the schema does not know.

Rules are checked against the schema of the report they read when their pack is loaded, and their conditions against the
schema of a spec: a misspelt name would otherwise be found only when the report is there, or never.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import Any

from kcompiler import assets
from kcompiler.policy.laws import sums
from kcompiler.policy.path import Every, Field, Path, Values, Where, parse
from runtime.contract.units import UNIT

Node = Mapping[str, Any]
#: fact of a plan → the names that it fixes
Names = Mapping[str, Sequence[str]]
#: what says, of an object whose keys are names and of a name that selects, which fact of a plan fixes them
KEYS = "x-keys"
#: the fact of names that no plan fixes: they are those that were found
FOUND = "found"
ENVELOPE = "report.schema.json"
#: definitions of the envelope that are leaves: what a rule may read
LEAVES = ("number", "flag", "datum", "name")
#: those that are numbers of a narrower range
NUMBERS = ("amount", "cosine", "count", "rate", "share")


@dataclass(frozen=True)
class Place:
    """A part of a schema, with the file that its references start from. `fixed` are the names that a plan fixes; of a
    fact that is not in it nothing is known."""

    node: Node
    file: str
    fixed: Names = field(default_factory=dict)

    def to(self, node: Node) -> Place:
        """Another part of the same file."""
        return replace(self, node=node)

    def named(self) -> Sequence[str] | None:
        """The keys that an object here can have, or the texts that a name here can be; None where any may be."""
        listed = self.node.get("propertyNames", self.node).get("enum")
        known = self.fixed.get(str(self.node.get(KEYS, "")))
        if listed is None or known is None:
            return known if listed is None else list(map(str, listed))
        return [name for name in map(str, listed) if name in known]


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


def of_report(kind: str, fixed: Names = MappingProxyType({})) -> Place | None:
    """The schema of the data of this kind of report; None where there is none: a third party's kind. `fixed`: of a
    report of a step of a plan that fixes these names."""
    name = f"report.{kind}.schema.json"
    schema = _file(name)
    return None if schema is None else Place(schema["properties"]["data"], name, fixed)


def title_of(kind: str) -> str:
    """What the schema of a kind of report says of the whole; "" of a kind without one."""
    schema = _file(f"report.{kind}.schema.json") or {}
    return str(schema.get("title", ""))


def examples(kind: str) -> Sequence[Node]:
    """Whole reports that the schema of this kind shows."""
    found: Sequence[Node] = (_file(f"report.{kind}.schema.json") or {}).get("examples", ())
    return found


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


def range_of(places: Sequence[Place], field: str = "value") -> tuple[Fraction | None, Fraction | None]:
    """The least and the largest number that may stand in this field of a datum at any of these places; None where there
    is no end."""
    defined = (_file(ENVELOPE) or {}).get("$defs", {})
    found = []
    for one in (form for place in places for form in _forms(place) if leaf(form)):
        name = str(one.node["$ref"]).partition("#/$defs/")[2]
        # what a schema says beside the form is said of this place alone, and only narrows it
        value = {**defined[name].get("properties", {}).get(field, {}), **one.node.get("properties", {}).get(field, {})}
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


def ordered(places: Sequence[Place]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The numbers of which the schema of a report's data says that one is never more than the other, each by the names
    that lead to it from there; those of one place, and no counts behind them."""
    found = []
    for node in forms(places):
        for group in node.get(sums.LAWS, ()):
            for law in map(sums.parse, group["hold"]):
                terms = (*law.left, *law.right)
                plain = law.op == "<=" and len(terms) == 2 and not any(one.whole or one.count for one in terms)
                paths = [one.path.steps for one in terms if one.path is not None]
                plain = plain and len(paths) == len(terms)
                steps = [[*(parse(group["in"]).steps if group["in"] else ()), *path] for path in paths]
                if plain and all(isinstance(step, Field) for each in steps for step in each):
                    less, more = (tuple(step.name for step in each if isinstance(step, Field)) for each in steps)
                    found.append((less, more))
    return found


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


def opens(kind: str, text: str) -> bool:
    """Whether a path into a report of this kind goes by a name that its schema leaves open."""
    places = [one for one in [of_report(kind)] if one is not None]
    for step in parse(text).steps:
        if isinstance(step, Field) and not any(step.name in one.node.get("properties", ()) for one in parts(places)):
            return True
        found = follow(Path("", (step,)), places)
        if isinstance(found, Lost):
            return False
        places = found
    return False


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
        yield from _forms(Place(node, file, place.fixed))
    for key in ("allOf", "anyOf", "oneOf"):
        for one in place.node.get(key, ()):
            yield from _forms(place.to(one))
    for key in ("then", "else"):
        if isinstance(place.node.get(key), Mapping):
            yield from _forms(place.to(place.node[key]))


def _take(step: Field | Every | Values | Where, place: Place) -> Iterator[Place]:
    properties: Node = place.node.get("properties", {})
    further = place.node.get("additionalProperties")
    items = place.node.get("items")
    if isinstance(step, Field):
        if _keyed(place, step.name):
            below = properties.get(step.name, further)
            if isinstance(below, Mapping):
                yield place.to(below)
    elif isinstance(step, Values):
        yield from (place.to(one) for name, one in properties.items() if _keyed(place, name))
        if isinstance(further, Mapping):
            yield place.to(further)
    elif isinstance(items, Mapping):
        below = place.to(items)
        if isinstance(step, Every) or any(_selects(step, one) for one in _forms(below)):
            yield below


def _keyed(place: Place, name: str) -> bool:
    """Whether an object here can have a key of this name, as far as its names are known."""
    known = place.named()
    pattern = place.node.get("propertyNames", {}).get("pattern", "")
    return (known is None or name in known) and re.search(pattern, name) is not None


def _selects(step: Where, place: Place) -> bool:
    """Whether an element like this can have the text that is asked for at the key."""
    key = place.node.get("properties", {}).get(step.key)
    known = None if key is None else place.to(key).named()
    return key is not None and (known is None or step.value in known)


def _lost(step: Field | Every | Values | Where, places: Sequence[Place]) -> Lost:
    """The part of a step that leads nowhere, and what could stand in its place."""
    whole = parts(places)
    if isinstance(step, Where):
        items = [one.to(one.node["items"]) for one in whole if "items" in one.node]
        keys = {name: one.to(node) for one in parts(items) for name, node in one.node.get("properties", {}).items()}
        if step.key in keys:
            return Lost(step.value, tuple(keys[step.key].named() or ()))
        return Lost(step.key, tuple(sorted(keys)))
    known = {name for one in whole for name in one.node.get("properties", ()) if _keyed(one, name)}
    known |= {name for one in whole if "additionalProperties" in one.node for name in one.named() or ()}
    text = step.name if isinstance(step, Field) else ".*" if isinstance(step, Values) else "[*]"
    return Lost(text, tuple(sorted(known)))
