"""Two numbers × a margin → the one is not worse than the other by more than the margin, in exact arithmetic.

`metric` stands in the report of the rule; what it is compared with stands beside it (`to`), or in the report of another
kind (`to` and `of`), or was measured before and is what the plan expects: a number, or the counts `{k, n}` of a rate.
Both sides are exact fractions; a rate is nothing without its counts, and `need.min_n` asks for items on each side.

Where both sides were measured on the same items, their points hide how sure the difference is: `paired` leads to the
measured difference `metric - to`, and the unfavourable end of its interval is compared. A difference that is not the
difference of its sides is refused, so that no other measurement can lend its interval; where one side was asked more
items (the package is asked few), one that no choice of those among them could give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from kcompiler.policy import path, shape
from kcompiler.policy.comparison import Ends, HasNeed, Op, apart, decided, floored, lacks, never_missed, unmissed
from kcompiler.policy.datum import RATE, BadDatum, fraction, read
from kcompiler.policy.kind import (
    DecimalText,
    Fault,
    Judged,
    Kind,
    PathText,
    Read,
    broken,
    lacking,
    text_of,
    with_unit,
    worst,
)

#: a paired difference was summed in doubles: it may be this far from the exact one, of the largest number involved
_ROUNDING = Fraction(1, 10**6)
#: unit of the paired difference of two rates: items won less items lost, of all
PAIRED = "item/item"
_LEAVES = ("number", "datum")
_UPWARDS = (">=", ">")


class Params(HasNeed):
    """The difference or the quotient of `metric` and the other side is compared with `threshold`.

    `unit` is that of both sides and of their difference; where it is `ratio`, the paired difference is in `item/item`.
    `need` is asked of each side, and of the paired difference.
    """

    metric: PathText
    to: PathText | None = None
    #: kind of the report in which `to` stands, where it is another one
    of: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*)?$")
    by: Literal["difference", "quotient"] = "difference"
    #: what understands nothing reaches, by the same report: of a quotient it is taken off both sides first
    chance: PathText | None = None
    op: Op
    threshold: DecimalText
    paired: PathText | None = None

    @model_validator(mode="after")
    def _sides(self) -> Params:
        if self.of and self.to is None:
            raise ValueError("`of` names the report in which `to` stands; give `to`")
        if self.paired is not None and (self.to is None or self.by == "quotient" or self.op == "=="):
            raise ValueError("`paired` is the difference of two measured sides, and bounded on one side")
        if self.chance is not None and (self.by != "quotient" or self.chance in (self.metric, self.to)):
            raise ValueError("`chance` is taken off both sides of a quotient, and is neither of them")
        if self.metric == self.to and not self.of:
            raise ValueError("`metric` and `to` are one place: a number is always as good as itself")
        return self


class _Side(NamedTuple):
    value: Fraction
    #: items behind it; 0 where that is not said
    n: int
    shown: str
    pointer: str = ""
    low: Fraction | None = None
    high: Fraction | None = None


def _measured(params: Params, text: str, data: object, unit: str) -> _Side | Judged:
    """The one number at a path: in its unit, and on enough items."""
    match, *others = path.walk(path.parse(text), data, "/data")
    if match.missing:
        return lacking(match.missing, match.pointer)
    if others:
        return broken(f"`{text}` leads to {len(others) + 1} places, and one is compared", match.pointer)
    try:
        datum = read(match.value)
    except BadDatum as error:
        return broken(str(error), match.pointer)
    lack = lacks(params.need, unit, datum, match.pointer)
    if lack is not None:
        return lack
    if datum.value is None or (params.paired is not None and datum.n is None):
        return lacking("no count stands behind it", match.pointer)
    shown = text_of(datum.value) if datum.k is None else f"{datum.k}/{datum.n}"
    return _Side(datum.value, datum.n or 0, shown, match.pointer, datum.low, datum.high)


def _apart(params: Params) -> str:
    """Unit of the paired difference."""
    return PAIRED if params.unit == RATE else params.unit


def _pure(params: Params) -> str:
    """Unit of what would be reached by guessing: of rates a pure number, which counts nothing."""
    return "1" if params.unit == RATE else params.unit


def _pinned(expect: object) -> _Side | Judged:
    """What was measured before, as the plan has it."""
    if expect is None:
        return lacking("the plan says nothing to compare with")
    number = fraction(expect)
    if number is not None:
        return _Side(number, 0, text_of(number))
    if isinstance(expect, Mapping) and expect.keys() == {"k", "n"}:
        k, n = expect["k"], expect["n"]
        if type(k) is int and type(n) is int and 0 <= k <= n != 0:
            return _Side(Fraction(k, n), n, f"{k}/{n}")
    return broken(f"{expect!r} of the plan is neither a number nor the counts k and n of a rate")


def _other(params: Params, report: Mapping[str, Any], expect: object) -> _Side | Judged:
    if params.to is not None:
        side = _measured(params, params.to, report["data"], params.unit)
        if params.of and isinstance(side, Judged):
            # a pointer leads into the report of the rule, and this is another one
            return replace(side, reason=f"report {params.of}, {side.pointer}: {side.reason}", pointer="")
        return side
    pinned = _pinned(expect)
    if isinstance(pinned, _Side) and params.unit == RATE and not pinned.n:
        return broken("what was measured before is a rate without its counts: give k and n")
    return pinned


def _decided(params: Params, found: Fraction, pointer: str, told: str) -> Judged:
    return decided(params.op, found, Fraction(params.threshold), pointer, told)


def _possible(params: Params, pairs: int, left: _Side, right: _Side) -> tuple[Fraction, Fraction] | None:
    """Between which numbers the difference over so many pairs lies. Of a rate each item counts 0 or 1: those that are
    no pair were right or wrong. Of another number of more items than there are pairs nothing is known."""
    if left.n == right.n == pairs:
        return left.value - right.value, left.value - right.value
    if params.unit != RATE:
        return None
    (few, many), (little, much) = _right(pairs, left), _right(pairs, right)
    return (few - much) / pairs, (many - little) / pairs


def _right(pairs: int, side: _Side) -> tuple[Fraction, Fraction]:
    """Of a rate's items so many are pairs: how many of these are right, at least and at most."""
    good = side.value * side.n
    return max(Fraction(0), good - (side.n - pairs)), min(good, Fraction(pairs))


