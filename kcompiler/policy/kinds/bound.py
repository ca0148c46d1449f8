"""A number at each matched place × a threshold → inside the bound, or by how much outside.

Rates are compared as k/n in exact integers and every other number as the exact fraction of its decimal text, so that
no rounding happens between a measurement and its gate. A place that is missing, unavailable, estimated where a
measurement is demanded, or that has fewer items than needed, does not pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, model_validator

from kcompiler.policy import interval, path
from kcompiler.policy.datum import BadDatum, Datum, fraction, read
from kcompiler.policy.kind import (
    Closed,
    DecimalText,
    Judged,
    Kind,
    PathTexts,
    broken,
    enough,
    lacking,
    text_of,
    with_unit,
    worst,
)

Op = Literal[">=", ">", "<=", "<", "=="]


class Need(Closed):
    """What must stand behind the number."""

    #: "estimated" accepts measurements and estimates
    tag: Literal["measured", "estimated"] = "measured"
    #: least number of items behind it; fewer are inconclusive
    min_n: int | None = Field(default=None, ge=1)


class Params(Closed):
    """`metric` is a path into the report's data, or several; the threshold stands here or in the rule's `expect`."""

    metric: PathTexts
    op: Op
    threshold: DecimalText | None = None
    unit: str = Field(min_length=1)
    need: Need = Need()
    #: the measured value itself, or an end of its confidence interval
    on: Literal["point", "low", "high"] = "point"
    min_matches: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _end_fits_direction(self) -> Params:
        wrong = {"low": ("<=", "<", "=="), "high": (">=", ">", "==")}
        if self.op in wrong.get(self.on, ()):
            raise ValueError(f"`on: {self.on}` with `{self.op}` gates on the favourable end of the interval")
        return self


def _holds(op: Op, value: Fraction, threshold: Fraction) -> bool:
    return {
        ">=": value >= threshold,
        ">": value > threshold,
        "<=": value <= threshold,
        "<": value < threshold,
        "==": value == threshold,
    }[op]


def _distance(op: Op, value: Fraction, threshold: Fraction) -> Fraction:
    """How far inside (positive) or outside (negative) the bound; for `==`, minus the difference."""
    if op in (">=", ">"):
        return value - threshold
    if op in ("<=", "<"):
        return threshold - value
    return -abs(value - threshold)


def _counterfactual(op: Op, datum: Datum, threshold: Fraction) -> str:
    """For a failed lower or upper bound on a rate: how many of its items must change."""
    if datum.k is None or datum.n is None or op == "==":
        return ""
    edge = threshold * datum.n
    if op in (">=", ">"):
        target = math.floor(edge) + 1 if op == ">" else math.ceil(edge)
    else:
        target = math.ceil(edge) - 1 if op == "<" else math.floor(edge)
    if not 0 <= target <= datum.n:
        return "; no outcome of these items could meet it"
    return f"; {abs(target - datum.k)} of {datum.n} items must change"


def _lacks(params: Params, datum: Datum, pointer: str) -> Judged | None:
    """Why this datum cannot be compared at all, or None."""
    if datum.tag == "unavailable":
        return lacking(f"unavailable: {datum.reason}", pointer)
    if datum.unit != params.unit:
        return broken(f"the unit is `{datum.unit}`, the rule speaks of `{params.unit}`", pointer)
    if datum.flag is not None:
        return broken("a flag is not a number", pointer)
    if datum.tag == "estimated" and params.need.tag == "measured":
        return lacking("estimated, not measured", pointer)
    if params.need.min_n is None:
        return None
    if datum.n is None:
        return lacking("no count stands behind it", pointer)
    if datum.n < params.need.min_n:
        return Judged(
            word="inconclusive", reason=f"{datum.n} items, at least {params.need.min_n} are needed", pointer=pointer
        )
    return None


def _observed(params: Params, datum: Datum) -> Fraction | None:
    if params.on == "point":
        return datum.value
    if datum.k is not None and datum.n:
        return interval.lower(datum.k, datum.n) if params.on == "low" else interval.upper(datum.k, datum.n)
    return datum.low if params.on == "low" else datum.high


def _at(params: Params, match: path.Match, threshold: Fraction) -> Judged:
    if match.missing:
        return lacking(match.missing, match.pointer)
    try:
        datum = read(match.value)
    except BadDatum as error:
        return broken(str(error), match.pointer)
    lack = _lacks(params, datum, match.pointer)
    if lack is not None:
        return lack
    value = _observed(params, datum)
    if value is None:
        return lacking(f"has no `{params.on}` end of an interval", match.pointer)
    holds, distance = _holds(params.op, value, threshold), _distance(params.op, value, threshold)
    shown = f"{datum.k}/{datum.n}" if datum.k is not None and params.on == "point" else text_of(value)
    reason = f"{with_unit(shown, params.unit)} {'meets' if holds else 'misses'} {params.op} {text_of(threshold)}"
    if not holds and params.on == "point":
        reason += _counterfactual(params.op, datum, threshold)
    return Judged(
        word="pass" if holds else "fail",
        reason=reason,
        pointer=match.pointer,
        observed=shown,
        threshold=f"{params.op} {text_of(threshold)}",
        distance=text_of(distance),
        margin=distance,
    )


def _threshold(params: Params, expect: object) -> Fraction | Judged:
    if params.threshold is not None:
        return Fraction(params.threshold)
    if expect is None:
        return lacking("the plan gives no threshold")
    threshold = fraction(expect)
    return threshold if threshold is not None else broken(f"the threshold {expect!r} of the plan is not a number")


def judge(params: Params, report: Mapping[str, Any], expect: object) -> Judged:
    threshold = _threshold(params, expect)
    if isinstance(threshold, Judged):
        return threshold
    matches = [match for text in params.metric for match in path.walk(path.parse(text), report["data"], "/data")]
    return enough(worst(_at(params, match, threshold) for match in matches), params.min_matches)


KIND = Kind(
    name="bound",
    version=1,
    params=Params,
    judge=judge,
    expects=lambda params: params.threshold is None,
    accepts=lambda expect: fraction(expect) is not None,
)
