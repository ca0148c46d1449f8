"""The numbers of a formula: sums of parts, where each part lies, and what parts have to do with each other.

A part is whatever is no sum of others: what stands in a report, a product, a quotient, the value of a function. Of
every one it is known between which ends it lies, and sums of them are known never to be negative: the numbers of one
datum hold to each other, and so do a product and its factors, a function and what it is of.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from kcompiler.policy.cel.feasible import Bound

#: terms of a product that is multiplied out
MOST_TERMS = 64


@dataclass(frozen=True)
class Range:
    """Between which numbers a part lies, ends included; None where there is no end. `whole`: it has no fraction."""

    low: Fraction | None = None
    high: Fraction | None = None
    whole: bool = False

    def times(self, by: Fraction) -> Range:
        ends = [None if end is None else end * by for end in (self.low, self.high)]
        low, high = ends if by > 0 else reversed(ends)
        return Range(low, high, self.whole and by.denominator == 1)

    def plus(self, other: Range) -> Range:
        return Range(_sum(self.low, other.low), _sum(self.high, other.high), self.whole and other.whole)

    def product(self, other: Range) -> Range:
        """Of two that lie apart from each other; only what is of one sign is told."""
        if self.low is None or other.low is None or self.low < 0 or other.low < 0:
            return Range(None, None, self.whole and other.whole)
        high = None if self.high is None or other.high is None else self.high * other.high
        return Range(self.low * other.low, high, self.whole and other.whole)

    @property
    def share(self) -> bool:
        return self.low is not None and self.high is not None and self.low >= 0 and self.high <= 1

    def __contains__(self, value: Fraction) -> bool:
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (value.denominator == 1 or not self.whole)
        )


def _sum(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    return None if one is None or other is None else one + other


FREE = Range()
COUNT = Range(Fraction(0), None, True)
SHARE = Range(Fraction(0), Fraction(1))


@dataclass(frozen=True)
class Sum:
    """A constant and multiples of parts."""

    constant: Fraction = Fraction(0)
    of: Mapping[Hashable, Fraction] = field(default_factory=dict)

    def plus(self, other: Sum, times: int = 1) -> Sum:
        keys = [*self.of, *(key for key in other.of if key not in self.of)]
        of = {key: self.of.get(key, Fraction(0)) + times * other.of.get(key, Fraction(0)) for key in keys}
        return Sum(self.constant + times * other.constant, {key: by for key, by in of.items() if by})

    def times(self, by: Fraction) -> Sum:
        return Sum(self.constant * by, {key: one * by for key, one in self.of.items() if one * by})

    def bound(self, *, strict: bool = False) -> Bound:
        """That it is not negative."""
        return Bound(self.of, self.constant, strict)


#: counts of a datum; what is measured on nothing is no evidence
LEAST: Mapping[str, Range] = {"n": Range(Fraction(1), None, True), **dict.fromkeys(("k", "tp", "fp", "fn"), COUNT)}


def _ends(within: Range) -> list[tuple[Fraction, int]]:
    """Each end, and whether numbers lie above (1) or below (-1) it."""
    return [(end, way) for end, way in ((within.low, 1), (within.high, -1)) if end is not None]


def counted(left: Sum, right: Sum) -> Hashable | None:
    """The datum whose k and whose n these are, or None."""
    named = []
    for one in (left, right):
        (part, by), *more = one.of.items() or [(None, Fraction(0))]
        if more or by != 1 or one.constant or not isinstance(part, tuple) or part[0] != "field":
            return None
        named.append(part)
    (_, datum, k), (_, other, n) = named
    return datum if datum == other and (k, n) == ("k", "n") else None


def region(of: Sum, limits: Iterable[Fraction], value: Fraction) -> list[Bound]:
    """That a sum lies where this value of it does: at one of the limits, or between two."""
    if value in limits:
        return [of.plus(Sum(value), -1).bound(), Sum(value).plus(of, -1).bound()]
    below, above = [one for one in limits if one < value], [one for one in limits if one > value]
    found = [of.plus(Sum(max(below)), -1).bound(strict=True)] if below else []
    return found + ([Sum(min(above)).plus(of, -1).bound(strict=True)] if above else [])


@dataclass
class Numbers:
    """The parts that have been met."""

    #: each part → where it lies
    ranges: dict[Hashable, Range] = field(default_factory=dict)
    #: each datum whose numbers are read → where its value lies
    data: dict[Hashable, Range] = field(default_factory=dict)
    #: sums that are never negative
    laws: list[Sum] = field(default_factory=list)

    def bounds(self) -> list[Bound]:
        """All that is known of the parts."""
        for datum, within in list(self.data.items()):
            self._hold_together(datum, within)
        self.data.clear()
        found = [one.bound() for one in self.laws]
        for part, within in self.ranges.items():
            this = Sum(of={part: Fraction(1)})
            found += [this.plus(Sum(within.low), -1).bound()] if within.low is not None else []
            found += [Sum(within.high).plus(this, -1).bound()] if within.high is not None else []
        return found

    def _hold_together(self, datum: Hashable, within: Range) -> None:
        """What `kcompiler.policy.datum` asks of the numbers of one datum. Those that it lacks can be thought beside it
        so that this holds: it may be said of every one."""
        value = self.part(("field", datum, "value"), within)
        k, n = (self.part(("field", datum, name), LEAST[name]) for name in ("k", "n"))
        low, high = (self.part(("field", datum, name), FREE) for name in ("low", "high"))
        self.laws += [n.plus(k, -1), value.plus(low, -1), high.plus(value, -1)]
        if within.share:
            hits = self.product(value, n).plus(k, -1)
            self.laws += [hits, hits.times(Fraction(-1))]

    def spread(self, of: Sum) -> Range:
        found = Range(of.constant, of.constant, of.constant.denominator == 1)
        for part, by in of.of.items():
            found = found.plus(self.ranges[part].times(by))
        return found

    def product(self, left: Sum, right: Sum) -> Sum:
        """Two sums multiplied, term by term."""
        found = (
            right.times(left.constant).plus(left.times(right.constant)).plus(Sum(left.constant * right.constant), -1)
        )
        for (one, by), (other, times) in itertools.product(left.of.items(), right.of.items()):
            found = found.plus(self._of_two(one, other).times(by * times))
        return found

    def _of_two(self, one: Hashable, other: Hashable) -> Sum:
        """The product of two parts, and that numbers between their ends are not negative when multiplied."""
        one, other = sorted((one, other), key=repr)
        key, within, beside = ("product", one, other), self.ranges[one], self.ranges[other]
        known = key in self.ranges
        square = Range(Fraction(0), None, within.whole)
        part = self.part(
            key, square if one == other and (within.low is None or within.low < 0) else within.product(beside)
        )
        if one == other and within.whole and not known:
            # a whole number is not more than its square, on either side of zero
            self.laws += [part.plus(Sum(of={one: Fraction(1)}), -1), part.plus(Sum(of={one: Fraction(1)}))]
        if not known:
            for (first, up), (second, rise) in itertools.product(_ends(within), _ends(beside)):
                # (x - first) * (y - second), each turned where the end is the upper one
                of = part.plus(Sum(first * second))
                of = of.plus(Sum(of={one: second}), -1).plus(Sum(of={other: first}), -1)
                self.laws.append(of.times(Fraction(up * rise)))
        return part

    def quotient(self, datum: Hashable) -> Sum:
        """k of n of one datum: what a rate is."""
        within = self.data[datum]
        return self.part(("field", datum, "value") if within.share else ("quotient", datum), SHARE)

    def of_call(self, part: Sum, name: str, args: Sequence[Sum]) -> None:
        """What a function has to do with what it is of."""
        if name in ("max", "abs"):
            self.laws += [part.plus(one, -1) for one in args]
        if name == "abs":
            self.laws.append(part.plus(args[0]))
        if name == "min":
            self.laws += [one.plus(part, -1) for one in args]
        if name in ("rate_low", "rate_high"):
            datum = counted(*args)
            about = (
                "rate",
                *(tuple(sorted(one.of.items(), key=repr)) for one in args),
                *(one.constant for one in args),
            )
            rate = self.part(about, SHARE) if datum is None else self.quotient(datum)
            self.laws.append(rate.plus(part, -1) if name == "rate_low" else part.plus(rate, -1))

    def part(self, key: Hashable, range_: Range) -> Sum:
        self.ranges.setdefault(key, range_)
        return Sum(of={key: Fraction(1)})


def over(ranges: Iterable[Range]) -> Range:
    """Around all of them."""
    every = list(ranges)
    lows, highs = [one.low for one in every], [one.high for one in every]
    low = min((one for one in lows if one is not None), default=None) if None not in lows else None
    high = max((one for one in highs if one is not None), default=None) if None not in highs else None
    return Range(low, high, all(one.whole for one in every))


def of_function(name: str, args: Sequence[Range]) -> Range:
    around = over(args)
    lows, highs = [one.low for one in args if one.low is not None], [one.high for one in args if one.high is not None]
    if name == "abs":
        most = None if around.low is None or around.high is None else max(abs(around.low), abs(around.high))
        return Range(max(Fraction(0), around.low or Fraction(0)), most, around.whole)
    if name == "max":
        return Range(max(lows, default=None), around.high, around.whole)
    if name == "min":
        return Range(around.low, min(highs, default=None), around.whole)
    return FREE


def samples(limits: Iterable[Fraction], within: Range) -> list[Fraction]:
    """Each limit and one number between each two, below the first and above the last, as far as it can lie there."""
    edges = sorted(limits)
    between = [_between(one, other, within) for one, other in itertools.pairwise([None, *edges, None])]
    return [one for one in (*edges, *between) if one is not None and one in within]


def _between(low: Fraction | None, high: Fraction | None, within: Range) -> Fraction | None:
    """A number above `low` and below `high`; None where none is possible."""
    least = within.low if low is None or (within.low is not None and within.low > low) else None
    most = within.high if high is None or (within.high is not None and within.high < high) else None
    if least is not None or most is not None:
        found = least if least is not None else most
        return found if found is not None and (high is None or found < high) and (low is None or found > low) else None
    if low is None or high is None:
        return math.ceil(high) - Fraction(1) if high is not None else math.floor(low or Fraction(0)) + Fraction(1)
    next_ = Fraction(math.floor(low) + 1)
    return (low + high) / 2 if not within.whole else next_ if next_ < high else None
