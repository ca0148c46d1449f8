"""Right calls → calls that are wrong in one way, whatever else is right in them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from runtime.contract import agreement
from runtime.contract.calls import Call
from runtime.contract.strict_json import Json
from runtime.data.called import Item
from runtime.suites.bfcl import RULES

Calls = list[Call]
Way = Callable[[Item, Calls], Calls | None]


def _with(made: Calls, at: int, args: dict[str, Json], name: str = "") -> Calls:
    return [Call(name or one.name, args) if i == at else one for i, one in enumerate(made)]


def _missing(item: Item, made: Calls) -> Calls | None:
    for at, one in enumerate(made):
        for name in sorted(item.wanted[at].required & set(one.args)):
            return _with(made, at, {k: v for k, v in one.args.items() if k != name})
    return None


def _wrong_type(item: Item, made: Calls) -> Calls | None:
    for at, one in enumerate(made):
        for name, value in one.args.items():
            return _with(made, at, {**one.args, name: 12345 if isinstance(value, str) else "of another type"})
    return None


def _other(value: Json) -> Json:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value} and more"
    if isinstance(value, int | float):
        return value + 987654
    if isinstance(value, list):
        return [*value, value[-1] if value else 1]
    return {**value, "more": 1} if isinstance(value, dict) else "something"


def _wrong_value(item: Item, made: Calls) -> Calls | None:
    for at, one in enumerate(made):
        for name, value in one.args.items():
            other = _other(copy.deepcopy(value))
            if agreement.frozen(other, RULES) not in item.wanted[at].values[name]:
                return _with(made, at, {**one.args, name: other})
    return None


def _extra(item: Item, made: Calls) -> Calls | None:
    return _with(made, 0, {**made[0].args, "no_such_argument": 1}) if made else None


def _swaps(made: Calls, at: int) -> bool:
    """Whether exchanging the names of the first call and another makes a call that was not there."""
    there = [(one.name, one.args) for one in made]
    return (made[at].name, made[0].args) not in there


def _swapped(item: Item, made: Calls) -> Calls | None:
    for at, one in enumerate(made[1:], start=1):
        # two functions asked the same are the same calls when they are swapped
        if one.name != made[0].name and one.args != made[0].args and _swaps(made, at):
            return _with(_with(made, 0, made[0].args, one.name), at, one.args, made[0].name)
    others = sorted(set(item.valid) - {one.name for one in made}) or ["another_function"]
    return _with(made, 0, made[0].args, others[0]) if made else None


def _dropped(item: Item, made: Calls) -> Calls | None:
    return made[:-1] if made else None


def _doubled(item: Item, made: Calls) -> Calls | None:
    return [*made, made[0]] if made else None


def _undue(item: Item, made: Calls) -> Calls | None:
    return None if item.wanted else [Call(next(iter(item.valid)), {})]


WAYS: Mapping[str, Way] = {
    "missing required": _missing,
    "wrong type": _wrong_type,
    "wrong value": _wrong_value,
    "extra argument": _extra,
    "swapped functions": _swapped,
    "dropped call": _dropped,
    "doubled call": _doubled,
    "undue call": _undue,
}
