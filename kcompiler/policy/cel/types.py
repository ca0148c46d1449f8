"""What an expression may be: the scalars of CEL, lists, and whatever stands in a report, by its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcompiler.policy import shape
from kcompiler.policy.path import Field, Path, Values
from kcompiler.policy.shape import Place
from runtime.contract.units import UNIT


@dataclass(frozen=True)
class Scalar:
    """bool, int, double, string or null. `words` are the texts that are possible, where the schema lists them."""

    name: str
    words: tuple[str, ...] = ()
    #: of a double or int that stands in a datum: its unit as the schema says, "?" where it says none or several
    unit: str = ""
    #: of a string: the place whose keys it is one of
    key_of: str = ""


@dataclass(frozen=True)
class ListOf:
    """A list; `sure` when it can never be empty."""

    item: Type
    sure: bool = False


@dataclass(frozen=True)
class Thing:
    """A part of a report: an object with fields, an object by names, or a datum."""

    places: tuple[Place, ...]

    def __str__(self) -> str:
        return "a datum" if self.datum else "an object"

    @property
    def datum(self) -> str:
        """ "number", "flag" or "datum" where a datum stands; "" for an object."""
        found = {shape.leaf(one) for one in shape.parts(self.places)} & {"number", "flag", "datum"}
        return "datum" if len(found) > 1 else next(iter(found), "")

    @property
    def unit(self) -> str:
        """The unit that the schema gives it; "?" where it gives none, or several."""
        units = {str(one.node[UNIT]) for one in shape.parts(self.places) if UNIT in one.node}
        return next(iter(units)) if len(units) == 1 else "?"

    @property
    def counted(self) -> bool:
        """Whether a measured one always says of how many items it is a rate."""
        names = {str(one.node.get("$ref", "")).rpartition("/")[2] for one in self.places}
        return names == {"rate"}

    @property
    def keyed(self) -> bool:
        """Whether its keys are names that differ from report to report."""
        return any(isinstance(node.get("additionalProperties"), dict) for node in shape.forms(self.places))

    @property
    def names(self) -> tuple[str, ...]:
        """What its keys can be, where a schema or a plan lists them all."""
        opened = [one for one in shape.parts(self.places) if isinstance(one.node.get("additionalProperties"), dict)]
        listed = [one.named() for one in opened]
        known = [name for some in listed if some is not None for name in some]
        return tuple(sorted({*known})) if opened and None not in listed else ()

    def field(self, name: str) -> Type | shape.Lost | None:
        """What stands in a field; None where things of several types may."""
        found = shape.follow(Path(name, (Field(name),)), self.places)
        return found if isinstance(found, shape.Lost) else typed(found)

    def values(self) -> Type | None:
        """What stands behind its keys."""
        found = shape.follow(Path("*", (Values(),)), self.places)
        return None if isinstance(found, shape.Lost) else typed(found)

    def always(self, name: str) -> bool:
        """Whether every report that satisfies the schema has the field."""
        return any(_requires(one, name) for one in self.places)


Type = Scalar | ListOf | Thing

BOOL, INT, DOUBLE, STRING, NULL = (Scalar(name) for name in ("bool", "int", "double", "string", "null"))
_OF_JSON = {"boolean": BOOL, "integer": INT, "number": DOUBLE, "string": STRING, "null": NULL}


def said(found: Type) -> str:
    """A type in words."""
    if isinstance(found, Scalar):
        return found.name
    return f"list({said(found.item)})" if isinstance(found, ListOf) else str(found)


def typed(places: Sequence[Place]) -> Type | None:
    """What stands at these places of a schema; None where it is of several types, or of none that is read."""
    parts = shape.parts(places)
    leaves = {shape.leaf(one) for one in parts} - {""}
    if leaves:
        return (
            Scalar("string", _words(parts))
            if leaves == {"name"}
            else None
            if "name" in leaves
            else Thing(tuple(places))
        )
    names = {name for one in parts for name in _names(one.node)}
    if names == {"object"}:
        return Thing(tuple(places))
    if names == {"array"}:
        items = [one.to(one.node["items"]) for one in parts if isinstance(one.node.get("items"), dict)]
        item = typed(items) if items else None
        return None if item is None else ListOf(item, any(one.node.get("minItems", 0) > 0 for one in parts))
    if len(names) != 1 or (name := names.pop()) not in _OF_JSON:
        return None
    return Scalar("string", _words(parts)) if name == "string" else _OF_JSON[name]


def _words(parts: Sequence[Place]) -> tuple[str, ...]:
    """The texts that are possible, where a schema or a plan lists them."""
    listed = [[one.node["const"]] if "const" in one.node else one.named() or () for one in parts]
    return tuple(sorted({text for some in listed for text in some if isinstance(text, str)}))


def _names(node: Mapping[str, Any]) -> list[str]:
    """The JSON types that a schema names or implies."""
    said = node.get("type", ())
    found = [said] if isinstance(said, str) else list(said)
    if not found and any(isinstance(one, str) for one in [*node.get("enum", ()), node.get("const")]):
        found = ["string"]
    return found or (["object"] if {"properties", "additionalProperties"} & node.keys() else [])


def _requires(place: Place, name: str) -> bool:
    """Whether the schema, or any part that it is put together from without a choice, asks for the field."""
    if name in place.node.get("required", ()):
        return True
    if isinstance(place.node.get("$ref"), str) and not shape.leaf(place):
        return any(_requires(one, name) for one in shape.parts([place.to({"$ref": place.node["$ref"]})])[1:])
    return any(_requires(place.to(one), name) for one in place.node.get("allOf", ()))
