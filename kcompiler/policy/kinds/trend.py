"""The points of a series × a window → where it is going: by how much, how steeply, or for how many points in a row.

A series is a list of points, each with a number by which they are ordered (`at`) and the number that is asked about
(`value`). Of the last `window` points is taken, in exact arithmetic,

    change   their mean less the mean of the `window` points before them
    slope    the slope of the least-squares line through them: change of `value` for 1 of `at`
    rises    how many of them in a row, at most, are each above the point before
    falls    the same, below

and compared with `threshold`: in the unit of the values, in that unit for one of `at`, or in points. A series with
fewer points than that takes is inconclusive; a point without a measured number is missing evidence, never left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, model_validator

from kcompiler.policy import path, shape
from kcompiler.policy.comparison import HasNeed, Op, apart, decided, floored, holds, lacks, never_missed, unmissed
from kcompiler.policy.datum import BadDatum, read
from kcompiler.policy.kind import DecimalText, Fault, Judged, Kind, PathText, Read, broken, lacking, text_of, with_unit

#: where it is, its number, and where that stands in the report
_Point = tuple[Fraction, Fraction, str]
_IN_ROW = ("rises", "falls")


class Params(HasNeed):
    """`series` leads to points, `at` and `value` below each of them to its two numbers; `unit` is that of `value`."""

    series: PathText
    at: PathText
    value: PathText
    of: Literal["change", "slope", "rises", "falls"]
    #: points at the end of the series
    window: int = Field(ge=2)
    op: Op
    threshold: DecimalText

    @model_validator(mode="after")
    def _can_be_met(self) -> Params:
        for text in (self.at, self.value):
            if any(not isinstance(step, path.Field) for step in path.parse(text).steps):
                raise ValueError(f"`{text}` leads to several places, and a point has one number of each kind")
        if self.at == self.value:
            raise ValueError("`at` and `value` are one place: a number always rises with itself")
        if self.of in _IN_ROW:
            met = {holds(self.op, Fraction(count), Fraction(self.threshold)) for count in range(self.window)}
            if len(met) == 1:
                told = "always" if met == {True} else "never"
                raise ValueError(f"of {self.window} points 0 to {self.window - 1} can follow each other: {told} met")
        return self


class _Wrong(Exception):
    """What a report says makes no sense, or is not there."""

    def __init__(self, judged: Judged) -> None:
        self.judged = judged


def _number(params: Params, text: str, point: path.Match) -> tuple[Fraction, str]:
    """A number of a point and where it stands. Raises _Wrong."""
    (match,) = path.walk(path.parse(text), point.value, point.pointer)
    if match.missing:
        raise _Wrong(lacking(match.missing, match.pointer))
    try:
        datum = read(match.value)
    except BadDatum as error:
        raise _Wrong(broken(str(error), match.pointer)) from None
    unit = params.unit if text == params.value else datum.unit
    need = params.need if text == params.value else params.need.model_copy(update={"min_n": None})
    lack = lacks(need, unit, datum, match.pointer)
    if lack is not None:
        raise _Wrong(lack)
    assert datum.value is not None  # what is unavailable or a flag lacks something
    return datum.value, match.pointer


def _points(params: Params, data: object) -> list[_Point]:
    """(at, value, where the value stands) of each point, in the order of `at`. Raises _Wrong."""
    found: dict[Fraction, _Point] = {}
    for point in path.walk(path.parse(params.series), data, "/data"):
        if point.missing:
            raise _Wrong(lacking(point.missing, point.pointer))
        (at, _), (value, pointer) = _number(params, params.at, point), _number(params, params.value, point)
        if at in found:
            raise _Wrong(broken(f"two points at {text_of(at)}", pointer))
        found[at] = (at, value, pointer)
    return [found[at] for at in sorted(found)]


def _mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def _slope(points: Sequence[_Point]) -> Fraction:
    middle = _mean([at for at, _, _ in points])
    spread = sum(((at - middle) ** 2 for at, _, _ in points), Fraction(0))
    return sum(((at - middle) * value for at, value, _ in points), Fraction(0)) / spread


def _in_a_row(steps: Sequence[Fraction]) -> int:
    """The most of them in a row that are above zero."""
    most = run = 0
    for step in steps:
        run = run + 1 if step > 0 else 0
        most = max(most, run)
    return most


def _measure(params: Params, points: Sequence[_Point]) -> tuple[Fraction, str]:
    """What the series does, and its unit."""
    last = points[-params.window :]
    values = [value for _, value, _ in last]
    if params.of == "change":
        before = [value for _, value, _ in points[-2 * params.window : -params.window]]
        return _mean(values) - _mean(before), params.unit
    if params.of == "slope":
        return _slope(last), params.unit
    ups = [after - before for before, after in itertools.pairwise(values)]
    return Fraction(_in_a_row(ups if params.of == "rises" else [-up for up in ups])), "point"


def judge(params: Params, report: Mapping[str, Any], _expect: object, _other: object) -> Judged:
    try:
        points = _points(params, report["data"])
    except _Wrong as wrong:
        return wrong.judged
    wanted = params.window * (2 if params.of == "change" else 1)
    if len(points) < wanted:
        said = f"{len(points)} points, and {params.of} over {params.window} takes {wanted}"
        return Judged(word="inconclusive", reason=said, pointer="/data", matches=len(points))
    found, unit = _measure(params, points)
    shown = with_unit(text_of(found), unit)
    told = f"{params.of} of the last {params.window} of {len(points)} points is {shown}, which"
    return decided(params.op, found, Fraction(params.threshold), points[-1][2], told, len(points))


def idle(params: Params, about: Sequence[str]) -> Fault | None:
    """That no two means of numbers the schema lets stand there are so far apart."""
    if params.of != "change":
        return None
    ends = shape.ends(about, f"{params.series}.{params.value}")
    if not never_missed(params.op, apart(ends, ends), Fraction(params.threshold)):
        return None
    said = f"no change can miss `{params.op} {params.threshold}`: {unmissed(apart(ends, ends))}"
    return Fault("threshold", "idle", said, 0, "say how much it may change, so that a worse series fails")


KIND = Kind(
    name="trend",
    measures=True,
    version=1,
    params=Params,
    judge=judge,
    reads=lambda params: [
        Read("value", f"{params.series}.{params.value}", ("number", "datum"), unit=params.unit),
        Read("at", f"{params.series}.{params.at}", ("number", "datum")),
    ],
    floored=floored,
    idle=idle,
)