def _by_pairs(params: Params, found: _Side, left: _Side, right: _Side) -> Judged:
    """The unfavourable end of the interval around the difference of both sides."""
    if found.n != min(left.n, right.n):
        return broken(f"{found.n} pairs of {left.n} and {right.n} items", found.pointer)
    possible = _possible(params, found.n, left, right)
    largest = max(abs(left.value), abs(right.value), Fraction(1))
    if possible and max(possible[0] - found.value, found.value - possible[1]) > _ROUNDING * largest:
        shown = " to ".join(dict.fromkeys(map(text_of, possible)))
        return broken(f"{text_of(found.value)} is not the difference of its sides, {shown}", found.pointer)
    name, end = ("low", found.low) if params.op in _UPWARDS else ("high", found.high)
    if end is None:
        return lacking(f"has no `{name}` end of an interval", found.pointer)
    told = f"{text_of(found.value)} over {found.n} pairs; its `{name}` end {text_of(end)}"
    return _decided(params, end, found.pointer, told)


def _beyond_chance(params: Params, data: object, left: _Side, right: _Side) -> Judged:
    """How much of what the other side reaches beyond chance this one reaches, too. Chance is no count of items: what
    would be reached by guessing is often known and not measured."""
    assert params.chance is not None
    need = params.need.model_copy(update={"min_n": None, "tag": "estimated"})
    chance = _measured(params.model_copy(update={"need": need}), params.chance, data, _pure(params))
    if isinstance(chance, Judged):
        return chance
    if chance.value < 0 or right.value <= chance.value:
        return lacking(f"{right.shown} is not beyond chance, {chance.shown}", chance.pointer)
    found = (left.value - chance.value) / (right.value - chance.value)
    told = f"{left.shown} of {right.shown}, both less chance {chance.shown}, is {text_of(found)}, which"
    return _decided(params, found, left.pointer, told)


def judge(params: Params, report: Mapping[str, Any], expect: object, other: Mapping[str, Any] | None) -> Judged:
    left = _measured(params, params.metric, report["data"], params.unit)
    right = _other(params, report if other is None else other, expect)
    pairs = None if params.paired is None else _measured(params, params.paired, report["data"], _apart(params))
    if isinstance(left, Judged) or isinstance(right, Judged) or isinstance(pairs, Judged):
        return worst(one for one in (left, right, pairs) if isinstance(one, Judged))
    if pairs is not None:
        return _by_pairs(params, pairs, left, right)
    if params.chance is not None:
        return _beyond_chance(params, report["data"], left, right)
    if params.by == "quotient" and (left.value < 0 or right.value <= 0):
        return lacking(f"{left.shown} and {right.shown} have no quotient that says anything", left.pointer)
    found = left.value - right.value if params.by == "difference" else left.value / right.value
    pure = "1" if params.unit == RATE or params.by == "quotient" else params.unit
    told = f"{left.shown} {'less' if params.by == 'difference' else 'of'} {right.shown} is"
    return _decided(params, found, left.pointer, f"{told} {with_unit(text_of(found), pure)}, which")


def idle(params: Params, about: Sequence[str]) -> Fault | None:
    """That no two numbers the schemas let stand there are so far apart. Of pairs, and of what is beyond chance, it says
    nothing."""
    if params.paired is not None or params.chance is not None:
        return None
    # two sides that have a quotient are not negative
    ends: Ends = (Fraction(0), None)
    if params.by == "difference":
        if params.to is None:
            return None
        other = shape.ends([params.of] if params.of else about, params.to)
        ends = apart(shape.ends(about, params.metric), other)
    if not never_missed(params.op, ends, Fraction(params.threshold)):
        return None
    said = f"no {params.by} of the two can miss `{params.op} {params.threshold}`: {unmissed(ends)}"
    return Fault("threshold", "idle", said, 0, "say how far apart they may be, so that a worse one fails")


KIND = Kind(
    name="relative",
    measures=True,
    version=1,
    params=Params,
    judge=judge,
    reads=lambda params: [
        Read("metric", params.metric, _LEAVES, unit=params.unit),
        *([] if params.to is None else [Read("to", params.to, _LEAVES, params.of, params.unit)]),
        *([] if params.chance is None else [Read("chance", params.chance, _LEAVES, unit=_pure(params))]),
        *([] if params.paired is None else [Read("paired", params.paired, _LEAVES, unit=_apart(params))]),
    ],
    expects=lambda params: params.to is None,
    accepts=lambda expect: isinstance(_pinned(expect), _Side),
    other=lambda params: str(params.of),
    floored=floored,
    idle=idle,
)
