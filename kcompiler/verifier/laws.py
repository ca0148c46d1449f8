"""A report that satisfies its schema → the first thing in it that contradicts the rest, or "". Standard library only.

What a schema says of its data under `x-laws` (sums) and `x-derived` (formulas), and of reports that hold what they were
computed from, the computation.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Callable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kcompiler.verifier import again, formulas, statistics
from kcompiler.verifier.datum import EXACT_MCNEMAR, BadDatum, Datum, exact_number, is_datum, measured, read
from kcompiler.verifier.paths import Place, escaped, walk
from kcompiler.verifier.reading import first, text_at

_LAW = re.compile(r"(?P<left>.+) (?P<op>==|<=) (?P<right>.+)")
_NEAR = 1e-9
_MOST_ITEMS = 1_000_000
#: what a suite compares → (the model it speaks for, the model it is compared with)
_GAINS: Mapping[str, Tuple[str, str]] = {
    "kd_gain": ("student", "ce_only"),
    "teacher_gain": ("student", "teacher"),
    "package_gain": ("coreml", "student"),
    "init_gain": ("student", "random_init"),
    "original_gain": ("coreml", "teacher"),
}
Data = Mapping[str, Any]


class UnknownLaw(ValueError):
    """A formula that is not known here: whether the report keeps it cannot be said."""


def contradiction(report: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Why a report cannot be what was measured, or "". Raises UnknownLaw."""
    data, said = report["data"], text_at(schema, "properties", "data") or {}
    wrong = first(_impossible(data, "")) or first(w for group in said.get("x-laws", ()) for w in _unlawful(data, group))
    for one in said.get("x-derived", ()):
        if one["formula"] not in _FORMULAS:
            raise UnknownLaw(f"formula `{one['formula']}`")
        wrong = wrong or _kept(one, data)
    return wrong or again.contradiction(report)


def _kept(said: Data, data: Data) -> str:
    try:
        return first(_FORMULAS[said["formula"]](data, said))
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as why:
        # a forged report may break whatever computes with it
        return f": nothing can be computed of it: {why}"


def _impossible(node: Any, at: str) -> Iterator[str]:
    if is_datum(node):
        try:
            read(node)
        except BadDatum as why:
            yield f"{at}: {why}"
        else:
            # ends beside k of n are those that a gate takes in their place, whatever they are called
            ends = node.get("low"), node.get("high")
            said = node["tag"] == "measured" and "k" in node and ends != (None, None)
            if said and not statistics.is_exact(node["k"], node["n"], *ends):
                yield f"{at}: its interval is not the exact one of its counts"
    elif isinstance(node, dict):
        for name, item in node.items():
            yield from _impossible(item, f"{at}/{escaped(name)}")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _impossible(item, f"{at}/{number}")


def _unlawful(data: Any, group: Mapping[str, Any]) -> Iterator[str]:
    for place in walk(group["in"], data) if group["in"] else [Place("", data)]:
        for text in [] if place.missing else group["hold"]:
            law = _LAW.fullmatch(text)
            if law is None:
                raise UnknownLaw(f"law `{text}`")
            left, right = (_sum(law[side], place.value, data) for side in ("left", "right"))
            if left is None or right is None or (left == right if law["op"] == "==" else left <= right):
                continue
            yield f"{place.pointer or '/'}: `{text}` does not hold"


def _sum(terms: str, place: Any, data: Any) -> Optional[Fraction]:
    total = Fraction(0)
    for term in terms.split(" + "):
        if term.isdigit():
            total += int(term)
            continue
        where, _, count = term.partition("#")
        for found in walk(where[1:], data) if where.startswith("/") else walk(where, place):
            node = found.value
            if count == "items":
                number = Fraction(len(node)) if isinstance(node, list) else None
            else:
                number = exact_number(node.get(count or "value")) if isinstance(node, dict) else None
            if found.missing or number is None:
                return None
            total += number
    return total


# --- formulas over a report's data


class _Side(NamedTuple):
    """Of one model: the sum over its items and how many; `counted` where each counts 0 or 1."""

    value: Fraction
    n: int
    counted: bool


