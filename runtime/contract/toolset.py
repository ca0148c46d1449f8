"""A JSON value as a registry of tools → every reason why it is none, and the validators of its tools' arguments.

One tool is `{"name", "description", "parameters"}`; `parameters` is a JSON Schema (2020-12) of type object, read
strictly, because what a validator ignores a person believes in:

- a keyword that 2020-12 does not know, a `$schema` of another draft and an `$id` inside are refused;
- every `$ref` leads to a schema of the same tool, and no chain of them turns in a circle: nothing is ever fetched;
- `format` is asserted, always, and only the formats of `FORMATS` are accepted, whatever else is installed;
- `pattern` is ECMA-262 (runtime/contract/ecma.py), `multipleOf` is exact in decimals: 19.99 is 1999 times 0.01.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from functools import cache, lru_cache
from graphlib import CycleError, TopologicalSorter
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from runtime import digest
from runtime.contract.ecma import compiled
from runtime.contract.strict_json import Json

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
FIELDS = frozenset({"name", "description", "parameters"})
#: what a whole registry may hold; a file of 10^6 tools is an attack, not a registry
MAX_TOOLS, MAX_BYTES = 4096, 8 << 20
DRAFT = "https://json-schema.org/draft/2020-12/schema"

#: keyword → how schemas stand below it
# fmt: off
_ONE = frozenset(
    {
        "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "items", "contains", "not", "if",
        "then", "else", "propertyNames",
    }
)
_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
_OTHER = frozenset(
    {
        "$schema", "$id", "$ref", "$anchor", "$comment", "type", "enum", "const", "multipleOf", "maximum",
        "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems",
        "minItems", "uniqueItems", "maxContains", "minContains", "maxProperties", "minProperties", "required",
        "dependentRequired", "title", "description", "default", "deprecated", "readOnly", "writeOnly", "examples",
        "format", "contentEncoding", "contentMediaType",
    }
)
# fmt: on
KEYWORDS = _ONE | _LIST | _MAP | _OTHER
#: what older drafts and other dialects say → what 2020-12 says
_RENAMED = {"definitions": "$defs", "dependencies": "dependentRequired", "id": "$id", "additionalItems": "items"}
#: keywords that apply a schema to the very same value: a circle of these never ends
_IN_PLACE = frozenset(["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"])

_DATE, _CLOCK = r"(\d{4})-(\d\d)-(\d\d)", r"(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DURATION = r"P(?:\d+W|(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)(?:T{t})?|T{t})".replace(
    "{t}", r"(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)"
)
_PART = r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
_HOST = rf"(?://(?:{_PART}@)?\[[0-9A-Fa-f:.]+\])?"
_URI = rf"[A-Za-z][A-Za-z0-9+.-]*:{_HOST}{_PART}(?:#{_PART})?"


def _whole(pattern: str, text: str) -> re.Match[str] | None:
    return re.fullmatch(pattern, text, re.ASCII)


def _is_date(text: str) -> bool:
    parts = _whole(_DATE, text)
    try:
        return parts is not None and bool(date(*map(int, parts.groups())))
    except ValueError:
        return False


def _is_time(text: str) -> bool:
    """RFC 3339: a zone is needed, and a 60th second only at the end of a day in UTC."""
    parts = _whole(_CLOCK, text)
    if parts is None:
        return False
    hour, minute, second = (int(parts[i]) for i in (1, 2, 3))
    ahead = (int(parts[5]) * 60 + int(parts[6])) * (-1 if parts[4] == "-" else 1) if parts[4] else 0
    if hour > 23 or minute > 59 or second > 60 or (parts[4] and (int(parts[5]) > 23 or int(parts[6]) > 59)):
        return False
    return second < 60 or (hour * 60 + minute - ahead) % 1440 == 1439


def _is_address(kind: Callable[[str], object], text: str) -> bool:
    try:
        return bool(kind(text)) and "%" not in text
    except ValueError:
        return False


def _is_pattern(text: str) -> bool:
    try:
        return bool(compiled(text))
    except ValueError:
        return False


def _is_email(text: str) -> bool:
    local, _, domain = text.rpartition("@")
    return len(local) <= 64 and bool(_whole(rf"{_ATOM}(?:\.{_ATOM})*", local)) and _is_hostname(domain)


def _is_hostname(text: str) -> bool:
    return len(text) <= 253 and bool(_whole(rf"{_LABEL}(?:\.{_LABEL})*", text))


#: format → whether a text has it. RFC 3339 (dates, times, durations), 5321 (unquoted mailboxes), 1123, 3986, 4122
FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date": _is_date,
    "date-time": lambda text: text[10:11] in ("T", "t") and _is_date(text[:10]) and _is_time(text[11:]),
    "duration": lambda text: bool(_whole(_DURATION, text)),
    "email": _is_email,
    "hostname": _is_hostname,
    "ipv4": lambda text: _is_address(IPv4Address, text),
    "ipv6": lambda text: _is_address(IPv6Address, text),
    "regex": _is_pattern,
    "time": _is_time,
    "uri": lambda text: bool(_whole(_URI, text)),
    "uuid": lambda text: bool(_whole(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text)),
}


def faults(value: Json) -> list[str]:
    """Every reason why a value is no registry, at most one a tool, led by its number; empty when it is one."""
    if not isinstance(value, list) or not value:
        return ["not a list of at least one tool"]
    if len(value) > MAX_TOOLS:
        return [f"{len(value)} tools, at most {MAX_TOOLS}"]
    return list(_tools(value))


def misfit(schema: Json) -> str:
    """Why a value is no JSON Schema that is judged as it reads; "" when it is one."""
    return _schema(schema) if isinstance(schema, dict) else "it is no object"


def _tools(tools: list[Json]) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, tool in enumerate(tools, start=1):
        fault = _fault(tool)
        name = tool.get("name") if isinstance(tool, dict) else None
        if not fault and isinstance(name, str):
            if name in first:
                fault = f"`{name}` is also tool {first[name]}"
            first.setdefault(name, number)
        if fault:
            yield f"tool {number}: {fault}"


def _fault(tool: Json) -> str:
    if not isinstance(tool, dict) or set(tool) != FIELDS:
        return "it must have exactly the fields name, description, parameters"
    name, parameters = tool["name"], tool["parameters"]
    if not isinstance(name, str) or not NAME.match(name):
        return "its name must be letters, digits and _ . - only, at most 64"
    if not isinstance(tool["description"], str) or not isinstance(parameters, dict):
        return f"`{name}`: description must be a string, parameters an object"
    if parameters.get("type") != "object":
        return f"`{name}`: parameters must have type object"
    fault = _schema(parameters)
    return f"`{name}`: {fault}" if fault else ""


def _schema(root: dict[str, Json]) -> str:
    """The first reason why a schema is none that is judged as it reads, with its place; "" when it is one."""
    if root.get("$schema", DRAFT) not in (DRAFT, DRAFT + "#"):
        return (
            f"`$schema` is {str(root['$schema'])[:80]!r}; only 2020-12 is read: translate it, and leave `$schema` out"
        )
    wrong = _malformed(root)
    if wrong:
        return wrong
    places = dict(_below(root, "#"))
    for place, schema in places.items():
        if isinstance(schema, dict) and (wrong := _strange(schema, place)):
            return wrong
    kinds = [schema for schema in places.values() if isinstance(schema, dict)]
    if any("unevaluatedProperties" in one for one in kinds) and any("patternProperties" in one for one in kinds):
        # jsonschema looks these patterns up in Python's dialect, and crashes where they are not in it
        return "`unevaluatedProperties` beside `patternProperties` is not judged here; write `additionalProperties`"
    return _references(places)


def _malformed(root: dict[str, Json]) -> str:
    return _malformed_text(json.dumps(root))


@lru_cache(maxsize=1024)
def _malformed_text(written: str) -> str:
    """Kept by its text: the functions of a benchmark come again with every row and every model, and asking JSON
    Schema's own schema is the dearest part of reading them."""
    # imported here: a spec without tools need not pay for it
    from runtime.contract.jsonschemas import Draft202012Validator, best_match

    error = best_match(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(json.loads(written)))
    if error is None:
        return ""
    place = "/".join(["#", *map(str, error.absolute_path)])
    return f"its parameters are no JSON Schema at {place}: {error.message[:200]}"


