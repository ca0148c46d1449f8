"""A typed expression × what schemas say of a report → a report that is not empty and makes it false, as far as one is
found.

Nothing is read of how the expression is spelt but its numbers and texts: reports are thought up at the corners of what
the schema allows, at those numbers and beside them, and the evaluator that gates use says what the expression comes to.
A report is thought up as it is read: what is not asked for is never decided. Every list and object holds something. The
numbers of one datum hold to each other, and so do those of which the schema says that one is not more than the other.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol, TypeVar

from kcompiler.policy import shape
from kcompiler.policy.cel.check import Typed
from kcompiler.policy.cel.corners import WIDE, Asked
from kcompiler.policy.cel.evaluate import At, Lacking, Run
from kcompiler.policy.cel.syntax import Name, Node
from kcompiler.policy.cel.types import Thing, typed
from kcompiler.policy.datum import RATE
from kcompiler.policy.laws.counts import PAIRED
from kcompiler.policy.path import Field, Path
from kcompiler.policy.shape import Place
from runtime.contract.statistics.paired import wins_of

#: reports that are drawn at random, at first and where they are too many for each, and those gone through one by one
FEW, DRAWN, MOST = 40, 150, 420
#: numbers that are tried at a place, where there are too many places
_NARROW = 5
T = TypeVar("T")


class _Chooser(Protocol):
    def pick(self, options: Sequence[T]) -> T: ...


@dataclass
class _Alike:
    """Of everything the one of this number, so that what may be equal is."""

    number: int

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number % len(options)]


@dataclass
class _Drawn:
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def pick(self, options: Sequence[T]) -> T:
        return self.rng.choice(options)


@dataclass
class _Each:
    """One combination after the other: `next` goes on to the following one, and says whether there is one."""

    taken: list[tuple[int, int]] = field(default_factory=list)
    at: int = 0

    def pick(self, options: Sequence[T]) -> T:
        if self.at == len(self.taken):
            self.taken.append((0, len(options)))
        self.at += 1
        return options[self.taken[self.at - 1][0]]

    def next(self) -> bool:
        del self.taken[self.at :]
        self.at = 0
        while self.taken and self.taken[-1][0] + 1 == self.taken[-1][1]:
            self.taken.pop()
        if self.taken:
            number, of = self.taken[-1]
            self.taken[-1] = (number + 1, of)
        return bool(self.taken)


@dataclass
class Search:
    """Reports in which a node of the expression may come to `wanted`; `filled`: those in which nothing is empty."""

    text: Typed
    node: Node
    wanted: bool
    filled: bool = True
    #: some report can be read
    read: bool = False

    @cached_property
    def _asked(self) -> Asked:
        return Asked(self.text.tree)

    def glance(self) -> bool:
        """Whether one of a few is found: those in which all is alike, and some that are drawn."""
        few: list[_Chooser] = [*map(_Alike, range(WIDE)), *[_Drawn()] * FEW]
        return any(map(self._is, few))

    def all(self) -> bool | None:
        """Whether one is found of all at the corners: where they are too many, of those with one thing in each list and
        few numbers; None where they still are, and none was found."""
        for single in (False, True):
            each, drawn = _Each(), _Drawn()
            for _ in range(MOST):
                if self._is(each, single):
                    return True
                if not each.next():
                    return None if self._asked.cut else False
            if any(self._is(drawn) for _ in range(DRAWN)):
                return True
        return None

    def _is(self, chooser: _Chooser, single: bool = False) -> bool:
        came = _came(self.text, self.node, _Made(self._asked, chooser, self.filled, single))
        self.read |= came is not None
        return came is self.wanted


def _came(text: Typed, node: Node, made: _Made) -> bool | None:
    """What the node comes to in one report; None where it cannot be read, or no report is like this."""
    roots = {one.name: found for one, found in text.types.items() if isinstance(one, Name) and isinstance(found, Thing)}
    data = {name: _Object(made, found.places) for name, found in roots.items() if name in ("report", "other")}
    run = Run(text, {name: At(one, "/data") for name, one in data.items()})
    try:
        came = run.truth(node)
    except Lacking:
        return None
    return came if all(one.lawful() for one in data.values()) else None


class _Object(dict[str, Any]):
    """An object of a report: what it holds is decided when it is asked."""

    def __init__(self, made: _Made, places: Sequence[Place]) -> None:
        super().__init__()
        self._made, self._places, self._thing = made, places, Thing(tuple(places))
        self._there: dict[str, bool] = {}
        parts = shape.parts(places)
        self._named = sorted({name for one in parts for name in one.node.get("properties", ())})
        self._keys = self._some() if self._thing.keyed else None

    def _some(self) -> list[str]:
        """Names of an object whose names are not fixed: those that are asked for, or some."""
        known = self._thing.names
        names = list(known) or [*(one for one in self._made.asked.texts if one != "x"), "a", "b", "c"]
        fits = [one for one in dict.fromkeys(names) if not isinstance(self._thing.field(one), shape.Lost)]
        size = self._made.pick(self._made.sizes())
        more = [f"n{number}" for number in range(size - len(fits))] if not known else []
        every = [*fits, *more]
        if size >= len(every):
            return every
        return self._made.pick([every[:size], every[-size:] if size else []])

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if name not in self._there:
            if name in self._named:
                self._there[name] = self._thing.always(name) or self._made.pick([True, False])
            else:
                self._there[name] = self._keys is not None and name in self._keys
        return self._there[name]

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in dict.fromkeys([*self._named, *(self._keys or ())]) if name in self])

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        if not super().__contains__(name):
            found = shape.follow(Path(name, (Field(name),)), self._places)
            super().__setitem__(name, None if isinstance(found, shape.Lost) else self._made.value(found))
        return super().__getitem__(name)

    def lawful(self) -> bool:
        """Whether what was read holds to what the schema says of two numbers."""
        for less, more in shape.ordered(self._places):
            one, other = self._read(less), self._read(more)
            if one is not None and other is not None and one > other:
                return False
        return True

    def _read(self, names: Sequence[str]) -> Fraction | None:
        """The number there, where it was asked for."""
        found: Any = self
        for name in names:
            if not isinstance(found, dict) or name not in dict.keys(found):
                return None
            found = dict.__getitem__(found, name)
        value = found.get("value") if isinstance(found, dict) and not isinstance(found, _Object) else None
        return Fraction(repr(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class _Made:
    """What is thought up, at places of a schema."""

    asked: Asked
    chooser: _Chooser
    filled: bool
    #: lists and objects hold one thing, or as many as the expression says, and few numbers are tried
    single: bool

    def sizes(self, sure: bool = False) -> list[int]:
        none = [] if self.filled or sure else [0]
        return [*none, *([1] if self.single else [1, 2, 3]), *self.asked.sizes]

    def pick(self, options: Sequence[T]) -> T:
        return options[0] if len(options) == 1 else self.chooser.pick(options)

    def some(self, options: Sequence[T]) -> T:
        """One of many that differ in how large they are."""
        return self.pick(options[:_NARROW] if self.single else options)

    def value(self, places: Sequence[Place]) -> Any:
        """What may stand there."""
        found = typed(places)
        if isinstance(found, Thing):
            return self._datum(found, places) if found.datum else _Object(self, places)
        parts = shape.parts(places)
        items = [one.to(one.node["items"]) for one in parts if isinstance(one.node.get("items"), dict)]
        if found is not None and items:
            sure = any(one.node.get("minItems", 0) > 0 for one in parts)
            return [self.value(items) for _ in range(self.pick(self.sizes(sure)))]
        return self._scalar(getattr(found, "name", ""), getattr(found, "words", ()), places)

    def _scalar(self, name: str, words: Sequence[str], places: Sequence[Place]) -> Any:
        if name == "bool":
            return self.pick([True, False])
        if name == "string":
            texts = self.asked.texts
            return self.pick(list(words) or [*texts, *(f"{one}x" for one in texts), *(f"x{one}" for one in texts), ""])
        if name in ("int", "double"):
            return _json(self.some(self.asked.numbers(*shape.plain_range(places), name == "int")))
        return None

    def _datum(self, found: Thing, places: Sequence[Place]) -> dict[str, Any]:
        units = sorted(shape.units(places)) or [*self.asked.texts, "1"]
        unit = self.pick(units)
        flag = found.datum == "flag" or (found.datum == "datum" and self.pick([True, False]))
        if flag:
            made: dict[str, Any] = {"value": self.pick([True, False])}
        elif unit == PAIRED:
            made = self._paired()
        elif found.counted or unit == RATE:
            made = self._rate(places)
        else:
            made = self._number(places)
        return self._tagged({"unit": unit, "tag": "measured", **made})

    def _tagged(self, made: dict[str, Any]) -> dict[str, Any]:
        """The same, or estimated, or not there, where the expression asks how it came to be."""
        if self.asked.fields.isdisjoint(("tag", "by", "reason")):
            return made
        tag = self.pick(["measured", "estimated", "unavailable"])
        if tag == "unavailable":
            return {"value": None, "unit": made["unit"], "tag": tag, "reason": self.pick(self.asked.texts)}
        return made if tag == "measured" else {**made, "tag": tag, "by": self.pick(self.asked.texts)}

    def _rate(self, places: Sequence[Place]) -> dict[str, Any]:
        if not self.asked.fields.isdisjoint(("tp", "fp", "fn")) and self.pick([False, True]):
            tp, fp, fn = (int(self.some(self.asked.numbers(Fraction(0), Fraction(10**6), True))) for _ in range(3))
            if whole := 2 * tp + fp + fn:
                return {"value": 2 * tp / whole, "tp": tp, "fp": fp, "fn": fn, "n": tp + fp + fn}
        k, n = self.some(self.asked.rates)
        return {"value": k / n, "k": k, "n": n, **self._ends(Fraction(k, n), Fraction(0), Fraction(1))}

    def _paired(self) -> dict[str, Any]:
        n, won, lost = self.pick(
            [(30, 0, 0), (30, 1, 0), (30, 0, 1), (30, 30, 0), (30, 0, 30), (30, 15, 15), (2000, 1100, 900), (2, 1, 0)]
        )
        return {"n": n, "wins": won, "losses": lost, **wins_of(n, won, lost)}

    def _number(self, places: Sequence[Place]) -> dict[str, Any]:
        value = self.some(self.asked.numbers(*shape.range_of(places), shape.whole(places)))
        made: dict[str, Any] = {"value": _json(value), **self._ends(value, *shape.range_of(places))}
        if "n" in self.asked.fields and self.pick([True, False]):
            made["n"] = max(1, int(self.some(self.asked.numbers(Fraction(1), Fraction(10**6), True))))
        return made

    def _ends(self, value: Fraction, low: Fraction | None, high: Fraction | None) -> dict[str, Any]:
        """An interval around it, or one that ends where it is, where the expression asks."""
        if self.asked.fields.isdisjoint(("low", "high")):
            return {}
        wide = Fraction(1, 4)
        below, above = value - wide, value + wide
        below, above = below if low is None else max(low, below), above if high is None else min(high, above)
        ends = self.pick([None, (below, above), (value, value), (below, value), (value, above)])
        return {} if ends is None else {"low": float(ends[0]), "high": float(ends[1])}


def _json(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)
