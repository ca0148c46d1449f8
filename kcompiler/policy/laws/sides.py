"""What formulas of a report's data read alike: a datum of it, what one model has right, and two models compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from kcompiler.policy.datum import BadDatum, Datum, read
from runtime.contract.statistics import means

#: doubles were summed in another order: a datum may be this far from its formula, of the largest number involved
ROUNDING = 1e-9
_ENDS = ("value", "low", "high")
Data = Mapping[str, Any]


class Side(NamedTuple):
    """Of one model: the sum over its items and how many these are; `counted` where each counts 0 or 1."""

    value: Fraction
    n: int
    counted: bool


def at(data: object, text: str) -> object:
    """What names with dots between them lead to, or None."""
    for name in text.split("."):
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def runners(data: Data, text: str) -> list[str]:
    """The models for which the first `*` of a text stands."""
    held = at(data, text.partition(".*")[0])
    return sorted(held) if isinstance(held, Mapping) else []


def every(data: Data, text: str, runner: str) -> list[object]:
    """All that a text leads to in which `[*]` stands for every name there, and `*` for the model's."""
    found: list[object] = [data]
    for part in text.split("."):
        key = runner if part == "*" else part.removesuffix("[*]")
        found = [one[key] for one in found if isinstance(one, Mapping) and key in one]
        if part.endswith("[*]"):
            found = [value for one in found if isinstance(one, Mapping) for value in one.values()]
    return found


def placed(text: str, runner: str) -> str:
    """The JSON pointer of a text with a `*`."""
    return "/" + text.replace("*", runner).replace(".", "/")


def measured(node: object) -> Datum | None:
    """A measured number, or None."""
    try:
        datum = read(node)
    except BadDatum:
        return None
    return datum if datum.value is not None and datum.tag == "measured" else None


def apart(found: object, expected: float) -> bool:
    """Whether it is no number, or another by more than rounding."""
    return not isinstance(found, int | float) or not math.isclose(found, expected, rel_tol=ROUNDING, abs_tol=ROUNDING)


def side_of(data: Data, of: Sequence[str], runner: str, less: bool) -> Side | None:
    """What the runner has right or is worth, or None where that is not measured. A sum's parts may be of no items."""
    found = [one for text in of if (one := measured(at(data, text.replace("*", runner)))) is not None]
    if not found or any(one.n is None or one.value is None for one in found):
        return None
    total = sum((one.value * one.n for one in found if one.value is not None and one.n is not None), Fraction(0))
    whole = sum(one.n or 0 for one in found)
    return Side(-total if less else total, whole, all(one.k is not None for one in found))


def mean_wrong(node: Mapping[str, Any]) -> str:
    """Why an interval of a mean is not Student's, of the items and the standard deviation beside it, or ""."""
    n, sd = node.get("n", 0), node.get("sd", -1)
    if node.get("interval") != means.STUDENT or type(n) is not int or n < 2 or type(sd) not in (int, float) or sd < 0:
        return f"no `n`, `sd` and interval `{means.STUDENT}` of a mean"
    half = means.half_of(n, sd)
    slack = ROUNDING * max(1.0, abs(node["value"]), half)
    for name, end in (("low", node["value"] - half), ("high", node["value"] + half)):
        if type(node.get(name)) not in (int, float) or abs(node[name] - end) > slack:
            return f"`{name}` {node.get(name)!r} is not {end!r}, of {n} items and their standard deviation {sd!r}"
    return ""


def spread(data: Data, side: Side | None, runner: str, items: str, per: str, count: int) -> Side | None:
    """A sum over other things than items, as one over the items behind `items`: over so much of `per` as one of all
    `count` items has on average. None where that is not measured."""
    whole, behind = measured(at(data, per)), measured(at(data, items.replace("*", runner)))
    if side is None or whole is None or behind is None or not whole.value or behind.n is None:
        return None
    return Side(side.value * count / whole.value, behind.n, False)


def _right(pairs: int, side: Side) -> tuple[Fraction, Fraction]:
    """Of a rate's items so many are pairs: how many of these are right, at least and at most."""
    return max(Fraction(0), side.value - (side.n - pairs)), min(side.value, Fraction(pairs))


def difference(node: Mapping[str, Any], left: Side | None, right: Side | None) -> str:
    """Why a paired difference is not that of its sides, or ""."""
    found = measured(node)
    if found is None or found.value is None:
        return ""
    if left is None or right is None:
        return "a difference of sides of which one was not measured"
    if found.n != min(left.n, right.n):
        return f"{found.n} pairs of {left.n} and {right.n} items"
    if left.counted and right.counted:
        if not {"wins", "losses"} <= node.keys():
            return "two models on the same items without `wins` and `losses`"
        won, lost = node["wins"], node["losses"]
        if won > min(left.value, right.n - right.value) or lost > min(right.value, left.n - left.value):
            return f"{won} won and {lost} lost are more than its sides have right and wrong"
        (few, many), (little, much) = _right(found.n, left), _right(found.n, right)
        least, most = few - much, many - little
    elif wrong := mean_wrong(node):
        return wrong
    elif left.n == right.n:
        least = most = left.value - right.value
    else:
        return ""
    size = max(abs(left.value), abs(right.value), Fraction(found.n)) * Fraction(ROUNDING)
    if not least - size <= found.value * found.n <= most + size:
        return f"{float(found.value)!r} is not the difference of its sides"
    return ""


def unlike(node: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Why a datum is not the one that its counts give, or ""."""
    if node["value"] is None or expected["value"] is None:
        return "" if node["value"] is expected["value"] else "its counts say otherwise than it"
    for name in _ENDS:
        if (name in node) is not (name in expected) or (name in node and apart(node[name], expected[name])):
            return f"`{name}` {node.get(name)!r} is not {expected.get(name)!r}"
    return ""