def _side(data: Any, of: Sequence[str], runner: str, less: bool) -> Optional[_Side]:
    nodes = [text_at(data, *text.replace("*", runner).split(".")) for text in of]
    found = [one for one in map(measured, nodes) if one is not None]
    if not found or any(one.n is None for one in found):
        return None
    total = sum(((one.value or Fraction(0)) * (one.n or 0) for one in found), Fraction(0))
    return _Side(-total if less else total, sum(one.n or 0 for one in found), all(one.k is not None for one in found))


def _right(pairs: int, side: _Side) -> Tuple[Fraction, Fraction]:
    """Of a rate's items so many are pairs: how many of these are right, at least and at most."""
    return max(Fraction(0), side.value - (side.n - pairs)), min(side.value, Fraction(pairs))


def _difference(node: Any, left: Optional[_Side], right: Optional[_Side]) -> str:
    """Why a paired difference is not that of its sides, or ""."""
    found = measured(node)
    if found is None or found.value is None:
        return ""
    if left is None or right is None or found.n != min(left.n, right.n):
        return "not over the items of both its sides"
    if left.counted and right.counted:
        if "wins" not in node or "losses" not in node:
            return "two models on the same items without `wins` and `losses`"
        if node["wins"] > min(left.value, right.n - right.value) or node["losses"] > min(
            right.value, left.n - left.value
        ):
            return "more won or lost than its sides have right and wrong"
        (few, many), (little, much) = _right(found.n, left), _right(found.n, right)
        least, most = few - much, many - little
    elif not formulas.of_items(node):
        return "not the interval of its items and their standard deviation"
    elif left.n == right.n:
        least = most = left.value - right.value
    else:
        return ""
    size = max(abs(left.value), abs(right.value), Fraction(found.n)) * Fraction(_NEAR)
    return "" if least - size <= found.value * found.n <= most + size else "not the difference of its sides"


def _unlike(node: Any, expected: statistics.Found) -> bool:
    """Whether a datum is not the one with these value and ends."""
    if node["value"] is None or expected is None:
        return (node["value"] is None) != (expected is None)
    return not all(statistics.near(node.get(name), one) for name, one in zip(("value", "low", "high"), expected))


def _common(data: Data, name: str, mine: _Side, teacher: _Side) -> bool:
    """Whether a share of the teacher's is that of the items both have right, and each alone."""
    node = data["of_teacher"][name]
    counts = [node.get(count) for count in ("both", "wins", "losses")]
    if any(type(one) is not int or one < 0 for one in counts) or node.get("n") != min(mine.n, teacher.n):
        return False
    (both, won, lost), n = counts, node["n"]
    for side, right in ((mine, both + won), (teacher, both + lost)):
        if not right <= side.value <= right + side.n - n:
            return False
    gain = data["teacher_gain"]
    if name == "student" and gain.get("n") == n and (gain.get("wins"), gain.get("losses")) != (won, lost):
        return False
    ends = statistics.quotient(n, (both + won, both + lost), (both + won, both + lost, both))
    if ends is None or both + won + lost > n:
        return False
    value = (both + won) / (both + lost)
    return not _unlike(node, (value, min(max(0.0, ends[0]), value), max(ends[1], value)))


def _gains(data: Data, said: Data) -> Iterator[str]:
    under = said.get("under", "")
    held = data.get(under, {}) if under else data
    for name, runners in _GAINS.items():
        sides = [_side(data, said["of"], runner, said.get("less", False)) for runner in runners]
        if name in held and (why := _difference(held[name], sides[0], sides[1])):
            yield f"/{name}: {why}"


def _share(data: Data, said: Data) -> Iterator[str]:
    teacher = _side(data, said["of"], "teacher", False)
    for name, node in data["of_teacher"].items():
        mine = _side(data, said["of"], name, False)
        if measured(node) is None:
            continue
        if teacher is None or mine is None or not teacher.value:
            yield f"/of_teacher/{name}: a share of what was not measured"
        elif not _common(data, name, mine, teacher):
            yield f"/of_teacher/{name}: not the share of the two"


