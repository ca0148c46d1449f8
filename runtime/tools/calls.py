"""Text of a model ↔ tool calls: `tool.call{"name":"…","args":{…}}`, parsed strictly and compared item by item.

The typed errors follow the Berkeley Function-Calling Leaderboard's idea of one named cause per failed call
(gorilla.cs.berkeley.edu), with our own names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jsonschema import Draft202012Validator

from runtime import digest
from runtime.contract.strict_json import Json, loads

PREFIX = "tool.call"

ErrorKind = Literal[
    "no_call",
    "text_around_call",
    "malformed_json",
    "wrong_form",
    "unknown_tool",
    "missing_required",
    "unexpected_argument",
    "type_error",
    "value_refused",
    "wrong_tool",
    "missing_argument",
    "extra_argument",
    "wrong_value",
]

#: jsonschema keyword → kind; every other keyword is a value outside what the schema allows
_KIND_OF_KEYWORD: Mapping[str, ErrorKind] = {
    "required": "missing_required",
    "additionalProperties": "unexpected_argument",
    "unevaluatedProperties": "unexpected_argument",
    "type": "type_error",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was written."""

    name: str
    args: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a text is not the call it should be; `detail` is for people."""

    kind: ErrorKind
    detail: str = ""


def arguments(args: Mapping[str, Json]) -> str:
    """Arguments as RFC 8785 text: sorted keys, no spaces, one spelling per number."""
    return digest.canonical(dict(args)).decode()


def render(call: Call) -> str:
    """The one spelling of a call. The name comes first, so that a reader knows the tool before its arguments."""
    return f'{PREFIX}{{"name":{digest.canonical(call.name).decode()},"args":{arguments(call.args)}}}'


def spans(call: Call) -> dict[str, list[list[int]]]:
    """Byte offsets into `render(call)`: the name without its quotes, and the arguments with their braces."""
    name, args = digest.canonical(call.name), arguments(call.args).encode()
    start = len(PREFIX) + len('{"name":')
    after = start + len(name) + len(',"args":')
    return {"tool_name": [[start + 1, start + len(name) - 1]], "json_args": [[after, after + len(args)]]}


def parse(text: str) -> Call | Fault:
    """A model's whole text as one call, or the first reason why it is none. Nothing is repaired."""
    stripped = text.strip()
    if PREFIX + "{" not in stripped:
        return Fault("no_call")
    if not stripped.startswith(PREFIX + "{"):
        return Fault("text_around_call", "before the call")
    try:
        value = loads(stripped[len(PREFIX) :])
    except ValueError as error:
        around = "Extra data" in str(error)
        return Fault("text_around_call", "after the call") if around else Fault("malformed_json", str(error))
    if not isinstance(value, dict) or set(value) != {"name", "args"}:
        return Fault("wrong_form", "the object has not exactly the keys name and args")
    name, args = value["name"], value["args"]
    if not isinstance(name, str) or not isinstance(args, dict):
        return Fault("wrong_form", "name must be a string and args an object")
    return Call(name, args)


def invalid(call: Call, validators: Mapping[str, Draft202012Validator]) -> Fault | None:
    """Why a call does not fit the registry, or None when it does."""
    validator = validators.get(call.name)
    if validator is None:
        return Fault("unknown_tool", call.name)
    errors = sorted(validator.iter_errors(call.args), key=lambda e: (list(map(str, e.absolute_path)), str(e.validator)))
    if not errors:
        return None
    return Fault(_KIND_OF_KEYWORD.get(str(errors[0].validator), "value_refused"), errors[0].message)


def difference(call: Call, gold: Call) -> Fault | None:
    """Why a valid call is not the wanted one, or None when tool and arguments are equal as RFC 8785 text."""
    if call.name != gold.name:
        return Fault("wrong_tool", f"{call.name} instead of {gold.name}")
    for name in sorted(set(gold.args) - set(call.args)):
        return Fault("missing_argument", name)
    for name in sorted(set(call.args) - set(gold.args)):
        return Fault("extra_argument", name)
    for name in sorted(gold.args):
        if _text(call.args[name]) != _text(gold.args[name]):
            return Fault("wrong_value", name)
    return None


def items(call: Call) -> Counter[tuple[str, str, str]]:
    """What a call asserts: its tool, and each argument of that tool with its value as RFC 8785 text.

    An argument belongs to its tool: the right value under the wrong tool is no match.
    """
    found = [("tool", call.name, "")]
    found += [(call.name, name, _text(value)) for name, value in call.args.items()]
    return Counter(found)


def _text(value: Json) -> str:
    return digest.canonical(value).decode()


def matches(predicted: Sequence[Call], gold: Sequence[Call]) -> tuple[int, int, int]:
    """(true positives, false positives, false negatives) of items, for the calls of one row."""
    mine: Counter[tuple[str, str, str]] = sum((items(call) for call in predicted), Counter())
    theirs: Counter[tuple[str, str, str]] = sum((items(call) for call in gold), Counter())
    both = sum((mine & theirs).values())
    return both, sum(mine.values()) - both, sum(theirs.values()) - both
