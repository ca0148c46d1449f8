"""A report's data × the formulas its schema names → the first datum that the others in it do not give, or "".

Some data of a report are functions of others: what is left beyond chance of k of n, a comparison of two models of what
each has right, the calibration error of its bins. Gates read them, so whoever writes one may not say what the counts
beside it do not. Where not everything a datum was made of stands in the report, it is bounded by what does. Beside
`data` a schema names the formulas under `x-derived`:

    [{"formula": "gains", "of": ["accuracy.*"]}, {"formula": "zoo", "of": ["agreement.*", "clauses.*"]}]

`of` leads to what each runner, in place of the `*`, has right (their sum, where several are named) or is worth; with
`"less": true` less of it is better. A formula of what is unavailable says nothing: that is for rules to miss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from kcompiler.policy.datum import BadDatum, Datum, read
from runtime.contract.statistics import chance, clusters, multiple
from runtime.contract.statistics.paired import ALPHA, EXACT_MCNEMAR, OF_TEXTS
from runtime.contract.zoo import GOLD

#: keyword of a report's schema, beside the properties of its data
DERIVED = "x-derived"
#: doubles were summed in another order: a datum may be this far from its formula, of the largest number involved
_ROUNDING = 1e-9
#: items of which right and wrong are written out, so that no count makes whoever reads a report run out of memory
_MOST = 1_000_000
_ENDS = ("value", "low", "high")
Data = Mapping[str, Any]


class _Side(NamedTuple):
    """Of one model: the sum over its items and how many these are; `counted` where each counts 0 or 1."""

    value: Fraction
    n: int
    counted: bool


def broken(data: Data, formulas: Sequence[Mapping[str, Any]]) -> str:
    """The first datum that contradicts the others. Raises KeyError for a formula that does not exist."""
    return next((said for one in formulas for said in FORMULAS[one["formula"]](data, one)), "")


def _at(data: object, text: str) -> object:
    for name in text.split("."):
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def _read(node: object) -> Datum | None:
    """A measured number, or None."""
    try:
        datum = read(node)
    except BadDatum:
        return None
    return datum if datum.value is not None and datum.tag == "measured" else None


def _apart(found: object, expected: float) -> bool:
    return not isinstance(found, int | float) or not math.isclose(found, expected, rel_tol=_ROUNDING, abs_tol=_ROUNDING)


def _side(data: Data, of: Sequence[str], runner: str, less: bool) -> _Side | None:
    """What the runner has right or is worth, or None where that is not measured. A sum's parts may be of no items."""
    found = [one for text in of if (one := _read(_at(data, text.replace("*", runner)))) is not None]
    if not found or any(one.n is None or one.value is None for one in found):
        return None
    total = sum((one.value * one.n for one in found if one.value is not None and one.n is not None), Fraction(0))
    whole = sum(one.n or 0 for one in found)
    return _Side(-total if less else total, whole, all(one.k is not None for one in found))


def _right(pairs: int, side: _Side) -> tuple[Fraction, Fraction]:
    """Of a rate's items so many are pairs: how many of these are right, at least and at most."""
    return max(Fraction(0), side.value - (side.n - pairs)), min(side.value, Fraction(pairs))


def _difference(node: Mapping[str, Any], left: _Side | None, right: _Side | None) -> str:
    """Why a paired difference is not that of its sides, or ""."""
    found = _read(node)
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
    elif left.n == right.n:
        least = most = left.value - right.value
    else:
        return ""
    size = max(abs(left.value), abs(right.value), Fraction(found.n)) * Fraction(_ROUNDING)
    if not least - size <= found.value * found.n <= most + size:
        return f"{float(found.value)!r} is not the difference of its sides"
    return ""