def _mcnemar(data: Data, _said: Data) -> Iterator[str]:
    found = {name: node for name, node in data["mcnemar"].items() if measured(node) is not None}
    adjusted = statistics.holm({name: node["value"] for name, node in found.items()})
    for name, node in found.items():
        beside = data.get(name, {})
        same = all(node.get(count) == beside.get(count) for count in ("n", "wins", "losses"))
        told = {"alpha": 0.05, "comparisons": len(found), "adjustment": "Holm", "test": EXACT_MCNEMAR}
        if not same or any(node.get(key) != value for key, value in told.items()):
            yield f"/mcnemar/{name}: no test of the pairs of `{name}`"
        elif not statistics.near(node.get("adjusted"), adjusted[name]) or node.get("significant") is not (
            adjusted[name] < 0.05
        ):
            yield f"/mcnemar/{name}: p is another after Holm"


def _zoo(data: Data, said: Data) -> Iterator[str]:
    zoo = data["zoo"]
    above = {name: node for name, node in zoo["above"].items() if measured(node) is not None}
    if not above:
        return
    gold = measured(zoo["gold"])
    worth = {name: measured(node) for name, node in zoo.get("right", zoo.get("worth", {})).items()}
    best = worth.get(zoo["best"])
    due = [*said.get("policies", ()), *(said.get("numeric", ()) if data.get("match") == "numeric" else ())]
    if gold is None or (gold.value != 1 and "control" not in said):
        yield "/zoo/above: compared where the rows' own answers are not all right"
    elif "control" in said and set(above) != {"copy_gold"} and not _positive(above.get("copy_gold", {})):
        yield "/zoo/above: compared where the rows' own answers hold no more than a policy"
    elif "copy_gold" in worth or best is None or best.value is None or best.n is None:
        yield "/zoo/best: no policy that was judged"
    elif any(o is None or o.value is None or o.n != gold.n or o.value > best.value for o in worth.values()):
        yield "/zoo/best: not the best, or one was judged on other items"
    elif any(name not in worth for name in due):
        yield "/zoo: a policy was not judged"
    elif _known_otherwise(worth, said):
        yield "/zoo: a policy is worth something else than it must be, whatever the items are"
    else:
        right = _Side(best.value * best.n, best.n, best.k is not None)
        for name, node in above.items():
            side = _side(data, said["of"], name, said.get("less", False))
            if name == "copy_gold":
                side = _Side((gold.value or Fraction(0)) * (gold.n or 0), gold.n or 0, gold.k is not None)
            if "per" in said:
                side = _spread(data, side, name, said, best.n)
            if why := _difference(node, side, right):
                yield f"/zoo/above/{name}: {why}"


def _positive(node: Mapping[str, Any]) -> bool:
    return bool(node.get("low", 0) > 0)


def _known_otherwise(worth: Mapping[str, Optional[Datum]], said: Data) -> bool:
    values = {name: one.value for name, one in worth.items() if one is not None and one.value is not None}
    if any(not statistics.near(float(values[name]), value) for name, value in said.get("constant", {}).items()):
        return True
    rising = said.get("rising", ())
    pairs = [(float(values[low]), float(values[high])) for low, high in zip(rising, rising[1:])]
    return any(high < low and not statistics.near(high, low) for low, high in pairs)


def _spread(data: Data, side: Optional[_Side], runner: str, said: Data, count: int) -> Optional[_Side]:
    """A sum over other things than items, as one over the items behind `items`."""
    whole = measured(text_at(data, *said["per"].split(".")))
    behind = measured(text_at(data, *said["items"].replace("*", runner).split(".")))
    if side is None or whole is None or behind is None or not whole.value or behind.n is None:
        return None
    return _Side(side.value * count / whole.value, behind.n, False)


def _calibration(data: Data, _said: Data) -> Iterator[str]:
    for name, node in data["calibration"].items():
        found, agreed = measured(node), measured(data["agreement"].get(name))
        if found is None:
            continue
        bins = [[measured(one[key]) for key in ("right", "sure", "bin")] for one in data["reliability"].get(name, [])]
        k, n = (sum(getattr(one[0], count) or 0 for one in bins if one[0]) for count in ("k", "n"))
        if n != found.n or agreed is None or (k, n) != (agreed.k, agreed.n):
            yield f"/reliability/{name}: its bins hold {k} right of {n}"
            continue
        why, cells = _binned(bins, data["bins"]["value"])
        if why or _unlike(node, statistics.calibrated(cells)):
            yield f"/calibration/{name}: {why or 'not that of its bins'}"
        elif not _sure(data, name, bins):
            yield f"/coverage/{name}: not what its bins allow"


