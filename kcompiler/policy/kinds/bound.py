"""A number at each matched place × a threshold → inside the bound, or by how much outside.

Rates are compared as k/n in exact integers and every other number as the exact fraction of its decimal text, so that
no rounding happens between a measurement and its gate. A place that is missing, unavailable, estimated where a
measurement is demanded, or that has fewer items than needed, does not pass.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from kcompiler.policy import path, shape
from kcompiler.policy.comparison import (
    Ends,
    HasNeed,
    Need,
    Op,
    distance,
    end_of,
    floored,
    holds,
    lacks,
    never_missed,
    unmissed,
)
from kcompiler.policy.datum import RATE, BadDatum, Datum, fraction, read
from kcompiler.policy.kind import (
    DecimalText,
    Fault,
    Judged,
    Kind,
    PathTexts,
    Read,
    broken,
    enough,
    lacking,
    more_like_it,
    reachable,
    text_of,
    with_unit,
    worst,
)
from kcompiler.policy.seen import kept


class Params(HasNeed):
    """`metric` is a path into the report's data, or several; the threshold stands here or in the rule's `expect`."""

    metric: PathTexts
    op: Op
    threshold: DecimalText | None = None
    #: the measured value itself, or an end of its confidence interval
    on: Literal["point", "low", "high"] = "point"
    min_matches: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _end_fits_direction(self) -> Params:
        wrong = {"low": ("<=", "<", "=="), "high": (">=", ">", "==")}
        if self.op in wrong.get(self.on, ()):
            raise ValueError(f"`on: {self.on}` with `{self.op}` gates on the favourable end of the interval")
        reachable(self.metric, self.min_matches)
        return self


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


class _Value(NamedTuple):
    """A number that can be compared, and where it stands."""

    value: Fraction
    nth: int
    datum: Datum
    pointer: str


class _Places(NamedTuple):
    """What the paths of a rule lead to, whatever it is compared with."""

    matches: int
    #: the worst of what cannot be compared
    lack: Judged | None
    #: the first of the least numbers and the first of the greatest, in the order of their places; empty without numbers
    ends: Sequence[_Value]
    #: every number, ascending
    ordered: Sequence[Fraction]


def _at(match: path.Match, nth: int, unit: str, need: Need, on: str) -> _Value | Judged:
    if match.missing:
        return lacking(match.missing, match.pointer)
    try:
        datum = read(match.value)
    except BadDatum as error:
        return broken(str(error), match.pointer)
    lack = lacks(need, unit, datum, match.pointer)
    if lack is not None:
        return lack
    value = end_of(datum, on)
    if value is None:
        return lacking(f"has no `{on}` end of an interval", match.pointer)
    return _Value(value, nth, datum, match.pointer)


def _ends(values: Sequence[_Value]) -> Sequence[_Value]:
    return [of(values, key=lambda one: one.value) for of in (min, max)] if values else ()


def _places(report: Mapping[str, Any], metric: Sequence[str], unit: str, need: Need, on: str) -> _Places:
    matches = [match for text in metric for match in path.walk(path.parse(text), report["data"], "/data")]
    found = [_at(match, nth, unit, need, on) for nth, match in enumerate(matches)]
    lack = [one for one in found if isinstance(one, Judged)]
    values = [one for one in found if isinstance(one, _Value)]
    return _Places(
        len(found),
        worst(lack) if lack else None,
        sorted(_ends(values), key=lambda one: one.nth),
        sorted(one.value for one in values),
    )


def _outside(op: Op, ordered: Sequence[Fraction], threshold: Fraction) -> int:
    """How many of the numbers miss the bound."""
    below, above = bisect_left(ordered, threshold), len(ordered) - bisect_right(ordered, threshold)
    equal = len(ordered) - below - above
    return {">=": below, ">": below + equal, "<=": above, "<": above + equal, "==": below + above}[op]


def _compared(params: Params, found: _Value, threshold: Fraction, outside: int) -> Judged:
    datum, value = found.datum, found.value
    inside, margin = holds(params.op, value, threshold), distance(params.op, value, threshold)
    shown = f"{datum.k}/{datum.n}" if datum.k is not None and params.on == "point" else text_of(value)
    reason = f"{with_unit(shown, params.unit)} {'meets' if inside else 'misses'} {params.op} {text_of(threshold)}"
    if not inside and params.on == "point":
        reason += _counterfactual(params.op, datum, threshold)
    if not inside:
        reason += more_like_it(outside)
    return Judged(
        word="pass" if inside else "fail",
        reason=reason,
        pointer=found.pointer,
        observed=shown,
        threshold=f"{params.op} {text_of(threshold)}",
        distance=text_of(margin),
        margin=margin,
    )


def _threshold(params: Params, expect: object) -> Fraction | Judged:
    if params.threshold is not None:
        return Fraction(params.threshold)
    if expect is None:
        return lacking("the plan gives no threshold")
    threshold = fraction(expect)
    return threshold if threshold is not None else broken(f"the threshold {expect!r} of the plan is not a number")


def judge(params: Params, report: Mapping[str, Any], expect: object, _other: object) -> Judged:
    threshold = _threshold(params, expect)
    if isinstance(threshold, Judged):
        return threshold
    places = kept(_places, report, tuple(params.metric), params.unit, params.need, params.on)
    found = [] if places.lack is None else [places.lack]
    if places.ends:
        # nothing between the least and the greatest is further outside, or less far inside
        decisive = min(places.ends, key=lambda one: distance(params.op, one.value, threshold))
        outside = _outside(params.op, places.ordered, threshold)
        found.append(_compared(params, decisive, threshold, outside))
    return enough(replace(worst(found), matches=places.matches), params.min_matches)


def idle(params: Params, about: Sequence[str]) -> Fault | None:
    """That no number the schema lets stand there misses the threshold; where the interval may end is known of rates
    alone."""
    if params.threshold is None or (params.on != "point" and params.unit != RATE):
        return None
    rate: Ends = (Fraction(0), Fraction(1))
    ends = [shape.ends(about, text) if params.on == "point" else rate for text in params.metric]
    if not all(never_missed(params.op, one, Fraction(params.threshold)) for one in ends):
        return None
    said = f"no number at `{params.metric[0]}` can miss `{params.op} {params.threshold}`: {unmissed(ends[0])}"
    return Fault("threshold", "idle", said, 0, "that it was measured at all is asked by `kind: presence`")


KIND = Kind(
    name="bound",
    measures=True,
    version=1,
    params=Params,
    judge=judge,
    reads=lambda params: [Read("metric", text, ("number", "datum"), unit=params.unit) for text in params.metric],
    expects=lambda params: params.threshold is None,
    accepts=lambda expect: fraction(expect) is not None,
    floored=floored,
    idle=idle,
)
