"""The shares of several things, point by point × a factor → none of them is above the others by it for a whole window.

A term whose gradient is ten times every other's does all the training, whatever the weights say; at one measured point
that is chance or a beginning, over a window it is how the objective is made (capabilities.md, TRN-30). Compared are the
points at which at least two of the things have a measured share; where there are fewer of them than the window is long,
nothing is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from kcompiler.policy import path
from kcompiler.policy.datum import BadDatum, Datum, read
from kcompiler.policy.kind import Closed, DecimalText, Judged, Kind, PathText, Read, broken, lacking, text_of


class Params(Closed):
    """`of` leads to the things (`terms.*`), `points` below each of them to its points, and below a point `at` to the
    number by which points are put together, `share` to the thing's part there."""

    of: PathText
    points: PathText
    at: PathText
    share: PathText
    #: how many times the largest other share one may be
    factor: DecimalText
    #: points in a row
    window: int = Field(ge=2)

    @model_validator(mode="after")
    def _can_be_met(self) -> Params:
        if Fraction(self.factor) < 1:
            raise ValueError("`factor` is at least 1: of several shares one is always the largest")
        for text in (self.at, self.share):
            if any(not isinstance(step, path.Field) for step in path.parse(text).steps):
                raise ValueError(f"`{text}` leads to several places, and a point has one number of each kind")
        return self


class _Share(NamedTuple):
    name: str
    value: Fraction
    pointer: str


class _Wrong(Exception):
    """What a report says makes no sense, or is not there."""

    def __init__(self, judged: Judged) -> None:
        self.judged = judged


def _datum(match: path.Match) -> Datum:
    """Raises _Wrong."""
    if match.missing:
        raise _Wrong(lacking(match.missing, match.pointer))
    try:
        return read(match.value)
    except BadDatum as error:
        raise _Wrong(broken(str(error), match.pointer)) from None


def _number(match: path.Match) -> Fraction | None:
    """A measured number that is not negative; None where it says that there is none. Raises _Wrong."""
    datum = _datum(match)
    if datum.tag == "unavailable":
        return None
    if datum.value is None or datum.value < 0:
        raise _Wrong(broken("not a number from 0 on", match.pointer))
    if datum.tag != "measured":
        raise _Wrong(lacking(f"{datum.tag}, not measured", match.pointer))
    return datum.value


def _name(pointer: str) -> str:
    return pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _shares(params: Params, thing: path.Match) -> Iterator[tuple[Fraction, _Share]]:
    """(where, share) of each point of a thing that has one. Raises _Wrong."""
    for point in path.walk(path.parse(params.points), thing.value, thing.pointer):
        if point.missing:
            raise _Wrong(lacking(point.missing, point.pointer))
        (where,) = path.walk(path.parse(params.at), point.value, point.pointer)
        (share,) = path.walk(path.parse(params.share), point.value, point.pointer)
        at, value = _number(where), None if share.no_field else _number(share)
        if at is None:
            raise _Wrong(lacking("unavailable: which point this is", where.pointer))
        if value is not None:
            yield at, _Share(_name(thing.pointer), value, share.pointer)


def _compared(params: Params, data: object) -> list[list[_Share]]:
    """The shares at each point that has several, in the order of the points. Raises _Wrong."""
    things = path.walk(path.parse(params.of), data, "/data")
    found: dict[Fraction, dict[str, _Share]] = {}
    for thing in things:
        if thing.missing:
            raise _Wrong(lacking(thing.missing, thing.pointer))
        for at, share in _shares(params, thing):
            if found.setdefault(at, {}).setdefault(thing.pointer, share) is not share:
                raise _Wrong(broken(f"two points at {text_of(at)}", share.pointer))
    if len(things) == 1:
        raise _Wrong(lacking("there is one alone, and nothing to compare it with", things[0].pointer))
    return [list(found[at].values()) for at in sorted(found) if len(found[at]) > 1]


def _above(shares: list[_Share], factor: Fraction) -> _Share | None:
    """The share that is more than `factor` times every other; None where there is none."""
    second, first = sorted(shares, key=lambda one: one.value)[-2:]
    return first if first.value > factor * second.value else None


def _longest(points: list[list[_Share]], factor: Fraction) -> list[_Share]:
    """The longest run of points in a row at which the same thing is above the others."""
    best: list[_Share] = []
    run: list[_Share] = []
    for shares in points:
        above = _above(shares, factor)
        if above is None:
            run = []
            continue
        run = [*run, above] if run and run[-1].name == above.name else [above]
        best = max(best, run, key=len)
    return best


def judge(params: Params, report: Mapping[str, Any], _expect: object, _other: object) -> Judged:
    try:
        points = _compared(params, report["data"])
    except _Wrong as wrong:
        return wrong.judged
    if len(points) < params.window:
        said = f"{len(points)} points at which several have a share, and a window is {params.window} long"
        return Judged(word="inconclusive", reason=said, pointer="/data", matches=len(points))
    run = _longest(points, Fraction(params.factor))
    name, pointer = (run[-1].name, run[-1].pointer) if run else ("", "/data")
    above = f"`{name}` is above {params.factor} times every other at {len(run)} points in a row"
    return Judged(
        word="fail" if len(run) >= params.window else "pass",
        reason=f"{above}, of {len(points)}" if run else f"none is above {params.factor} times every other",
        pointer=pointer,
        observed=f"{len(run)} of {len(points)}",
        threshold=f"< {params.window}",
        distance=str(params.window - len(run)),
        matches=len(points),
        margin=Fraction(params.window - len(run)),
    )


def _below(params: Params, last: str) -> str:
    return f"{params.of}.{params.points}.{last}"


KIND = Kind(
    name="dominance",
    measures=True,
    version=1,
    params=Params,
    judge=judge,
    reads=lambda params: [
        Read("share", _below(params, params.share), ("number", "datum"), unit="1"),
        Read("at", _below(params, params.at), ("number", "datum")),
    ],
)
