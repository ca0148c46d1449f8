"""A value × a JSON Schema (the part of 2020-12 that the published ones use) → where it is not so. Standard library.

A keyword that is not known here is an error, so that nothing is accepted because it was not understood.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Mapping

_SAYS_NOTHING = ("$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "then", "else")
#: value → where it is wrong, as `/pointer: keyword`, or ""
_Check = Callable[[Any], str]
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "string": lambda value: type(value) is str,
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
    "number": lambda value: type(value) is int or type(value) is float,
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
}


class NotKnown(ValueError):
    """A keyword of a schema that is not read here."""


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON has it: `true` is no 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


class Shapes:
    """Schemas by name (`report.run`), which may refer to one another by `$id`. Each is made into functions once."""

    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._files: Dict[str, Any] = {str(one.get("$id")): one for one in schemas.values()}
        self._made: Dict[int, _Check] = {}
        self._referred: Dict[str, _Check] = {}

    def wrong(self, value: Any, schema: Mapping[str, Any]) -> str:
        """The first place where a value is not as one of the schemas says, as `/pointer: keyword`, or "". Raises
        NotKnown."""
        if id(schema) not in self._made:
            self._made[id(schema)] = self._of(schema, str(schema.get("$id")))
        return self._made[id(schema)](value)

    def _of(self, schema: Any, file: str) -> _Check:
        if isinstance(schema, bool):
            return lambda _: "" if schema else ": nothing may stand here"
        checks: List[_Check] = []
        for keyword, said in schema.items():
            if keyword in _SAYS_NOTHING or keyword.startswith("x-"):
                continue
            if keyword in _NESTED:
                checks.append(_NESTED[keyword](self, said, schema, file))
            elif keyword in _PLAIN:
                checks.append(_plain(keyword, _PLAIN[keyword](said)))
            else:
                raise NotKnown(f"keyword `{keyword}` of a schema is not known here")
        if len(checks) == 1:
            return checks[0]
        return lambda value: next(filter(None, (check(value) for check in checks)), "")

    def _ref(self, said: str, _schema: Any, file: str) -> _Check:
        name, _, inner = said.partition("#")
        whole = f"{name or file}#{inner}"
        if whole not in self._referred:
            found: Any = self._files.get(name or file)
            for part in inner.split("/")[1:]:
                found = found.get(part) if isinstance(found, dict) else None
            if found is None:
                raise NotKnown(f"a schema refers to `{said}`, which is not here")
            # a definition may refer to itself: until it is made, its name stands for it
            self._referred[whole] = lambda value: self._referred[whole](value)
            self._referred[whole] = self._of(found, name or file)
        return self._referred[whole]

    def _properties(self, said: Mapping[str, Any], _schema: Any, file: str) -> _Check:
        known = {name: self._of(one, file) for name, one in said.items()}
        return lambda value: _first(value, [name for name in known if name in value], known) if _object(value) else ""

    def _further(self, said: Any, schema: Any, file: str) -> _Check:
        check, known = self._of(said, file), schema.get("properties", {})

        def further(value: Any) -> str:
            for name in value if _object(value) else ():
                if name not in known and (wrong := check(value[name])):
                    return f"/{name}{wrong}"
            return ""

        return further

    def _items(self, said: Any, _schema: Any, file: str) -> _Check:
        check = self._of(said, file)

        def items(value: Any) -> str:
            for number, item in enumerate(value if type(value) is list else ()):
                if wrong := check(item):
                    return f"/{number}{wrong}"
            return ""

        return items

    def _names(self, said: Any, _schema: Any, file: str) -> _Check:
        check = self._of(said, file)
        return lambda value: next(filter(None, map(check, value)), "") if _object(value) else ""

    def _if(self, said: Any, schema: Any, file: str) -> _Check:
        holds, then = self._of(said, file), self._of(schema.get("then", True), file)
        otherwise = self._of(schema.get("else", True), file)
        return lambda value: (
            otherwise(value) if holds(value) else then(value)
        )  # a check says what is wrong, "" where it holds

    def _all(self, said: Any, _schema: Any, file: str) -> _Check:
        checks = [self._of(one, file) for one in said]
        return lambda value: next(filter(None, (check(value) for check in checks)), "")

    def _any(self, said: Any, _schema: Any, file: str) -> _Check:
        checks = [self._of(one, file) for one in said]
        return lambda value: "" if any(not check(value) for check in checks) else ": anyOf"


def _object(value: Any) -> bool:
    return type(value) is dict


def _first(value: Any, names: List[str], checks: Mapping[str, _Check]) -> str:
    for name in names:
        if wrong := checks[name](value[name]):
            return f"/{name}{wrong}"
    return ""


def _plain(keyword: str, holds: Callable[[Any], bool]) -> _Check:
    return lambda value: "" if holds(value) else f": {keyword}"


_NESTED: Mapping[str, Callable[..., _Check]] = {
    "$ref": Shapes._ref,
    "properties": Shapes._properties,
    "additionalProperties": Shapes._further,
    "items": Shapes._items,
    "propertyNames": Shapes._names,
    "if": Shapes._if,
    "allOf": Shapes._all,
    "anyOf": Shapes._any,
}
_number = _TYPES["number"]


def _type(said: Any) -> Callable[[Any], bool]:
    if isinstance(said, str):
        return _TYPES[said]
    parts = [_TYPES[one] for one in said]
    return lambda value: any(part(value) for part in parts)


def _pattern(said: str) -> Callable[[Any], bool]:
    found = re.compile(said).search
    return lambda value: type(value) is not str or found(value) is not None


def _distinct(said: bool) -> Callable[[Any], bool]:
    def distinct(value: Any) -> bool:
        if not said or type(value) is not list:
            return True
        if all(type(item) is str for item in value):
            return len(set(value)) == len(value)
        return not any(_same(one, other) for at, one in enumerate(value) for other in value[:at])

    return distinct


_PLAIN: Mapping[str, Callable[[Any], Callable[[Any], bool]]] = {
    "type": _type,
    "pattern": _pattern,
    "uniqueItems": _distinct,
    "const": lambda said: lambda value: _same(value, said),
    "enum": lambda said: lambda value: any(_same(value, one) for one in said),
    "required": lambda said: lambda value: not _object(value) or all(name in value for name in said),
    "minimum": lambda said: lambda value: not _number(value) or value >= said,
    "maximum": lambda said: lambda value: not _number(value) or value <= said,
    "exclusiveMinimum": lambda said: lambda value: not _number(value) or value > said,
    "multipleOf": lambda said: lambda value: not _number(value) or not value % said,
    "minLength": lambda said: lambda value: type(value) is not str or len(value) >= said,
    "minItems": lambda said: lambda value: type(value) is not list or len(value) >= said,
    "maxItems": lambda said: lambda value: type(value) is not list or len(value) <= said,
    "minProperties": lambda said: lambda value: not _object(value) or len(value) >= said,
    "dependentRequired": lambda said: (
        lambda value: (
            not _object(value) or all(name in value for one, names in said.items() if one in value for name in names)
        )
    ),
}
