"""What a row wants beyond its own response: calls with every accepted value, and the facts of a tool's result.

    {"calls": [{"name": "play", "args": {"artist": ["ABBA", "Abba"], "volume": [5]}, "optional": ["volume"]}],
     "order": "any", "facts": [{"value": "12.5", "unit": "km", "key": "distance", "type": "number"}], "locale": "en"}

`calls` says which calls are right; none (`[]`) says that a call is wrong. Without it the row's own response is the
one right answer. `order` is "any" where the calls are independent, and "given" for a chain. `facts` are what
a final answer must carry over from the results of tools before it: `type` says how a value is compared (text, number,
date, id), `unit` which unit a number must have, `key` under which field of the result it stands. Everything here is
declared with the data, never read from what a model said. What a scenario wants besides: runtime/contract/scenario.py;
what a row says of itself to losses that depend on it: runtime/contract/conditions.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from runtime.contract import Refusal, conditions, scenario
from runtime.contract.strict_json import Json

ORDERS = ("any", "given")
TYPES = ("text", "number", "date", "id")
LOCALES = ("en", "de")
#: most calls of a row, most accepted values of an argument, most facts of a row
MAX_CALLS, MAX_ACCEPTED, MAX_FACTS = 64, 1024, 64
_ACTION = "correct the field `wanted` of the row, or remove it"


@dataclass(frozen=True, slots=True)
class WantedCall:
    """One call that is right: of each argument the accepted values, and which arguments may be left out."""

    name: str
    args: Mapping[str, list[Json]]
    optional: frozenset[str] = frozenset()

    def first(self) -> dict[str, Json]:
        """The arguments of the shortest right call: of each that is needed the first accepted value."""
        return {name: values[0] for name, values in self.args.items() if name not in self.optional}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something of a tool's result that an answer must say."""

    value: str
    type: str = "text"
    unit: str = ""
    key: str = ""


def _refuse(what: str, here: str) -> Refusal:
    return Refusal(f"`wanted`: {what}", place=here, action=_ACTION, code="KR0240")


def _call(value: Json, here: str, at: str) -> None:
    if not isinstance(value, dict) or not {"name", "args"} <= set(value) <= {"name", "args", "optional"}:
        raise _refuse(f"{at} must have name, args, and perhaps optional", here)
    name, args, optional = value["name"], value["args"], value.get("optional", [])
    if not isinstance(name, str) or not name.strip() or not isinstance(args, dict):
        raise _refuse(f"{at} must have a name, and an object of lists as args", here)
    for argument, accepted in args.items():
        if not isinstance(accepted, list) or not 1 <= len(accepted) <= MAX_ACCEPTED:
            raise _refuse(f"{at}.args.{argument[:40]} must be a list of 1 to {MAX_ACCEPTED} accepted values", here)
    if not isinstance(optional, list) or not all(isinstance(one, str) and one in args for one in optional):
        raise _refuse(f"{at}.optional must name arguments of args", here)


def _fact(value: Json, here: str, at: str) -> None:
    known = {"value", "type", "unit", "key"}
    if not isinstance(value, dict) or not {"value"} <= set(value) <= known:
        raise _refuse(f"{at} must have value, and perhaps type, unit and key", here)
    if not all(isinstance(one, str) and one.strip() for one in value.values()):
        raise _refuse(f"every field of {at} must be a text that is not empty", here)
    if value.get("type", "text") not in TYPES:
        raise _refuse(f"the type of {at} is one of {', '.join(TYPES)}", here)
    if "unit" in value and value.get("type") != "number":
        raise _refuse(f"{at} has a unit and is no number", here)


def checked(value: Json, here: str) -> None:
    """Whether a JSON value is what a row may want. Raises Refusal (KR0240) with what is wrong."""
    known = {"calls", "order", "facts", "locale", *scenario.FIELDS, *conditions.FIELDS}
    if not isinstance(value, dict) or not value or not set(value) <= known:
        raise _refuse(f"it must be an object of {', '.join(sorted(known))}", here)
    if why := scenario.fault(value) or conditions.fault(value):
        raise _refuse(why, here)
    calls, facts = value.get("calls"), value.get("facts")
    if calls is not None:
        if not isinstance(calls, list) or len(calls) > MAX_CALLS:
            raise _refuse(f"calls must be a list of at most {MAX_CALLS}", here)
        for number, call in enumerate(calls):
            _call(call, here, f"calls[{number}]")
    if "order" in value and (calls is None or value["order"] not in ORDERS):
        raise _refuse(f"order stands beside calls and is one of {', '.join(ORDERS)}", here)
    if facts is not None:
        if not isinstance(facts, list) or not 1 <= len(facts) <= MAX_FACTS:
            raise _refuse(f"facts must be a list of 1 to {MAX_FACTS}", here)
        for number, fact in enumerate(facts):
            _fact(fact, here, f"facts[{number}]")
    if "locale" in value and (facts is None or value["locale"] not in LOCALES):
        raise _refuse(f"locale stands beside facts and is one of {', '.join(LOCALES)}", here)
    if calls is None and facts is None and not {"state", *conditions.FIELDS} & set(value):
        raise _refuse("it wants nothing: write calls, facts or state", here)


def calls_of(row: Mapping[str, Any]) -> list[WantedCall] | None:
    """The calls that a checked row wants; None where it does not say and its response decides."""
    wanted = row.get("wanted", {})
    if "calls" not in wanted:
        return None
    return [WantedCall(one["name"], one["args"], frozenset(one.get("optional", ()))) for one in wanted["calls"]]


def order_of(row: Mapping[str, Any]) -> str:
    """Whether the calls of a row may come in any order."""
    return cast(str, row.get("wanted", {}).get("order", "any"))


def facts_of(row: Mapping[str, Any]) -> list[Fact]:
    """The facts that a checked row wants an answer to carry over."""
    return [Fact(**one) for one in row.get("wanted", {}).get("facts", ())]


def locale_of(row: Mapping[str, Any]) -> str:
    """How numbers and dates are written in the answer of a row."""
    return cast(str, row.get("wanted", {}).get("locale", "en"))
