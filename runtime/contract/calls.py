"""Text of a model ↔ tool calls: `tool.call{"name":"…","args":{…}}`, parsed strictly and compared item by item.

A call in the form of somebody else (runtime/contract/attempts.py) is a call that nobody can carry out, and never
silence.

The typed errors follow the Berkeley Function-Calling Leaderboard's idea of one named cause per failed call
(gorilla.cs.berkeley.edu), with our own names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from runtime import digest
from runtime.contract import toolset
from runtime.contract.attempts import attempts
from runtime.contract.strict_json import Json, loads

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

PREFIX = "tool.call"

ErrorKind = Literal[
    "no_call",
    "foreign_form",
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
    "surplus_call",
    "missing_call",
    "call_on_control",
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


def parse(text: str, names: Iterable[str] = ()) -> Call | Fault:
    """A model's whole text as one call, or the first reason why it is none. Nothing is repaired.

    `names` are the tools of the registry: one of them with brackets behind it is a call in a foreign form, too.
    """
    stripped = text.strip()
    if PREFIX + "{" not in stripped:
        return Fault("foreign_form", "not in the form tool.call{…}") if attempts(stripped, names) else Fault("no_call")
    if not stripped.startswith(PREFIX + "{"):
        return Fault("text_around_call", "before the call")
    try:
        value = loads(stripped[len(PREFIX) :], doubles=True)
    except ValueError as error:
        around = "Extra data" in str(error)
        return Fault("text_around_call", "after the call") if around else Fault("malformed_json", str(error))
    if not isinstance(value, dict) or set(value) != {"name", "args"}:
        return Fault("wrong_form", "the object has not exactly the keys name and args")
    name, args = value["name"], value["args"]
    if not isinstance(name, str) or not isinstance(args, dict):
        return Fault("wrong_form", "name must be a string and args an object")
    return Call(name, args)


def invalid(call: Call, validators: Mapping[str, Validator]) -> Fault | None:
    """Why a call does not fit the registry, or None when it does."""
    validator = validators.get(call.name)
    if validator is None:
        return Fault("unknown_tool", call.name)
    errors = sorted(validator.iter_errors(call.args), key=lambda e: (list(map(str, e.absolute_path)), str(e.validator)))
    if not errors:
        return None
    return Fault(_KIND_OF_KEYWORD.get(str(errors[0].validator), "value_refused"), errors[0].message)


def why_not(response: str, validators: Mapping[str, Validator]) -> str:
    """Why a row's response is neither plain text nor calls that the registry allows; "" when it is one of the two."""
    # it reads what this module reads one by one
    from runtime.contract import callforms

    found = callforms.read(response, (callforms.NATIVE,), validators)
    if isinstance(found, Fault):
        return "" if found.kind == "no_call" else f"{found.kind}: {found.detail}".removesuffix(": ")
    fault = next((fault for call in found if (fault := invalid(call, validators))), None)
    return f"{fault.kind}: {fault.detail[:300]}" if fault else ""


def why_not_row(row: Mapping[str, Any], validators: Mapping[str, Validator]) -> str:
    """Why a call of a row is none that is allowed, by the tools beside its messages or else by the registry; "" when
    all of them are, and when there is nothing to judge them by."""
    messages = row.get("messages", ())
    own = beside(json.dumps(row["tools"])) if row.get("tools") else validators
    for message in messages:
        for made in message.get("tool_calls", ()):
            fault = invalid(Call(made["function"]["name"], made["function"]["arguments"]), own) if own else None
            if fault:
                return f"{fault.kind}: {fault.detail[:300]}"
    called = bool(messages) and "tool_calls" in messages[-1]
    return why_not(str(row["response"]), validators) if validators and not called else ""


@lru_cache(maxsize=64)
def beside(tools: str) -> dict[str, Validator]:
    """Tool name → validator, of the tools beside a conversation (JSON text). A schema that is not judged as it reads
    allows anything: such tools come with other people's data, and only their names are known."""
    found: dict[str, Validator] = {}
    for tool in json.loads(tools):
        given = tool["function"]
        whole = {
            "name": given["name"],
            "description": str(given.get("description") or ""),
            "parameters": given.get("parameters") or {"type": "object"},
        }
        if toolset.faults([whole]):
            whole["parameters"] = {}
        found |= toolset.validators([whole])
    return found


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