def _below(schema: Json, place: str) -> Iterator[tuple[str, Json]]:
    """Every schema of a schema by its JSON pointer."""
    yield place, schema
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        here = f"{place}/{_token(keyword)}"
        if keyword in _ONE:
            yield from _below(value, here)
        elif keyword in _LIST and isinstance(value, list):
            for index, item in enumerate(value):
                yield from _below(item, f"{here}/{index}")
        elif keyword in _MAP and isinstance(value, dict):
            for name, item in value.items():
                yield from _below(item, f"{here}/{_token(name)}")


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _strange(schema: dict[str, Json], place: str) -> str:
    """What stands in one schema that would be ignored, or judged in another way than it reads."""
    for keyword in schema:
        if keyword not in KEYWORDS and not keyword.startswith("x-"):
            near = _RENAMED.get(keyword) or next(iter(difflib.get_close_matches(keyword, sorted(KEYWORDS), 1, 0.6)), "")
            hint = f"; did you mean `{near}`?" if near else ""
            return f"`{keyword}` at {place} is no keyword of JSON Schema 2020-12 that is judged here{hint}"
    if "$schema" in schema and place != "#":
        return f"`$schema` at {place} stands inside; leave it out"
    if "$id" in schema:
        return f"`$id` at {place}: a tool's schema has no address; leave it out, and refer to `#/$defs/…`"
    name = schema.get("format")
    if isinstance(name, str) and name not in FORMATS:
        return f"format {name!r} at {place} is not asserted; use {', '.join(FORMATS)}, or a `pattern`"
    patterns = [schema["pattern"]] if "pattern" in schema else []
    for pattern in [*patterns, *cast(dict[str, Json], schema.get("patternProperties", {}))]:
        try:
            compiled(str(pattern))
        except ValueError as error:
            return f"pattern {str(pattern)[:60]!r} at {place}: {error}"
    return ""


