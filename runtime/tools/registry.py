"""A file of tool declarations → a checked list of tools with JSON-Schema parameters, and its fingerprint.

One tool is `{"name", "description", "parameters"}`; `parameters` is a JSON Schema (2020-12) of type object. A schema
may only point into itself (`#…`): nothing is ever fetched.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from runtime import digest
from runtime.contract import Refusal
from runtime.contract.strict_json import Json, loads

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_FIELDS = {"name", "description", "parameters"}
#: what a whole registry may hold; a file of 10^6 tools is an attack, not a registry
MAX_TOOLS = 4096


class Tool(TypedDict):
    """One declared tool."""

    name: str
    description: str
    parameters: dict[str, Json]


def _references(schema: Json) -> Iterable[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _tool(value: Json, place: str) -> Tool:
    if not isinstance(value, dict) or set(value) != _FIELDS:
        raise Refusal("a tool has exactly the fields name, description, parameters", place=place, action="correct it")
    name, parameters = value["name"], value["parameters"]
    if not isinstance(name, str) or not _NAME.match(name):
        raise Refusal(f"{name!r} is no tool name", place=place, action="letters, digits and _ . - only, at most 64")
    if not isinstance(value["description"], str) or not isinstance(parameters, dict):
        raise Refusal(f"tool `{name}`: description is a string, parameters an object", place=place, action="correct it")
    if parameters.get("type") != "object":
        raise Refusal(f"tool `{name}`: parameters must have type object", place=place, action="wrap them in an object")
    far = [reference for reference in _references(parameters) if not reference.startswith("#")]
    if far:
        raise Refusal(f"tool `{name}` refers to {far[0]!r}", place=place, action="copy the schema into the registry")
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        raise Refusal(f"tool `{name}`: no JSON Schema: {error.message}", place=place, action="correct it") from None
    return cast(Tool, value)


def checked(value: Json, place: str) -> list[Tool]:
    """A JSON value as a registry. Raises Refusal naming the tool that is wrong."""
    if not isinstance(value, list) or not value:
        raise Refusal("a tool registry is a list of at least one tool", place=place, action="list the tools")
    if len(value) > MAX_TOOLS:
        raise Refusal(f"{len(value)} tools, at most {MAX_TOOLS}", place=place, action="split the registry")
    tools = [_tool(item, f"{place}, tool {number}") for number, item in enumerate(value, start=1)]
    names = [tool["name"] for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise Refusal(f"two tools are called `{name}`", place=place, action="rename one of them")
    return tools


def load(path: Path) -> list[Tool]:
    """The tools of a registry file. Raises Refusal for anything that is not one."""
    try:
        value = loads(path.read_bytes())
    except ValueError as error:
        raise Refusal(f"not JSON: {error}", place=path.name, action="correct the registry") from None
    return checked(value, path.name)


def fingerprint(tools: Sequence[Tool]) -> str:
    """64 hexadecimal digits over the RFC 8785 text of the registry; of the empty list when there is none."""
    return hashlib.sha256(digest.canonical(list(tools))).hexdigest()


def validators(tools: Sequence[Tool]) -> Mapping[str, Draft202012Validator]:
    """Tool name → the validator of its arguments, with formats asserted."""
    checker = Draft202012Validator.FORMAT_CHECKER
    return {tool["name"]: Draft202012Validator(tool["parameters"], format_checker=checker) for tool in tools}