def _sure(data: Data, name: str, bins: Sequence[Sequence[Optional[Datum]]]) -> bool:
    """Whether what a model is sure enough of is at least the bins wholly above, and at most those partly so."""
    least, width = data["abstain_below"]["value"], data["bins"]["value"]
    for place, count in (("coverage", "n"), ("when_sure", "k")):
        found = measured(data[place].get(name))
        low = high = 0
        for right, _, number in bins:
            at, many = float(number.value or 0) if number else 0.0, getattr(right, count) or 0
            low += many if at / width >= least else 0
            high += many if (at + 1) / width > least - _NEAR else 0
        if found is not None and not low <= (found.k or 0) <= high:
            return False
    return True


def _binned(bins: Sequence[Sequence[Optional[Datum]]], width: int) -> Tuple[str, List[Tuple[int, int, float]]]:
    """Why bins are none, or ""; and of each what is right, of how many, and how sure these are."""
    cells: List[Tuple[int, int, float]] = []
    seen = set()
    for right, sure, number in bins:
        if right is None or sure is None or number is None or right.n != sure.n:
            return "a bin of no items", cells
        at, mean = float(number.value or 0), float(sure.value or 0)
        if not at / width - _NEAR <= mean <= (at + 1) / width + _NEAR or at in seen:
            return "a bin does not hold what is in it, or stands there twice", cells
        seen.add(at)
        cells.append((right.k or 0, right.n or 0, mean))
    return "", cells


def _chance(data: Data, _said: Data) -> Iterator[str]:
    size = len(data["choices"])
    if data["chance"]["value"] is not None and not statistics.near(data["chance"]["value"], 1 / size):
        yield "/chance: it is not one of the choices"
    rates = {name: one for name, node in data["accuracy"].items() if (one := measured(node)) is not None}
    for name, one in rates.items():
        k, n = one.k or 0, one.n or 0
        if n > _MOST_ITEMS:
            yield f"/accuracy/{name}: more items than are read"
            return
        if _unlike(data["corrected"][name], statistics.corrected(k, n, size)):
            yield f"/corrected/{name}: not the rate beyond chance"
        yield from _families(data, name, k, n)
    if measured(data["of_teacher"]) is not None and _kept_wrongly(data, rates, size):
        yield "/of_teacher: not the share that is left"


def _families(data: Data, name: str, k: int, n: int) -> Iterator[str]:
    rows = [one for row in data["by_class"].values() if (one := measured(row.get(name))) is not None and one.n]
    families = [(one.k or 0, one.n or 0) for one in rows]
    if not families and measured(data["macro"].get(name)) is None:
        return
    if (sum(a for a, _ in families), sum(b for _, b in families)) != (k, n):
        yield f"/by_class: others than all of `{name}`"
        return
    for key, expected in (("macro", statistics.macro(families)), ("clustered", statistics.clustered(families))):
        if name in data[key] and _unlike(data[key][name], expected):
            yield f"/{key}/{name}: not what the classes give"


def _kept_wrongly(data: Data, rates: Mapping[str, Datum], size: int) -> bool:
    mine, other, paired = rates.get("student"), rates.get("teacher"), data["teacher_gain"]
    if mine is None or other is None or None in (mine.k, mine.n, other.k, other.n):
        return True
    k, n = mine.k or 0, mine.n or 0
    if measured(paired) is None:
        return _unlike(data["of_teacher"], statistics.share((k, n), (other.k or 0, other.n or 0), None, size))
    won, lost = paired.get("wins", 0), paired.get("losses", 0)
    both = k - won
    if both < 0 or both + won + lost > n:
        return False
    return _unlike(data["of_teacher"], statistics.share((k, n), (both + lost, n), both, size))


_FORMULAS: Mapping[str, Callable[[Data, Data], Iterator[str]]] = {
    "gains": _gains,
    "share": _share,
    "mcnemar": _mcnemar,
    "zoo": _zoo,
    "calibration": _calibration,
    "chance": _chance,
    **formulas.FORMULAS,
}