def _references(places: Mapping[str, Json]) -> str:
    """The first `$ref` that leads to no schema of this tool, or back to itself without taking a step into the value."""
    named = [(at, schema) for at, schema in places.items() if isinstance(schema, dict) and "$anchor" in schema]
    anchors = {f"#{schema['$anchor']}": at for at, schema in named}
    leads: dict[str, str] = {}
    for place, schema in places.items():
        if not isinstance(schema, dict) or "$ref" not in schema:
            continue
        reference = unquote(str(schema["$ref"]))
        if not reference.startswith("#"):
            return f"`$ref` {reference!r} at {place} leads outside the file; copy the schema into `$defs`"
        target = anchors.get(reference, reference)
        if target not in places:
            near = next(iter(difflib.get_close_matches(reference, [*places, *anchors], 1, 0.6)), "")
            hint = f"; did you mean `{near}`?" if near else ""
            return f"`$ref` {reference!r} at {place} leads to no schema{hint}"
        leads[place] = target
    edges = {place: {target} for place, target in leads.items()}
    for place in places:
        above, _, last = place.rpartition("/")
        parent, keyword = (above, last) if above in places else (above.rpartition("/")[0], above.rpartition("/")[2])
        if keyword in _IN_PLACE and parent in places:
            edges.setdefault(parent, set()).add(place)
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        at = next(place for place in error.args[1] if place in leads)
        return f"`$ref` at {at} leads back to itself without end"
    return ""


def _decimal(value: float) -> Fraction:
    """A number as it is written: the double nearest to 0.01 counts as one hundredth."""
    return Fraction(repr(value))


#: keywords that say something about a value and ask nothing of it
_NOTES = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"})
_PLAIN: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip


def _plainly(value: Any, schema: Any) -> bool:
    """Whether a text, a number or a truth value is what a schema of a few plain keywords allows. False says nothing:
    then the library looks."""
    if not isinstance(schema, dict):
        return False
    kind = type(value)
    number = kind is int or kind is float
    for keyword, asked in schema.items():
        if keyword == "type":
            sure = isinstance(asked, str) and kind in _PLAIN.get(asked, ())
        elif keyword == "enum":
            sure = kind is str and value in asked
        elif keyword == "minimum":
            sure = number and value >= asked
        elif keyword == "maximum":
            sure = number and value <= asked
        elif keyword == "multipleOf":
            sure = kind is int and type(asked) is int and value % asked == 0
        elif keyword == "minLength":
            sure = kind is str and len(value) >= asked
        elif keyword == "maxLength":
            sure = kind is str and len(value) <= asked
        else:
            sure = keyword in _NOTES
        if not sure:
            return False
    return True


def _properties(validator: Any, properties: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    """As the library, which makes a validator anew for every property of every value: here only where it must look."""
    if isinstance(instance, dict):
        for name, schema in properties.items():
            if name in instance and not _plainly(instance[name], schema):
                yield from validator.descend(instance[name], schema, path=name, schema_path=name)


def _multiple_of(_validator: Any, divisor: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    is_number = isinstance(instance, int | float) and not isinstance(instance, bool)
    if is_number and (_decimal(instance) / _decimal(divisor)).denominator != 1:
        yield ValidationError(f"{instance!r} is not a multiple of {divisor!r}")


def _pattern(_validator: Any, pattern: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and not compiled(pattern).search(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _format(_validator: Any, name: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and not FORMATS[name](instance):
        yield ValidationError(f"{instance!r} is not a {name!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, dict):
        for pattern, schema in patterns.items():
            for name, value in instance.items():
                if compiled(pattern).search(name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional(validator: Any, schema: Any, instance: Any, whole: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not isinstance(instance, dict):
        return
    for name, value in instance.items():
        if name in whole.get("properties", {}) or any(
            compiled(pattern).search(name) for pattern in whole.get("patternProperties", {})
        ):
            continue
        if schema is False:
            yield ValidationError(f"{name!r} is no argument that is declared")
        else:
            yield from validator.descend(value, schema, path=name)


@cache
def _validator() -> Any:
    # a registry without arguments to check need not pay for it
    from runtime.contract.jsonschemas import Draft202012Validator, extend

    make: Any = extend
    return make(
        Draft202012Validator,
        {
            "properties": _properties,
            "multipleOf": _multiple_of,
            "pattern": _pattern,
            "format": _format,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional,
        },
    )


def fingerprint(tools: Sequence[Mapping[str, Any]]) -> str:
    """64 hexadecimal digits over the RFC 8785 text of the registry; of the empty list when there is none."""
    return hashlib.sha256(digest.canonical(list(tools))).hexdigest()


def validators(tools: Sequence[Mapping[str, Any]]) -> dict[str, Validator]:
    """Tool name → the validator of its arguments. The tools are those of a registry without `faults`."""
    return {tool["name"]: validator(tool["parameters"]) for tool in tools}


def validator(schema: Mapping[str, Any]) -> Validator:
    """What judges values by a schema without `misfit`."""
    made: Validator = _validator()(schema)
    return made
