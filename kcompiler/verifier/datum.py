"""One number of a report → what stands behind it, or why it is none. Standard library only."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, Dict, NamedTuple, Optional, Tuple

from kcompiler.verifier.statistics import CONFIDENCE, is_exact, lower, mcnemar, near, upper, wins

RATE, PAIRED = "ratio", "item/item"
EXACT, EXACT_MCNEMAR = "exact, two-sided", "exact McNemar, two-sided"
#: pairs that differ, at most
MOST_PAIRS = 20_000


class BadDatum(ValueError):
    """The node is no datum, or contradicts itself."""


class Datum(NamedTuple):
    """An exact number (k/n of a rate) or a flag; neither where it is unavailable."""

    unit: str
    tag: str
    value: Optional[Fraction] = None
    flag: Optional[bool] = None
    n: Optional[int] = None
    k: Optional[int] = None
    #: ends of its interval, as they are written
    low: Any = None
    high: Any = None


def is_datum(node: Any) -> bool:
    """Whether a node has the three keys of a datum."""
    return isinstance(node, dict) and "value" in node and "unit" in node and "tag" in node


def exact_number(value: Any) -> Optional[Fraction]:
    """The number that a JSON text shows, exactly; None for what is not one."""
    return _exactly(value) if _is_number(value) else None


def _count(node: Dict[str, Any], name: str) -> Optional[int]:
    value = node.get(name)
    if name in node and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise BadDatum(f"`{name}` is not a count")
    return value


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _exactly(value: Any) -> Fraction:
    return Fraction(value) if isinstance(value, int) else Fraction(Decimal(repr(value)))


def _end(node: Dict[str, Any], name: str) -> Any:
    if name in node and not _is_number(node[name]):
        raise BadDatum(f"`{name}` is not a finite number")
    return node.get(name)


def _counted(node: Dict[str, Any]) -> Optional[Tuple[int, int]]:
    """Hits and whole behind a value: k of n, or of an F1 twice tp of it with fp and fn."""
    tp, fp, fn = (_count(node, name) for name in ("tp", "fp", "fn"))
    if tp is not None and fp is not None and fn is not None:
        if "k" in node:
            raise BadDatum("`k` beside `tp`, `fp` and `fn`")
        return 2 * tp, 2 * tp + fp + fn
    k, n = _count(node, "k"), _count(node, "n")
    return None if k is None else (k, n or 0)


def read(node: Any) -> Datum:
    """Node → datum. Raises BadDatum."""
    if not is_datum(node):
        raise BadDatum("not a datum")
    unit, tag = node["unit"], node["tag"]
    if not isinstance(unit, str) or tag not in ("measured", "estimated", "unavailable"):
        raise BadDatum("no unit, or an unknown tag")
    if tag == "unavailable":
        if node["value"] is not None:
            raise BadDatum("unavailable, yet it has a value")
        return Datum(unit, tag)
    if isinstance(node["value"], bool):
        return Datum(unit, tag, flag=node["value"])
    n = _count(node, "n")
    if n == 0:
        return Datum(unit, "unavailable")
    if unit == RATE and tag == "measured" and ("n" not in node or _counted(node) is None):
        return Datum(unit, "unavailable")
    shown, counted = node["value"], _counted(node)
    if not _is_number(shown):
        raise BadDatum("`value` is not a finite number")
    if counted is not None:
        hits, whole = counted
        if hits > whole or not whole or float(shown) != hits / whole:
            raise BadDatum(f"`value` is not its counts {hits}/{whole}")
    value = _exactly(shown) if counted is None else Fraction(counted[0], counted[1])
    low, high = _end(node, "low"), _end(node, "high")
    # an end may be the double of the value itself, which its counts give exactly
    if (low is not None and low > shown and _exactly(low) > value) or (
        high is not None and high < shown and _exactly(high) < value
    ):
        raise BadDatum("the interval does not hold the value")
    if unit == RATE and ((low is not None and low < 0) or (high is not None and high > 1)):
        raise BadDatum("the interval of a rate goes beyond 0 to 1")
    _lawful(node, counted)
    return Datum(unit, tag, value=value, n=n, k=_count(node, "k"), low=low, high=high)


def measured(node: Any) -> Optional[Datum]:
    """A measured number, or None."""
    try:
        found = read(node)
    except BadDatum:
        return None
    return found if found.value is not None and found.tag == "measured" else None


def _lawful(node: Dict[str, Any], counted: Optional[Tuple[int, int]]) -> None:
    """Raises BadDatum where an interval or a comparison is not what the counts beside it give."""
    if node.get("confidence", CONFIDENCE) != CONFIDENCE:
        raise BadDatum("another confidence than 0.95")
    n, won, lost = (_count(node, name) for name in ("n", "wins", "losses"))
    exact = node.get("interval") == EXACT and "k" in node and counted is not None
    if exact and counted is not None and not is_exact(*counted, node.get("low"), node.get("high")):
        raise BadDatum("its interval is not the exact one of its counts")
    paired = node["unit"] == PAIRED
    if (not paired and node.get("test") != EXACT_MCNEMAR) or (paired and won is None and lost is None):
        return
    if n is None or won is None or lost is None or won + lost > min(n, MOST_PAIRS):
        raise BadDatum("two models on the same items without their counts, or more than there are")
    if paired:
        ends = wins(n, won, lost)
        right = ends is not None and all(near(node.get(name), end) for name, end in zip(("value", "low", "high"), ends))
        right = right or (ends is None and node.get("value") is None)
    else:
        right = near(node.get("value"), mcnemar(n, won, lost))
    if not right:
        raise BadDatum(f"it is not what {won} won and {lost} lost of {n} give")


def end_of(datum: Datum, on: str) -> Optional[Fraction]:
    """The `point` of a datum, or the `low` or `high` end of its interval."""
    if on == "point":
        return datum.value
    if datum.k is not None and datum.n:
        return lower(datum.k, datum.n) if on == "low" else upper(datum.k, datum.n)
    return exact_number(datum.low if on == "low" else datum.high)
