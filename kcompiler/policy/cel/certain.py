"""A typed expression → the truth values that reports can give it, as far as its parts and the schemas decide.

Whatever this says to be impossible is impossible: a rule that is refused as always true could never have failed. The
reverse does not hold, and need not: what is not understood counts as free to be anything.

An expression of bool is a formula over free parts: numbers, texts of which it asks whether they are this or that, and
all that is left (flags, `has`, elements of lists). Comparisons of numbers are brought to the form `sum op constant`,
where the sum is of parts whose ends the schema gives, so that `a < b || b <= a` and `2.0 * x + 1.0 > x` are seen. Each
free part takes one value in every region that the formula can tell apart; the formula is asked for all of them. A value
that cannot be read is no truth value at all: such evidence is missing, and nothing has failed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from kcompiler.policy import shape
from kcompiler.policy.cel.check import Typed
from kcompiler.policy.cel.syntax import (
    Binary,
    Call,
    Choice,
    Index,
    Listed,
    Literal,
    Macro,
    Name,
    Node,
    Select,
    Unary,
)
from kcompiler.policy.cel.types import ListOf, Scalar, Thing, Type
from kcompiler.policy.path import Field, Path

#: combinations of values that are asked; a formula with more is not decided
MOST = 4096
BOTH = frozenset({True, False})
#: a value for every free part
_Given = Mapping[Hashable, Any]
Formula = Callable[[_Given], bool]
_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
#: fields of a datum that every one has
_ALWAYS = ("value", "unit", "tag")


def truths(typed: Typed) -> frozenset[bool]:
    """Which of true and false an expression of type bool can come to; both where that is not decided."""
    return _possible(typed.types, typed.tree)


def _possible(types: Mapping[Node, Type], node: Node) -> frozenset[bool]:
    parts = _Parts(types)
    formula = parts.truth(node)
    choices = parts.choices()
    if math.prod(len(one) for one in choices.values()) > MOST:
        return BOTH
    return frozenset(formula(dict(zip(choices, one, strict=True))) for one in itertools.product(*choices.values()))


@dataclass(frozen=True)
class _Range:
    """Between which numbers a part lies, ends included; None where there is no end. `whole`: it has no fraction."""

    low: Fraction | None = None
    high: Fraction | None = None
    whole: bool = False

    def times(self, by: Fraction) -> _Range:
        ends = [None if end is None else end * by for end in (self.low, self.high)]
        low, high = ends if by > 0 else reversed(ends)
        return _Range(low, high, self.whole and by.denominator == 1)

    def plus(self, other: _Range) -> _Range:
        return _Range(_sum(self.low, other.low), _sum(self.high, other.high), self.whole and other.whole)

    def __contains__(self, value: Fraction) -> bool:
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (value.denominator == 1 or not self.whole)
        )


def _sum(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    return None if one is None or other is None else one + other


_FREE = _Range()
_COUNT = _Range(Fraction(0), None, True)
_SHARE = _Range(Fraction(0), Fraction(1))


@dataclass(frozen=True)
class _Sum:
    """A constant and multiples of parts."""

    constant: Fraction = Fraction(0)
    of: Mapping[Hashable, Fraction] = field(default_factory=dict)

    def plus(self, other: _Sum, times: int = 1) -> _Sum:
        keys = [*self.of, *(key for key in other.of if key not in self.of)]
        of = {key: self.of.get(key, Fraction(0)) + times * other.of.get(key, Fraction(0)) for key in keys}
        return _Sum(self.constant + times * other.constant, {key: by for key, by in of.items() if by})

    def times(self, by: Fraction) -> _Sum:
        return _Sum(self.constant * by, {key: one * by for key, one in self.of.items() if one * by})


@dataclass
class _Parts:
    """The free parts of a formula, as it is read."""

    types: Mapping[Node, Type]
    #: each part of a sum → where it lies
    ranges: dict[Hashable, _Range] = field(default_factory=dict)
    #: each sum that is compared → the constants that it is compared with
    limits: dict[Hashable, set[Fraction]] = field(default_factory=dict)
    #: each text that is asked for words → those, and whether it may be another
    words: dict[Hashable, tuple[set[str], bool]] = field(default_factory=dict)
    flags: dict[Hashable, None] = field(default_factory=dict)

    def choices(self) -> dict[Hashable, Sequence[Any]]:
        """Each free part → one value of every kind that the formula tells apart."""
        found: dict[Hashable, Sequence[Any]] = dict.fromkeys(self.flags, (True, False))
        found |= {key: (*sorted(words), *([None] if others else [])) for key, (words, others) in self.words.items()}
        return found | {key: _samples(limits, self._range_of(key)) for key, limits in self.limits.items()}

    def _range_of(self, key: Any) -> _Range:
        return self._spread(_Sum(of=dict(key[1])))

    def _spread(self, of: _Sum) -> _Range:
        found = _Range(of.constant, of.constant, of.constant.denominator == 1)
        for part, by in of.of.items():
            found = found.plus(self.ranges[part].times(by))
        return found

    # --- truth ---

    def truth(self, node: Node) -> Formula:
        """The formula of a node of type bool."""
        if isinstance(node, Literal):
            return _constant(node.value is True)
        if isinstance(node, Unary):
            of = self.truth(node.of)
            return lambda given: not of(given)
        if isinstance(node, Binary):
            return self._binary(node)
        if isinstance(node, Choice):
            test, yes, no = self.truth(node.test), self.truth(node.yes), self.truth(node.no)
            return lambda given: yes(given) if test(given) else no(given)
        if isinstance(node, Macro):
            return self._macro(node)
        if isinstance(node, Call) and node.function == "has" and self._is_there(node.args[0]):
            return _constant(True)
        # every text begins, ends and goes on with nothing
        if isinstance(node, Call) and node.of is not None and [_literal(one) for one in node.args] == [""]:
            return _constant(True)
        return self._flag(_key(node))

    def _flag(self, key: Hashable) -> Formula:
        self.flags.setdefault(key)
        return lambda given: bool(given[key])

    def _binary(self, node: Binary) -> Formula:
        if node.op in ("&&", "||"):
            left, right = self.truth(node.left), self.truth(node.right)
            if node.op == "&&":
                return lambda given: left(given) and right(given)
            return lambda given: left(given) or right(given)
        if node.op == "in":
            return self._contained(node)
        return self._compared(node.op, node.left, node.right)

    def _contained(self, node: Binary) -> Formula:
        if isinstance(node.right, Listed):
            each = [self._compared("==", node.left, one) for one in node.right.items]
            return lambda given: any(one(given) for one in each)
        above, name = self.types[node.right], _literal(node.left)
        if isinstance(above, Thing) and isinstance(name, str) and above.always(name):
            return _constant(True)
        return self._flag(_key(node))

    def _compared(self, op: str, left: Node, right: Node) -> Formula:
        names = {one.name if isinstance(one, Scalar) else "" for one in (self.types[left], self.types[right])}
        if names <= {"int", "double"}:
            return self._of_numbers(op, self._sum(left).plus(self._sum(right), -1))
        if _key(left) == _key(right):
            return _constant(op in ("==", "<=", ">="))
        if names == {"bool"}:
            one, other = self.truth(left), self.truth(right)
            return lambda given: _HOLDS[op](one(given), other(given))
        if names == {"string"} and op in ("==", "!="):
            return self._of_texts(op, left, right)
        same = self._flag(frozenset({_key(left), _key(right)}) if op in ("==", "!=") else (op, _key(left), _key(right)))
        return same if op != "!=" else lambda given: not same(given)

    def _of_numbers(self, op: str, of: _Sum) -> Formula:
        """Whether a sum is so beside zero."""
        if not of.of:
            return _constant(_HOLDS[op](of.constant, 0))
        # one text for all that are multiples of each other: whole, without a common divisor, the first positive
        parts = sorted(of.of.items(), key=lambda one: repr(one[0]))
        scale = Fraction(math.lcm(*(by.denominator for _, by in parts)), 1)
        scale /= math.gcd(*(int(by * scale) for _, by in parts)) * (1 if parts[0][1] > 0 else -1)
        key = ("sum", tuple((part, by * scale) for part, by in parts))
        limit, turned = -of.constant * scale, op if scale > 0 else _TURNED[op]
        self.limits.setdefault(key, set()).add(limit)
        return lambda given: _HOLDS[turned](given[key], limit)

    def _of_texts(self, op: str, left: Node, right: Node) -> Formula:
        if isinstance(left, Literal):
            left, right = right, left
        if isinstance(left, Literal) or not isinstance(right, Literal):
            if isinstance(left, Literal) and isinstance(right, Literal):
                return _constant(_HOLDS[op](left.value, right.value))
            same = self._flag(frozenset({_key(left), _key(right)}))
            return same if op == "==" else lambda given: not same(given)
        key, word = _key(left), str(right.value)
        known = self._words_of(left)
        words, _ = self.words.setdefault(key, (set(known), not known))
        if not known:
            words.add(word)
        return lambda given: _HOLDS[op](given[key], word)

    def _words_of(self, node: Node) -> tuple[str, ...]:
        """The only texts that can stand there. In which unit a datum is, no schema holds anybody to."""
        found = self.types[node]
        above = self.types[node.of] if isinstance(node, Select) else None
        if isinstance(above, Thing) and above.datum and isinstance(node, Select) and node.field == "unit":
            return ()
        return found.words if isinstance(found, Scalar) else ()

    def _macro(self, node: Macro) -> Formula:
        body = _possible(self.types, node.body)
        size = self._size_of(node.of)
        if node.macro == "all" and body == {True}:
            return _constant(True)
        if node.macro in ("exists", "exists_one") and body == {False}:
            return _constant(False)
        if node.macro == "exists" and body == {True}:
            return self._of_numbers(">=", size.plus(_Sum(Fraction(1)), -1))
        if node.macro == "exists_one" and body == {True}:
            return self._of_numbers("==", size.plus(_Sum(Fraction(1)), -1))
        if node.macro == "all" and body == {False}:
            return self._of_numbers("==", size)
        return self._flag(_key(node))

    def _is_there(self, node: Node) -> bool:
        """Whether every report has the field."""
        above = self.types.get(node.of) if isinstance(node, Select) else None
        if not isinstance(node, Select) or not isinstance(above, Thing):
            return False
        return node.field in _ALWAYS if above.datum else above.always(node.field)

    # --- numbers ---

    def _sum(self, node: Node) -> _Sum:
        """A node of type int or double as a sum."""
        if isinstance(node, Literal):
            assert isinstance(node.value, int | Fraction)
            return _Sum(Fraction(node.value))
        if isinstance(node, Unary):
            return self._sum(node.of).times(Fraction(-1))
        if isinstance(node, Call) and node.function == "double":
            return self._sum(node.args[0])
        if isinstance(node, Call) and node.function == "size":
            return self._size_of(node.of if node.of is not None else node.args[0])
        if isinstance(node, Binary) and node.op in ("+", "-", "*", "/"):
            left, right = self._sum(node.left), self._sum(node.right)
            if node.op in ("+", "-"):
                return left.plus(right, 1 if node.op == "+" else -1)
            if node.op == "*" and not (left.of and right.of):
                return right.times(left.constant) if not left.of else left.times(right.constant)
            if node.op == "/" and not right.of and right.constant:
                return left.times(1 / right.constant)
        return self._part(_key(node), self._range(node))

    def _part(self, key: Hashable, range_: _Range) -> _Sum:
        self.ranges.setdefault(key, range_)
        return _Sum(of={key: Fraction(1)})

    def _size_of(self, of: Node) -> _Sum:
        if isinstance(of, Listed):
            return _Sum(Fraction(len(of.items)))
        found = self.types[of]
        sure = isinstance(found, ListOf) and found.sure
        return self._part(("size", _key(of)), _Range(Fraction(1), None, True) if sure else _COUNT)

    def _range(self, node: Node) -> _Range:
        """Where a number lies that is no sum of others."""
        whole = isinstance(found := self.types[node], Scalar) and found.name == "int"
        if isinstance(node, Select | Index):
            return self._stands(node, whole)
        if isinstance(node, Choice):
            yes, no = (self._spread(self._sum(one)) for one in (node.yes, node.no))
            return _over([yes, no])
        if isinstance(node, Call) and node.function in ("rate_low", "rate_high"):
            return _SHARE
        if isinstance(node, Call):
            return _of_function(node.function, [self._spread(self._sum(one)) for one in node.args])
        if isinstance(node, Binary):
            left, right = (self._spread(self._sum(one)) for one in (node.left, node.right))
            square = node.op == "*" and _key(node.left) == _key(node.right)
            positive = left.low is not None and left.low >= 0 and right.low is not None and right.low >= 0
            if (
                square
                or (positive and node.op in ("*", "/"))
                or (node.op == "%" and left.low is not None and left.low >= 0)
            ):
                return _Range(Fraction(0), None, whole)
        return _Range(None, None, whole)

    def _stands(self, node: Select | Index, whole: bool) -> _Range:
        """Of what stands in a report: as its schema says."""
        above = self.types[node.of]
        name = node.field if isinstance(node, Select) else _literal(node.key)
        if not isinstance(above, Thing) or not isinstance(name, str):
            return _Range(None, None, whole)
        if above.datum and name == "value":
            return _Range(*shape.range_of(above.places), shape.whole(above.places))
        if above.datum:
            # what is measured on nothing is no evidence
            least = {"n": Fraction(1), "k": Fraction(0), "tp": Fraction(0), "fp": Fraction(0), "fn": Fraction(0)}
            return _Range(least.get(name), None, whole)
        found = shape.follow(Path(name, (Field(name),)), above.places)
        return _FREE if isinstance(found, shape.Lost) else _Range(*shape.plain_range(found), whole)


def _constant(value: bool) -> Formula:
    return lambda _: value


def _literal(node: Node) -> Any:
    return node.value if isinstance(node, Literal) else None


def _over(ranges: Iterable[_Range]) -> _Range:
    """Around all of them."""
    every = list(ranges)
    lows, highs = [one.low for one in every], [one.high for one in every]
    low = min((one for one in lows if one is not None), default=None) if None not in lows else None
    high = max((one for one in highs if one is not None), default=None) if None not in highs else None
    return _Range(low, high, all(one.whole for one in every))


def _of_function(name: str, args: Sequence[_Range]) -> _Range:
    around = _over(args)
    lows, highs = [one.low for one in args if one.low is not None], [one.high for one in args if one.high is not None]
    if name == "abs":
        most = None if around.low is None or around.high is None else max(abs(around.low), abs(around.high))
        return _Range(max(Fraction(0), around.low or Fraction(0)), most, around.whole)
    if name == "max":
        return _Range(max(lows, default=None), around.high, around.whole)
    if name == "min":
        return _Range(around.low, min(highs, default=None), around.whole)
    return _FREE


def _samples(limits: Iterable[Fraction], within: _Range) -> list[Fraction]:
    """Each limit and one number between each two, below the first and above the last, as far as it can lie there."""
    edges = sorted(limits)
    between = [_between(one, other, within) for one, other in itertools.pairwise([None, *edges, None])]
    return [one for one in (*edges, *between) if one is not None and one in within]


def _between(low: Fraction | None, high: Fraction | None, within: _Range) -> Fraction | None:
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


def _key(node: Node) -> Hashable:
    """What a node says, wherever it stands and however its fields are written."""
    if isinstance(node, Literal):
        return ("literal", type(node.value).__name__, node.value)
    if isinstance(node, Select):
        return ("field", _key(node.of), node.field)
    if isinstance(node, Index):
        name = _literal(node.key)
        return ("field", _key(node.of), name) if isinstance(name, str) else ("element", _key(node.of), _key(node.key))
    if isinstance(node, Name):
        return ("name", node.name)
    if isinstance(node, Listed):
        return ("list", *map(_key, node.items))
    if isinstance(node, Call):
        return ("call", node.function, node.of and _key(node.of), *map(_key, node.args))
    if isinstance(node, Macro):
        return ("macro", node.macro, _key(node.of), node.name, _key(node.body))
    if isinstance(node, Unary):
        return ("unary", node.op, _key(node.of))
    if isinstance(node, Binary):
        return ("binary", node.op, _key(node.left), _key(node.right))
    return ("choice", _key(node.test), _key(node.yes), _key(node.no))