def _gains(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Two models over the same items."""
    for name, runners in OF_TEXTS.items():
        sides = [_side(data, said["of"], runner, said.get("less", False)) for runner in runners]
        if name in data and (wrong := _difference(data[name], *sides)):
            yield f"/{name}: {wrong}"


def _zoo(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Above the best policy: the best is the best, no gold among them, and gold is wholly right."""
    zoo = data["zoo"]
    above = {name: node for name, node in zoo["above"].items() if _read(node) is not None}
    if not above:
        return
    gold = _read(zoo["gold"])
    if gold is None or gold.value != 1:
        yield "/zoo/above: compared where the rows' own answers are not all right"
        return
    worth = {name: _read(node) for name, node in zoo.get("right", zoo.get("worth", {})).items()}
    best = worth.get(zoo["best"])
    if GOLD in worth or best is None or best.value is None or best.n is None:
        yield f"/zoo/best: `{zoo['best']}` is no policy that was judged"
        return
    for name, one in worth.items():
        if one is None or one.value is None or one.n != gold.n or one.value > best.value:
            yield f"/zoo/best: `{zoo['best']}` is not the best, or `{name}` was judged on other items"
            return
    right = _Side(best.value * best.n, best.n, best.k is not None)
    for name, node in above.items():
        if wrong := _difference(node, _side(data, said["of"], name, said.get("less", False)), right):
            yield f"/zoo/above/{name}: {wrong}"


def _mcnemar(data: Data, _said: Mapping[str, Any]) -> Iterator[str]:
    """One family of tests, over the pairs whose difference stands beside it. The p of each is read with its counts."""
    found = {name: node for name, node in data["mcnemar"].items() if _read(node) is not None}
    adjusted = multiple.holm({name: node["value"] for name, node in found.items()})
    for name, node in found.items():
        beside = data.get(name, {})
        counts = [one.get(count) for one in (node, beside) for count in ("n", "wins", "losses")]
        if counts[:3] != counts[3:] or node.get("test") != EXACT_MCNEMAR:
            yield f"/mcnemar/{name}: it is no test of the pairs of `{name}`"
        elif (
            _apart(node.get("adjusted"), adjusted[name])
            or node.get("alpha") != ALPHA
            or node.get("comparisons") != len(found)
            or node.get("adjustment") != "Holm"
            or node.get("significant") is not (adjusted[name] < ALPHA)
        ):
            yield f"/mcnemar/{name}: of {len(found)} tests at {ALPHA} p is {adjusted[name]!r} after Holm"


def _other(node: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Why a datum is not the one that its counts give, or ""."""
    names = [name for name in _ENDS if name in expected]
    if node["value"] is None or expected["value"] is None:
        return "" if node["value"] is expected["value"] else "its counts say otherwise than it"
    wrong = [name for name in names if _apart(node.get(name), expected[name])]
    return f"`{wrong[0]}` {node.get(wrong[0])!r} is not {expected[wrong[0]]!r}" if wrong else ""


def _chance(data: Data, _said: Mapping[str, Any]) -> Iterator[str]:
    """What is right beyond chance, by family, and beside the teacher."""
    size = len(data["choices"])
    if data["chance"]["value"] is not None and _apart(data["chance"]["value"], 1 / size):
        yield "/chance: it is not one of the choices"
    rates = {name: one for name, node in data["accuracy"].items() if (one := _read(node)) is not None}
    for name, one in rates.items():
        k, n = one.k or 0, one.n or 0
        if n > _MOST:
            yield f"/accuracy/{name}: {n} items are more than are read"
            return
        if wrong := _other(data["corrected"][name], chance.corrected(k, n, size)):
            yield f"/corrected/{name}: {wrong}"
        yield from _families(data, name, k, n)
    if _read(data["of_teacher"]) is not None:
        yield from _kept(data, rates, size)


def _families(data: Data, name: str, k: int, n: int) -> Iterator[str]:
    families = {
        family: one for family, row in data["by_class"].items() if (one := _read(row.get(name))) is not None and one.n
    }
    if not families and _read(data["macro"].get(name)) is None:
        return
    counted = sum(one.k or 0 for one in families.values()), sum(one.n or 0 for one in families.values())
    if counted != (k, n):
        yield f"/by_class: {counted[0]} of {counted[1]} by class and {k} of {n} in all of `{name}`"
        return
    right = [at < (one.k or 0) for one in families.values() for at in range(one.n or 0)]
    of = [family for family, one in families.items() for _ in range(one.n or 0)]
    values = {"macro": chance.macro(right, of), "clustered": clusters.mean([float(one) for one in right], of, "1")}
    for key, expected in values.items():
        if name in data[key] and (wrong := _other(data[key][name], expected)):
            yield f"/{key}/{name}: {wrong}"


def _kept(data: Data, rates: Mapping[str, Datum], size: int) -> Iterator[str]:
    """A share of the teacher's accuracy, over the pairs that the comparison with the teacher counts."""
    mine, other, paired = rates.get("student"), rates.get("teacher"), data["teacher_gain"]
    if mine is None or other is None or mine.k is None or mine.n is None or other.k is None or other.n is None:
        yield "/of_teacher: a share of what was not measured"
        return
    if _read(paired) is None:
        right = [at < mine.k for at in range(mine.n)]
        expected = chance.share_of_counts(right, other.k, other.n, size)
    else:
        won, lost = paired.get("wins", 0), paired.get("losses", 0)
        both = mine.k - won
        if both < 0 or both + won + lost > mine.n:
            return
        none = mine.n - both - won - lost
        one = [True] * (both + won) + [False] * (lost + none)
        two = [True] * both + [False] * won + [True] * lost + [False] * none
        expected = chance.share_of(one, two, size)
    if wrong := _other(data["of_teacher"], expected):
        yield f"/of_teacher: {wrong}"


def _calibration(data: Data, _said: Mapping[str, Any]) -> Iterator[str]:
    """The error is the sum over its bins, and these hold the items that agreement counts."""
    for name, node in data["calibration"].items():
        found, agreed = _read(node), _read(data["agreement"].get(name))
        if found is None:
            continue
        bins = data["reliability"].get(name, [])
        read_bins = [(_read(one["right"]), _read(one["sure"]), _read(one["bin"])) for one in bins]
        k = sum((right.k or 0) for right, _, _ in read_bins if right)
        n = sum((right.n or 0) for right, _, _ in read_bins if right)
        if n != found.n or agreed is None or (k, n) != (agreed.k, agreed.n):
            yield f"/reliability/{name}: its bins hold {k} right of {n}"
            continue
        total, width = 0.0, data["bins"]["value"]
        for right, sure, number in read_bins:
            if right is None or sure is None or number is None or right.n != sure.n:
                yield f"/reliability/{name}: a bin of no items"
                return
            at = float(number.value or 0)
            if not at / width - _ROUNDING <= float(sure.value or 0) <= (at + 1) / width + _ROUNDING:
                yield f"/reliability/{name}: bin {at:g} of {width} does not hold {float(sure.value or 0)!r}"
            total += abs(float((sure.value or 0) * (sure.n or 0)) - (right.k or 0))
        if len({one[2].value for one in read_bins if one[2]}) != len(read_bins):
            yield f"/reliability/{name}: a bin stands there twice"
        elif _apart(node["value"], total / n):
            yield f"/calibration/{name}: {node['value']!r} is not the {total / n!r} of its bins"


def _share(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """How much a model has right of what its teacher has, of the same items."""
    teacher = _side(data, said["of"], "teacher", less=False)
    for name, node in data["of_teacher"].items():
        found, mine = _read(node), _side(data, said["of"], name, less=False)
        if found is None:
            continue
        if teacher is None or mine is None or not teacher.value:
            yield f"/of_teacher/{name}: a share of what was not measured"
        elif mine.n == teacher.n and _apart(node["value"], float(mine.value / teacher.value)):
            yield f"/of_teacher/{name}: {node['value']!r} is not {float(mine.value / teacher.value)!r}"


FORMULAS: Mapping[str, Callable[[Data, Mapping[str, Any]], Iterator[str]]] = {
    "gains": _gains,
    "zoo": _zoo,
    "mcnemar": _mcnemar,
    "chance": _chance,
    "calibration": _calibration,
    "share": _share,
}
