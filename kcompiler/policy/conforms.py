"""A report schema × the envelope → a function that says whether a value satisfies it, and nothing more.

jsonschema says where and why a report is wrong, and takes a millisecond for a dozen data to say that nothing is;
loading it takes longer than the whole judgement of a small run. Nearly every report is right. So each schema is made
into functions once, one for each subschema, and jsonschema is loaded for what they refuse. A keyword that is not known
here makes no function: such a schema is jsonschema's alone, so that nothing is accepted because it was not understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
#: of a value as `strict_json` reads it: texts, numbers, truth values, None, lists and dicts of these, no subclasses
Accepts = Callable[[Any], bool]


class NotKnown(ValueError):
    """A keyword, or a form of one, that is not made into a function here."""


def _yes(_value: Any) -> bool:
    return True


def _no(_value: Any) -> bool:
    return False


_TYPES: Mapping[str, Accepts] = {
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "string": lambda value: type(value) is str,
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
    "number": lambda value: type(value) is int or type(value) is float,
    # JSON has one kind of number: 1.0 is whole
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
}
_number = _TYPES["number"]
#: keywords that say nothing of the value; those of `x-` are ours
_SAYS_NOTHING = frozenset({"$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples"})
#: those that are read together with another
_READ_WITH = {"then": "if", "else": "if"}
#: into a schema, without escapes and anchors
_POINTER = re.compile(r"(/[A-Za-z0-9_$-]+)*")
_OF_OBJECTS = ("properties", "required", "additionalProperties")


class Compiler:
    """Functions of schemas that may refer to one another by `$id`, and have no `$id` or anchor below their top."""

    def __init__(self, *shared: Schema) -> None:
        self._shared = {one["$id"]: one for one in shared}
        self._made: dict[str, Accepts] = {}

    def of(self, schema: Schema) -> Accepts | None:
        """The function of a schema that may refer to the shared ones; None where a keyword of it is not known here."""
        making = _Made({**self._shared, schema["$id"]: schema}, dict(self._made))
        try:
            made = making.of(schema, schema["$id"])
        except NotKnown:
            return None
        self._made = making.referred
        return made


class _Made:
    def __init__(self, files: Mapping[str, Schema], referred: dict[str, Accepts]) -> None:
        self._files = files
        #: reference, whole → its function
        self.referred = referred

    def of(self, schema: Any, file: str) -> Accepts:
        """`file` is the `$id` that references within the schema begin from."""
        if isinstance(schema, bool):
            return _yes if schema else _no
        checks = list(self._checks(schema, file))
        if len(checks) < 2:
            return checks[0] if checks else _yes
        if len(checks) == 2:
            one, two = checks
            return lambda value: one(value) and two(value)
        every = tuple(checks)

        def accepts(value: Any) -> bool:
            for check in every:  # noqa: SIM110 - a generator costs as much again
                if not check(value):
                    return False
            return True

        return accepts

    def _checks(self, schema: Schema, file: str) -> Iterator[Accepts]:
        for keyword, said in schema.items():
            if keyword in _SAYS_NOTHING or keyword.startswith("x-") or _READ_WITH.get(keyword) in schema:
                continue
            if keyword in _OF_OBJECTS:
                if keyword == next(one for one in _OF_OBJECTS if one in schema):
                    yield self._object(schema, file)
            elif keyword == "$ref":
                yield self._ref(said, file)
            elif keyword == "if":
                yield self._if(schema, file)
            elif keyword == "items":
                yield self._items(said, file)
            elif keyword in ("allOf", "anyOf"):
                yield self._several(all if keyword == "allOf" else any, [self.of(one, file) for one in said])
            elif keyword == "propertyNames":
                yield self._names(said, file)
            elif keyword in _PLAIN:
                yield _PLAIN[keyword](said)
            else:
                raise NotKnown(keyword)

    def _ref(self, reference: str, file: str) -> Accepts:
        name, _, inner = reference.partition("#")
        whole = f"{name or file}#{inner}"
        if whole in self.referred:
            return self.referred[whole]
        if not _POINTER.fullmatch(inner):
            raise NotKnown(reference)
        target: Any = self._files.get(name or file)
        for part in inner.split("/")[1:]:
            target = target.get(part) if isinstance(target, Mapping) else None
        if target is None:
            raise NotKnown(reference)
        # a definition may refer to itself: until it is made, its name stands for it
        self.referred[whole] = lambda value: self.referred[whole](value)
        made = self.referred[whole] = self.of(target, name or file)
        return made

    def _object(self, schema: Schema, file: str) -> Accepts:
        properties = {name: self.of(one, file) for name, one in schema.get("properties", {}).items()}
        further = self.of(schema.get("additionalProperties", True), file)
        required = tuple(schema.get("required", ()))
        known = properties.get

        def accepts(value: Any) -> bool:
            if type(value) is not dict:
                return True
            for name in required:
                if name not in value:
                    return False
            for name, item in value.items():  # noqa: SIM110 - a generator costs as much again
                if not known(name, further)(item):
                    return False
            return True

        return accepts

    def _items(self, said: Any, file: str) -> Accepts:
        each = self.of(said, file)
        return lambda value: type(value) is not list or all(map(each, value))

    def _names(self, said: Any, file: str) -> Accepts:
        each = self.of(said, file)
        return lambda value: type(value) is not dict or all(map(each, value))

    @staticmethod
    def _several(of: Callable[[Iterator[bool]], bool], parts: list[Accepts]) -> Accepts:
        return lambda value: of(part(value) for part in parts)

    def _if(self, schema: Schema, file: str) -> Accepts:
        holds, then = self.of(schema["if"], file), self.of(schema.get("then", True), file)
        otherwise = self.of(schema.get("else", True), file)
        return lambda value: then(value) if holds(value) else otherwise(value)


def _type(said: Any) -> Accepts:
    if isinstance(said, str):
        return _TYPES[said]
    parts = [_TYPES[one] for one in said]
    return lambda value: any(part(value) for part in parts)


def _same(said: Any) -> Accepts:
    """Equal as JSON has it: `true` is no 1, and 1.0 is one."""
    if said is None or isinstance(said, bool):
        return lambda value: value is said
    if isinstance(said, str):
        return lambda value: type(value) is str and value == said
    if isinstance(said, int | float):
        return lambda value: _number(value) and bool(value == said)
    raise NotKnown("const of a list or an object")


def _enum(said: list[Any]) -> Accepts:
    if all(isinstance(one, str) for one in said):
        words = frozenset(said)
        return lambda value: type(value) is str and value in words
    parts = [_same(one) for one in said]
    return lambda value: any(part(value) for part in parts)


def _pattern(said: str) -> Accepts:
    found = re.compile(said).search
    return lambda value: type(value) is not str or found(value) is not None


def _multiple(said: Any) -> Accepts:
    if type(said) is not int:
        raise NotKnown("multipleOf a fraction")
    return lambda value: not _number(value) or not value % said


def _distinct(value: Any) -> Any:
    """What is the same for two values that are equal as JSON has it, and for no others."""
    if type(value) is list:
        return tuple(map(_distinct, value))
    if type(value) is dict:
        return frozenset((name, _distinct(item)) for name, item in value.items())
    return type(value) is bool, value


def _unique(said: bool) -> Accepts:
    return lambda value: not said or type(value) is not list or len(set(map(_distinct, value))) == len(value)


def _dependent(said: Mapping[str, list[str]]) -> Accepts:
    return lambda value: (
        type(value) is not dict or all(name in value for one, names in said.items() if one in value for name in names)
    )


_PLAIN: Mapping[str, Callable[[Any], Accepts]] = {
    "type": _type,
    "const": _same,
    "enum": _enum,
    "pattern": _pattern,
    "multipleOf": _multiple,
    "uniqueItems": _unique,
    "dependentRequired": _dependent,
    "minimum": lambda said: lambda value: not _number(value) or bool(value >= said),
    "maximum": lambda said: lambda value: not _number(value) or bool(value <= said),
    "exclusiveMinimum": lambda said: lambda value: not _number(value) or bool(value > said),
    "minLength": lambda said: lambda value: type(value) is not str or len(value) >= said,
    "minItems": lambda said: lambda value: type(value) is not list or len(value) >= said,
    "maxItems": lambda said: lambda value: type(value) is not list or len(value) <= said,
    "minProperties": lambda said: lambda value: type(value) is not dict or len(value) >= said,
}
