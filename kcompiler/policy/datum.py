"""One node of a report → a datum whose tag, unit, counts and interval are consistent, or a refusal.

The report envelope (runtime/contract/report.py) writes `{"value", "unit", "tag"}` and, behind a rate, `k` of `n`.
Counts behind a comparison of two models (`wins`, `losses`) and behind an exact interval must give it.
A gate reads the counts, not the quotient: a rate is compared as k/n in exact integers, because 2999 of 3000 written
with three decimals is 1.0 (caws-and-origin.md, D1; evaluation-reliability.md, section 0.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from kcompiler.policy.laws import counts

TAGS = ("measured", "estimated", "unavailable")
#: the unit of a rate, k of n items; a quotient of two measurements that counts nothing has the unit "1"
RATE = "ratio"


class BadDatum(ValueError):
    """The node is no datum, or contradicts itself."""


@dataclass(frozen=True)
class Datum:
    """A datum as gates see it: a number (exact, k/n for a rate) or a flag; neither when it is unavailable."""

    unit: str
    tag: str
    value: Fraction | None = None
    flag: bool | None = None
    n: int | None = None
    k: int | None = None
    low: Fraction | None = None
    high: Fraction | None = None
    reason: str = ""


def fraction(value: object) -> Fraction | None:
    """The exact value of a number, or None for what is not one: a bool, a text, a NaN, an infinity.

    A float counts as its shortest decimal text, which is what JSON writes: 0.02 is 2/100 here, not the double
    0.0200000000000000004 that a threshold of "0.02" would refuse.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(Decimal(repr(value)))
    return None


def _count(node: dict[str, object], name: str) -> int | None:
    if name not in node:
        return None
    value = node[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadDatum(f"`{name}` is not a count")
    return value


def _limit(node: dict[str, object], name: str) -> Fraction | None:
    if name not in node:
        return None
    value = fraction(node[name])
    if value is None:
        raise BadDatum(f"`{name}` is not a finite number")
    return value


def _counted(node: dict[str, object]) -> tuple[int, int] | None:
    """The counts behind a value: `k` of `n`, or of an F1 the hits `tp` among `fp` and `fn`; None for other numbers."""
    tp, fp, fn = _count(node, "tp"), _count(node, "fp"), _count(node, "fn")
    if tp is not None and fp is not None and fn is not None:
        if "k" in node:
            raise BadDatum("`k` beside `tp`, `fp` and `fn`: one value has one count behind it")
        return 2 * tp, 2 * tp + fp + fn
    k, n = _count(node, "k"), _count(node, "n")
    return None if k is None else (k, n or 0)


def _of_nothing(node: dict[str, object]) -> str:
    """Why a measured number stands for nothing, or "": no items behind it, or a rate that does not say of how many."""
    if _count(node, "n") == 0:
        return "measured on no items"
    if node["unit"] == RATE and node["tag"] == "measured" and ("n" not in node or _counted(node) is None):
        return "a rate without the counts behind it"
    return ""


def _value(node: dict[str, object]) -> Fraction:
    value, counts = fraction(node["value"]), _counted(node)
    if value is None:
        raise BadDatum("`value` is not a finite number")
    if counts is None:
        return value
    hits, whole = counts
    if hits > whole or not whole:
        raise BadDatum(f"{hits} of {whole} is not a rate")
    if float(value) != hits / whole:
        raise BadDatum(f"`value` {float(value)!r} is not its counts {hits}/{whole}")
    return Fraction(hits, whole)


def read(node: object) -> Datum:
    """Node → Datum. Raises BadDatum."""
    if not isinstance(node, dict) or not {"value", "unit", "tag"} <= node.keys():
        raise BadDatum("not a datum (value, unit and tag)")
    unit, tag = node["unit"], node["tag"]
    if not isinstance(unit, str) or not isinstance(tag, str) or tag not in TAGS:
        raise BadDatum("`unit` is not a text or `tag` is unknown")
    if tag == "unavailable":
        if node["value"] is not None:
            raise BadDatum("unavailable, yet it has a value")
        return Datum(unit, tag, reason=str(node.get("reason", "no reason given")))
    if isinstance(node["value"], bool):
        return Datum(unit, tag, flag=node["value"])
    if nothing := _of_nothing(node):
        return Datum(unit, "unavailable", reason=nothing)
    value, low, high = _value(node), _limit(node, "low"), _limit(node, "high")
    # counts are exact, ends are doubles: an end may be the double of the value itself
    written = Fraction(repr(float(value)))
    if (low is not None and low > max(value, written)) or (high is not None and high < min(value, written)):
        raise BadDatum("the interval does not hold the value")
    if unit == RATE and ((low is not None and low < 0) or (high is not None and high > 1)):
        raise BadDatum("the interval of a rate goes beyond 0 to 1")
    paired = _count(node, "n"), _count(node, "wins"), _count(node, "losses")
    if wrong := counts.wrong(node, _counted(node), paired):
        raise BadDatum(wrong)
    return Datum(unit, tag, value=value, n=_count(node, "n"), k=_count(node, "k"), low=low, high=high)
