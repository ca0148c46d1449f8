"""What a rule about numbers asks of them: what must stand behind each, and how two are compared."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, TypeVar

from pydantic import Field

from kcompiler.policy import interval
from kcompiler.policy.datum import RATE, Datum
from kcompiler.policy.kind import Closed, Judged, broken, lacking, text_of

Op = Literal[">=", ">", "<=", "<", "=="]


class Need(Closed):
    """What must stand behind the number."""

    #: "estimated" accepts measurements and estimates
    tag: Literal["measured", "estimated"] = "measured"
    #: least number of items behind it; fewer are inconclusive
    min_n: int | None = Field(default=None, ge=1)


class HasNeed(Closed):
    """What the params of rules about numbers of one unit have in common."""

    unit: str = Field(min_length=1)
    need: Need = Need()


Rated = TypeVar("Rated", bound=HasNeed)


def floored(params: Rated, least: int) -> Rated:
    """The params of a rule about numbers of one unit: a rate stands on so many items, where they do not say it."""
    if params.unit != RATE or params.need.min_n is not None:
        return params
    return params.model_copy(update={"need": params.need.model_copy(update={"min_n": least})})


def rates_floored(params: Any, least: int) -> Any:
    """The same of params about numbers of several units, which say `rates_min_n` for the rates among them."""
    said = params.rates_min_n if params.need.min_n is None else params.need.min_n
    return params.model_copy(update={"rates_min_n": least}) if said is None else params


def few(need: Need, rates_min_n: int | None, datum: Datum) -> str:
    """That fewer items stand behind this datum than must, or ""; nothing of one that counts none."""
    least = rates_min_n if need.min_n is None and datum.unit == RATE else need.min_n
    if least is None or datum.n is None or datum.n >= least:
        return ""
    return f"{datum.n} items, at least {least} are needed"


def end_of(datum: Datum, on: str) -> Fraction | None:
    """The `point` of a datum, or the `low` or `high` end of its interval; None where it has none."""
    if on == "point":
        return datum.value
    if datum.k is not None and datum.n:
        return interval.lower(datum.k, datum.n) if on == "low" else interval.upper(datum.k, datum.n)
    return datum.low if on == "low" else datum.high


def decided(op: Op, found: Fraction, threshold: Fraction, pointer: str, told: str, matches: int = 1) -> Judged:
    """Pass or fail of one number that was computed; `told` is the beginning of the sentence about it."""
    inside, margin = holds(op, found, threshold), distance(op, found, threshold)
    return Judged(
        word="pass" if inside else "fail",
        reason=f"{told} {'meets' if inside else 'misses'} {op} {text_of(threshold)}",
        pointer=pointer,
        observed=text_of(found),
        threshold=f"{op} {text_of(threshold)}",
        distance=text_of(margin),
        matches=matches,
        margin=margin,
    )


def holds(op: Op, value: Fraction, threshold: Fraction) -> bool:
    """Whether the value is inside the bound."""
    return {
        ">=": value >= threshold,
        ">": value > threshold,
        "<=": value <= threshold,
        "<": value < threshold,
        "==": value == threshold,
    }[op]


#: the least and the greatest that a number can be; None where there is no end
Ends = tuple[Fraction | None, Fraction | None]


def never_missed(op: Op, ends: Ends, threshold: Fraction) -> bool:
    """Whether every number between these ends is inside the bound."""
    low, high = ends
    if op in (">=", ">"):
        return low is not None and holds(op, low, threshold)
    if op in ("<=", "<"):
        return high is not None and holds(op, high, threshold)
    return low == high == threshold


def apart(one: Ends, other: Ends) -> Ends:
    """Between what the difference of two numbers lies."""
    (low, high), (least, most) = one, other
    return (
        None if low is None or most is None else low - most,
        None if high is None or least is None else high - least,
    )


def unmissed(ends: Ends) -> str:
    """What is said of a bound that every number there is inside of."""
    low, high = (None if end is None else text_of(end) for end in ends)
    if low is not None and high is not None:
        return f"it is always between {low} and {high}"
    return f"it is always {low} or more" if low is not None else f"it is always {high} or less"


def distance(op: Op, value: Fraction, threshold: Fraction) -> Fraction:
    """How far inside (positive) or outside (negative) the bound; for `==`, minus the difference."""
    if op in (">=", ">"):
        return value - threshold
    if op in ("<=", "<"):
        return threshold - value
    return -abs(value - threshold)


def lacks(need: Need, unit: str, datum: Datum, pointer: str) -> Judged | None:
    """Why this datum cannot be compared at all, or None."""
    if datum.tag == "unavailable":
        return lacking(f"unavailable: {datum.reason}", pointer)
    if datum.unit != unit:
        return broken(f"the unit is `{datum.unit}`, the rule speaks of `{unit}`", pointer)
    if datum.flag is not None:
        return broken("a flag is not a number", pointer)
    if datum.tag == "estimated" and need.tag == "measured":
        return lacking("estimated, not measured", pointer)
    if need.min_n is None:
        return None
    if datum.n is None:
        return lacking("no count stands behind it", pointer)
    if datum.n < need.min_n:
        return Judged(word="inconclusive", reason=f"{datum.n} items, at least {need.min_n} are needed", pointer=pointer)
    return None
