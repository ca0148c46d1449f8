"""A report schema × the envelope → a validator that makes each subschema once.

jsonschema makes a new validator of every subschema for every value it meets, and looks every reference up again: of
twelve reports of a small run a third of the time of an apply that has nothing to do. Here the five keywords that nearly
all of it goes through keep what they have made, and a value of the very type that is asked for is not asked about any
further; what is refused, and how it is said, is jsonschema's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from referencing import Registry
from referencing.jsonschema import DRAFT202012

from runtime.contract.jsonschemas import Draft202012Validator, extend

Schema = Mapping[str, Any]
_ADDITIONAL = Draft202012Validator.VALIDATORS["additionalProperties"]
_ITEMS = Draft202012Validator.VALIDATORS["items"]
_TYPE = Draft202012Validator.VALIDATORS["type"]
#: type of a value → the names it surely has; it may have others (1.0 is an integer)
_SURE: Mapping[type, frozenset[str]] = {
    dict: frozenset({"object"}),
    list: frozenset({"array"}),
    str: frozenset({"string"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"number"}),
    bool: frozenset({"boolean"}),
    type(None): frozenset({"null"}),
}


class Validators:
    """Validators of schemas that may refer to one another by `$id`, and have no `$id`, `$anchor` or `$dynamicRef`
    below their top."""

    def __init__(self, *shared: Schema) -> None:
        resources = [(one["$id"], DRAFT202012.create_resource(_absolute(one))) for one in shared]
        self._registry: Registry[Any] = Registry().with_resources(resources)
        keywords = {
            "$ref": self._ref,
            "if": self._if,
            "properties": self._properties,
            "additionalProperties": self._additional,
            "items": self._items,
            "type": _type,
        }
        self._class = extend(Draft202012Validator, keywords)  # type: ignore[no-untyped-call]
        self._referred: dict[str, Any] = {}
        #: id of a subschema → its validator, which holds the subschema: no other can have the same id
        self._made: dict[int, Any] = {}

    def of(self, schema: Schema) -> Any:
        """The validator of a schema that may refer to the shared ones."""
        return self._class(_absolute(schema), registry=self._registry)

    def _below(self, validator: Any, schema: Any) -> Any:
        made = self._made.get(id(schema))
        if made is None:
            made = self._made[id(schema)] = validator.evolve(schema=schema)
        return made

    def _ref(self, validator: Any, reference: str, instance: Any, _schema: Any) -> Iterator[Any]:
        made = self._referred.get(reference)
        if made is None:
            found = validator._resolver.lookup(reference)
            made = self._referred[reference] = validator.evolve(schema=found.contents, _resolver=found.resolver)
        yield from made.iter_errors(instance)

    def _if(self, validator: Any, condition: Any, instance: Any, schema: Schema) -> Iterator[Any]:
        holds = next(self._below(validator, condition).iter_errors(instance), None) is None
        then = schema.get("then" if holds else "else", True)
        yield from self._below(validator, then).iter_errors(instance)

    def _properties(self, validator: Any, properties: Schema, instance: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(instance, dict):
            for name, below in properties.items():
                if name in instance:
                    yield from self._at(validator, below, instance, name)

    def _additional(self, validator: Any, allowed: Any, instance: Any, schema: Schema) -> Iterator[Any]:
        if not isinstance(allowed, dict) or "patternProperties" in schema:
            yield from _ADDITIONAL(validator, allowed, instance, schema)
        elif isinstance(instance, dict):
            declared = schema.get("properties", ())
            for name in instance:
                if name not in declared:
                    yield from self._at(validator, allowed, instance, name)

    def _items(self, validator: Any, allowed: Any, instance: Any, schema: Schema) -> Iterator[Any]:
        if not isinstance(allowed, dict) or "prefixItems" in schema:
            yield from _ITEMS(validator, allowed, instance, schema)
        elif isinstance(instance, list):
            for place in range(len(instance)):
                yield from self._at(validator, allowed, instance, place)

    def _at(self, validator: Any, schema: Any, instance: Any, name: str | int) -> Iterator[Any]:
        for error in self._below(validator, schema).iter_errors(instance[name]):
            error.relative_path.appendleft(name)
            yield error


def _type(validator: Any, types: str | list[str], instance: Any, schema: Schema) -> Iterator[Any]:
    sure = _SURE.get(type(instance), frozenset())
    if not (types in sure if isinstance(types, str) else not sure.isdisjoint(types)):
        yield from _TYPE(validator, types, instance, schema)


def _absolute(schema: Schema) -> dict[str, Any]:
    """The schema with every reference absolute: the same text means the same everywhere. Without `$schema`, at which
    jsonschema would go on with a class of its own."""
    base = schema["$id"]

    def made(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: base + value if key == "$ref" and isinstance(value, str) and value.startswith("#") else made(value)
                for key, value in node.items()
            }
        return [made(item) for item in node] if isinstance(node, list) else node

    return {key: value for key, value in made(schema).items() if key != "$schema"}
