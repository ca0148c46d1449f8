"""A file of tool declarations → what is wrong with it, by the rules of the data step (runtime/tools/registry.py).

The compiler may not import the machine's tools; a test keeps the two of one mind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from runtime.contract.strict_json import Json, loads

MAX_TOOLS, MAX_BYTES = 4096, 8 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_FIELDS = {"name", "description", "parameters"}


def faults(path: Path) -> list[str]:
    """Every reason why a file is no registry, at most one per tool; empty when it is one."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return [f"larger than {MAX_BYTES >> 20} MB"]
        value = loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return [f"not JSON: {error}" if isinstance(error, ValueError) else "it cannot be read"]
    if not isinstance(value, list) or not value:
        return ["not a list of at least one tool"]
    if len(value) > MAX_TOOLS:
        return [f"{len(value)} tools, at most {MAX_TOOLS}"]
    return list(_tools(value))


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
    if not isinstance(tool, dict) or set(tool) != _FIELDS:
        return "it must have exactly the fields name, description, parameters"
    name, parameters = tool["name"], tool["parameters"]
    if not isinstance(name, str) or not _NAME.match(name):
        return "its name must be letters, digits and _ . - only, at most 64"
    if not isinstance(tool["description"], str) or not isinstance(parameters, dict):
        return f"`{name}`: description must be a string, parameters an object"
    if parameters.get("type") != "object":
        return f"`{name}`: parameters must have type object"
    far = next((reference for reference in _references(parameters) if not reference.startswith("#")), None)
    return f"`{name}` refers to {far!r}, outside the file" if far is not None else _no_schema(name, parameters)


def _references(schema: Json) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _no_schema(name: str, parameters: dict[str, Json]) -> str:
    # imported here: a spec without tools need not pay for it
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        return f"`{name}`: its parameters are no JSON Schema: {error.message}"
    return ""
