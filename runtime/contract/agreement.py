"""Calls that a model made × calls that a row wants → which belong together, what is right in them, and why not.

Every value is compared by declared rules, with every accepted value. Where the order is free, calls are assigned to
wanted ones so that as much as possible is right (Kuhn 1955, in the form of shortest augmenting paths), not by taking
the first that fits: of two wanted calls of which one accepts more than the other, taking greedily may leave none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.calls import Call, Fault
from runtime.contract.strict_json import Json
from runtime.contract.wanted import WantedCall

#: what the `folded` rule leaves out of a text, and what it takes for the same
_FOLDED = str.maketrans({**dict.fromkeys(" ,./-_*^"), "'": '"'})


class Rules(Params):
    """When two values of an argument are the same."""

    strings: Literal["exact", "nfc", "folded"] = Field(
        default="exact",
        description="exact: letter by letter; nfc: as Unicode's canonical composition; folded: lower case without "
        "spaces and , . / - _ * ^, single quotes as double ones, not deeper than a list of texts or an object, and "
        "only where the first accepted value is of the type in the schema, which is text where it names none.",
        examples=["exact"],
    )
    numbers: Literal["value", "kind"] = Field(
        default="value",
        description="value: 1 and 1.0 are one number; kind: an integer is no float, but where the schema says number; "
        "of the kind of an accepted value is always right.",
        examples=["value"],
    )
    lists: Literal["ordered", "any_order"] = Field(
        default="ordered", description="Whether the order of a list's elements counts.", examples=["ordered"]
    )
    defaults: Literal["written", "declared"] = Field(
        default="declared",
        description="declared: an argument that is left out is the `default` of its schema, where it has one.",
        examples=["declared"],
    )


EXACT = Rules()


def _folded(text: str) -> str:
    return text.translate(_FOLDED).lower()


def frozen(value: Json, rules: Rules = EXACT) -> Any:
    """What is equal for two values exactly if they are the same by the rules; hashable."""
    if rules.strings == "folded":
        return _folding(value)
    return _frozen(value, rules.strings == "nfc", rules.lists == "any_order")


def _frozen(value: Any, composed: bool, free: bool) -> Any:
    kind = type(value)
    if kind is str:
        return unicodedata.normalize("NFC", value) if composed and not value.isascii() else value
    if kind is bool:
        return ("?", value)
    if kind is list:
        inner = [_frozen(one, composed, free) for one in value]
        return ("[", *(sorted(inner, key=repr) if free else inner))
    if kind is dict:
        return ("{", frozenset((name, _frozen(one, composed, free)) for name, one in value.items()))
    return value


def _folding(value: Any) -> Any:
    """Texts are folded at the top, within a list, and within an object or a list of objects; deeper ones are exact.
    True is 1 within lists and objects, as in Python, for whoever compares by it."""
    if isinstance(value, str):
        return _folded(value)
    if isinstance(value, list):
        objects = bool(value) and all(isinstance(one, dict) for one in value)
        inner = (_folding(one) if objects or isinstance(one, str) else _raw(one) for one in value)
        return ("[", *inner)
    if isinstance(value, dict):
        return ("{", frozenset((k, _folded(v) if isinstance(v, str) else _raw(v)) for k, v in value.items()))
    return value


def _raw(value: Any) -> Any:
    if isinstance(value, list):
        return ("[", *map(_raw, value))
    if isinstance(value, dict):
        return ("{", frozenset((name, _raw(one)) for name, one in value.items()))
    return value


#: type of JSON Schema → that of Python, when the kind of a number counts
_KINDS: Mapping[str, type] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict,
}  # fmt: skip


def _kind(schema: Any) -> type:
    said = schema.get("type") if isinstance(schema, dict) else None
    return _KINDS.get(said, str) if isinstance(said, str) else str


def _of_kind(value: Any, accepted: Sequence[Json], schema: Any, optional: bool) -> bool:
    """Whether a value has the kind that the schema asks for, or that of the first accepted value."""
    wanted, first = _kind(schema), type(accepted[0]) if accepted else None
    kind: type = float if wanted is float and type(value) is int else type(value)
    if kind is not wanted:
        return kind is first
    if kind is not list or "items" not in schema or optional:
        return True
    inner = _kind(schema["items"])
    return any(
        all(type(one) is inner or (bool(item) and type(one) is type(item[0])) for one in value)
        for item in accepted
        if isinstance(item, list)
    )


def _compared(value: Json, accepted: Sequence[Json], schema: Any, rules: Rules) -> Any:
    """As `frozen`; what stands for a value of another type (a variable's name where a list is due) is not folded."""
    if rules.strings == "folded" and accepted and type(accepted[0]) is not _kind(schema):
        return _raw(value)
    return frozen(value, rules)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A wanted call, its accepted values frozen for comparing: made once, compared often."""

    call: WantedCall
    values: Mapping[str, frozenset[Any]]
    #: the schema of each argument
    schemas: Mapping[str, Any]
    required: frozenset[str]
    #: argument → its declared default, frozen
    defaults: Mapping[str, Any]


def prepared(call: WantedCall, parameters: Mapping[str, Any], rules: Rules = EXACT) -> Wanted:
    """A wanted call beside the schema of its tool's arguments."""
    schemas = parameters.get("properties", {})
    values = {
        name: frozenset(_compared(value, accepted, schemas.get(name, {}), rules) for value in accepted)
        for name, accepted in call.args.items()
    }
    declared = {
        name: _compared(schema["default"], call.args.get(name, ()), schema, rules)
        for name, schema in schemas.items()
        if rules.defaults == "declared" and isinstance(schema, dict) and "default" in schema
    }
    required = frozenset(parameters.get("required", ()))
    return Wanted(call, values, schemas, required, {n: v for n, v in declared.items() if n not in required})


@dataclass(frozen=True, slots=True)
class Pair:
    """One call beside the wanted one: what of it is right, and the first reason why it is not all."""

    true: int
    false: int
    missed: int
    fault: Fault | None


def compared(call: Call, wanted: Wanted, rules: Rules = EXACT) -> Pair:
    """Tool and arguments of a call, one by one."""
    args, gold = call.args, wanted.call
    needed = [name for name in gold.args if name not in gold.optional]
    if call.name != gold.name:
        return Pair(0, 1 + len(args), 1 + len(needed), Fault("wrong_tool", f"{call.name} instead of {gold.name}"))
    fault: Fault | None = None
    true, false, missed = 1, 0, 0
    for name in sorted(needed):
        if name not in args and not _by_default(name, wanted):
            missed += 1
            kind: Literal["missing_required", "missing_argument"] = (
                "missing_required" if name in wanted.required else "missing_argument"
            )
            fault = fault or Fault(kind, name)
    for name in sorted(wanted.required - set(needed)):
        if name not in args:
            missed += 1
            fault = fault or Fault("missing_required", name)
    for name, value in args.items():
        accepted = gold.args.get(name)
        if accepted is None:
            if name in wanted.defaults and frozen(value, rules) == wanted.defaults[name]:
                true += 1
                continue
            false += 1
            fault = fault or Fault("extra_argument", name)
            continue
        schema = wanted.schemas.get(name, {})
        right = _compared(value, accepted, schema, rules) in wanted.values[name]
        if rules.numbers == "kind" and not _of_kind(value, accepted, schema, name in gold.optional):
            fault, right = fault or Fault("type_error", name), False
        if right:
            true += 1
        else:
            false += 1
            missed += name not in gold.optional
            fault = fault or Fault("wrong_value", name)
    return Pair(true, false, missed, fault)


def _by_default(name: str, wanted: Wanted) -> bool:
    """Whether leaving an argument out says a value that is accepted."""
    return name in wanted.defaults and wanted.defaults[name] in wanted.values[name]


@dataclass(frozen=True, slots=True)
class Agreement:
    """The calls of one answer beside the wanted ones: pooled counts, and a reason for each call that is not right."""

    true: int
    false: int
    missed: int
    faults: tuple[Fault, ...]

    @property
    def right(self) -> bool:
        return not self.faults


def agreed(made: Sequence[Call], wanted: Sequence[Wanted], order: str = "any", rules: Rules = EXACT) -> Agreement:
    """Every call assigned to a wanted one; what has no partner is a fault."""
    if not made:
        lost = sum(1 + sum(name not in one.call.optional for name in one.call.args) for one in wanted)
        return Agreement(0, 0, lost, tuple(Fault("missing_call", one.call.name) for one in wanted))
    if len(made) == len(wanted) == 1:
        pair = compared(made[0], wanted[0], rules)
        return Agreement(pair.true, pair.false, pair.missed, (pair.fault,) if pair.fault else ())
    if order == "given":
        places = [(i, i) for i in range(min(len(made), len(wanted)))]
        table = {place: compared(made[place[0]], wanted[place[1]], rules) for place in places}
    else:
        table = {(i, j): compared(call, one, rules) for i, call in enumerate(made) for j, one in enumerate(wanted)}
        places = _assigned(table, len(made), len(wanted))
    pairs = [table[place] for place in places]
    faults = [pair.fault for pair in pairs if pair.fault]
    true, false, missed = (sum(getattr(pair, name) for pair in pairs) for name in ("true", "false", "missed"))
    taken, met = {i for i, _ in places}, {j for _, j in places}
    for i, call in enumerate(made):
        if i not in taken:
            false += 1 + len(call.args)
            faults.append(Fault("surplus_call", call.name))
    for j, one in enumerate(wanted):
        if j not in met:
            missed += 1 + sum(name not in one.call.optional for name in one.call.args)
            faults.append(Fault("missing_call", one.call.name))
    return Agreement(true, false, missed, tuple(faults))


def _assigned(table: Mapping[tuple[int, int], Pair], rows: int, columns: int) -> list[tuple[int, int]]:
    """The assignment of min(rows, columns) pairs of the greatest worth: whole calls first, then single items."""
    if rows > columns:
        flipped = {(j, i): pair for (i, j), pair in table.items()}
        return sorted((i, j) for j, i in _assigned(flipped, columns, rows))
    many = 1 + sum(pair.true for pair in table.values())
    cost = [[-(many * (table[i, j].fault is None) + table[i, j].true) for j in range(columns)] for i in range(rows)]
    # potentials u, v and shortest augmenting paths, column by column (Jonker and Volgenant 1987); column 0 is a helper
    u, v, row_of = [0] * (rows + 1), [0] * (columns + 1), [0] * (columns + 1)
    for row in range(1, rows + 1):
        row_of[0], here = row, 0
        least: list[float] = [float("inf")] * (columns + 1)
        came, seen = [0] * (columns + 1), [False] * (columns + 1)
        while row_of[here]:
            seen[here] = True
            at, step, best = row_of[here], float("inf"), 0
            for column in range(1, columns + 1):
                if seen[column]:
                    continue
                slack = cost[at - 1][column - 1] - u[at] - v[column]
                if slack < least[column]:
                    least[column], came[column] = slack, here
                if least[column] < step:
                    step, best = least[column], column
            for column in range(columns + 1):
                if seen[column]:
                    u[row_of[column]] += int(step)
                    v[column] -= int(step)
                else:
                    least[column] -= step
            here = best
        while here:
            row_of[here], here = row_of[came[here]], came[here]
    return sorted((row_of[column] - 1, column - 1) for column in range(1, columns + 1) if row_of[column])
