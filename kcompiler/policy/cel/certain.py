"""A typed expression → the truth values that reports can give it, as far as its parts and the schemas decide.

Whatever this says to be impossible is impossible: a rule that is refused as always true could never have failed. The
reverse does not hold, and need not: what is not understood counts as free to be anything.

An expression of bool is a formula over free parts: numbers, texts of which it asks whether they are this or that, and
all that is left (flags, `has`, elements of lists). Comparisons of numbers are brought to the form `sum op constant`,
where the sum is of parts whose ends the schema gives, so that `a < b || b <= a` and `2.0 * x + 1.0 > x` are seen. Each
free part takes one value in every region that the formula can tell apart; the formula is asked for all of them, less
those in which no numbers lie (`kcompiler.policy.cel.numbers`), so that `k <= n` and `value <= high` of one datum are
seen. A value that cannot be read is no truth value at all: such evidence is missing, and nothing has failed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from kcompiler.policy import shape
from kcompiler.policy.cel.check import Typed
from kcompiler.policy.cel.feasible import Bound, possible
from kcompiler.policy.cel.numbers import (
    COUNT,
    FREE,
    LEAST,
    MOST_TERMS,
    SHARE,
    Numbers,
    Range,
    Sum,
    counted,
    of_function,
    over,
    region,
    samples,
)
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
#: of them, those of which it is asked whether numbers lie there; one more counts as if they did
MOST_ASKED = 200
BOTH = frozenset({True, False})
#: a sum beside zero: its parts and by how much each counts
_SumKey = tuple[str, tuple[tuple[Hashable, Fraction], ...]]
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


def truths(typed: Typed, node: Node | None = None, *, filled: bool = False) -> frozenset[bool]:
    """Which of true and false an expression of type bool, or a part of it, can come to; both where that is not decided.
    `filled`: where nothing is empty of which it asks what holds of every element as it is, or of none, so that what
    only asks that is seen."""
    return _possible(typed.types, typed.tree if node is None else node, filled)


def _possible(types: Mapping[Node, Type], node: Node, filled: bool) -> frozenset[bool]:
    parts = _Parts(types, filled)
    formula = parts.truth(node)
    for size in parts.vain:
        parts.numbers.ranges[size] = Range(Fraction(1), None, True)
    parts.lawful()
    choices = parts.choices()
    if math.prod(len(one) for one in choices.values()) > MOST:
        return BOTH
    found: set[bool] = set()
    asked = 0
    for one in itertools.product(*choices.values()):
        given = dict(zip(choices, one, strict=True))
        if (came := formula(given)) in found:
            continue
        asked += 1
        if asked > MOST_ASKED or possible(parts.bounds(given)):
            found.add(came)
        if found == BOTH:
            break
    return frozenset(found)


@dataclass
class _Parts:
    """The free parts of a formula, as it is read."""

    types: Mapping[Node, Type]
    filled: bool = False
    numbers: Numbers = field(default_factory=Numbers)
    #: each sum that is compared → the constants that it is compared with
    limits: dict[_SumKey, set[Fraction]] = field(default_factory=dict)
    #: each text that is asked for words → those, and whether it may be another
    words: dict[Hashable, tuple[set[str], bool]] = field(default_factory=dict)
    flags: dict[Hashable, None] = field(default_factory=dict)
    #: sizes of what is taken to hold something
    vain: set[Hashable] = field(default_factory=set)

    def choices(self) -> dict[Hashable, Sequence[Any]]:
        """Each free part → one value of every kind that the formula tells apart."""
        found: dict[Hashable, Sequence[Any]] = dict.fromkeys(self.flags, (True, False))
        found |= {key: (*sorted(words), *([None] if others else [])) for key, (words, others) in self.words.items()}
        return found | {key: samples(limits, self._range_of(key)) for key, limits in self.limits.items()}

    def bounds(self, given: _Given) -> list[Bound]:
        """What is true of the numbers where each sum lies in the region of the value that is given."""
        found = self.numbers.bounds()
        for key, limits in self.limits.items():
            found += region(Sum(of=dict(key[1])), limits, given[key])
        return found

    def _range_of(self, key: _SumKey) -> Range:
        return self.numbers.spread(Sum(of=dict(key[1])))

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

    def _of_numbers(self, op: str, of: Sum) -> Formula:
        """Whether a sum is so beside zero."""
        if not of.of:
            return _constant(_HOLDS[op](of.constant, 0))
        # one text for all that are multiples of each other: whole, without a common divisor, the first positive
        parts = sorted(of.of.items(), key=lambda one: repr(one[0]))
        scale = Fraction(math.lcm(*(by.denominator for _, by in parts)), 1)
        scale /= math.gcd(*(int(by * scale) for _, by in parts)) * (1 if parts[0][1] > 0 else -1)
        key: _SumKey = ("sum", tuple((part, by * scale) for part, by in parts))
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
        body = _possible(self.types, node.body, self.filled)
        size = self._size_of(node.of)
        if self.filled and len(body) == 1 and node.macro != "exists_one":
            self.vain |= {key for key in size.of if isinstance(key, tuple) and key[0] == "size"}
        if node.macro == "all" and body == {True}:
            return _constant(True)
        if node.macro in ("exists", "exists_one") and body == {False}:
            return _constant(False)
        if node.macro == "exists" and body == {True}:
            return self._of_numbers(">=", size.plus(Sum(Fraction(1)), -1))
        if node.macro == "exists_one" and body == {True}:
            return self._of_numbers("==", size.plus(Sum(Fraction(1)), -1))
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

    def _sum(self, node: Node) -> Sum:
        """A node of type int or double as a sum."""
        if isinstance(node, Literal):
            assert isinstance(node.value, int | Fraction)
            return Sum(Fraction(node.value))
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
            if node.op == "*" and len(left.of) * len(right.of) <= MOST_TERMS:
                return self.numbers.product(left, right)
            if node.op == "/" and not right.of and right.constant:
                return left.times(1 / right.constant)
            if node.op == "/" and (datum := counted(left, right)) is not None:
                return self.numbers.quotient(datum)
        part = self.numbers.part(_key(node), self._range(node))
        if isinstance(node, Call):
            self.numbers.of_call(part, node.function, [self._sum(one) for one in node.args])
        return part

    def _size_of(self, of: Node) -> Sum:
        if isinstance(of, Listed):
            return Sum(Fraction(len(of.items)))
        found = self.types[of]
        sure = isinstance(found, ListOf) and found.sure
        return self.numbers.part(("size", _key(of)), Range(Fraction(1), None, True) if sure else COUNT)

    def _range(self, node: Node) -> Range:
        """Where a number lies that is no sum of others."""
        whole = isinstance(found := self.types[node], Scalar) and found.name == "int"
        if isinstance(node, Select | Index):
            return self._stands(node, whole)
        if isinstance(node, Choice):
            yes, no = (self.numbers.spread(self._sum(one)) for one in (node.yes, node.no))
            return over([yes, no])
        if isinstance(node, Call) and node.function in ("rate_low", "rate_high"):
            return SHARE
        if isinstance(node, Call):
            return of_function(node.function, [self.numbers.spread(self._sum(one)) for one in node.args])
        if isinstance(node, Binary):
            left, right = (self.numbers.spread(self._sum(one)) for one in (node.left, node.right))
            square = node.op == "*" and _key(node.left) == _key(node.right)
            positive = left.low is not None and left.low >= 0 and right.low is not None and right.low >= 0
            if (
                square
                or (positive and node.op in ("*", "/"))
                or (node.op == "%" and left.low is not None and left.low >= 0)
            ):
                return Range(Fraction(0), None, whole)
        return Range(None, None, whole)

    def _stands(self, node: Select | Index, whole: bool) -> Range:
        """Of what stands in a report: as its schema says."""
        above = self.types[node.of]
        name = node.field if isinstance(node, Select) else _literal(node.key)
        if not isinstance(above, Thing) or not isinstance(name, str):
            return Range(None, None, whole)
        if above.datum:
            value = Range(*shape.range_of(above.places), shape.whole(above.places))
            self.numbers.data[_key(node.of)] = value
            return value if name == "value" else LEAST.get(name, Range(*shape.range_of(above.places, name)))
        found = shape.follow(Path(name, (Field(name),)), above.places)
        return FREE if isinstance(found, shape.Lost) else Range(*shape.plain_range(found), whole)

    def lawful(self) -> None:
        """What schemas say of two numbers that are read: one is not more than the other. Where one of them is not
        there, or not measured, it can be thought beside the other so that this holds: both begin at 0 and have no
        end."""
        for node, found in self.types.items():
            orders = shape.ordered(found.places) if isinstance(node, Name) and isinstance(found, Thing) else ()
            for pair in orders:
                less, more = (self._place(_key(node), names) for names in pair)
                if self._from_zero(less) and self._from_zero(more):
                    self.numbers.laws.append(Sum(of={more: Fraction(1), less: Fraction(-1)}))

    def _place(self, start: Hashable, names: Sequence[str]) -> Hashable:
        for name in (*names, "value"):
            start = ("field", start, name)
        return start

    def _from_zero(self, part: Hashable) -> bool:
        within = self.numbers.ranges.get(part)
        return within is not None and within.low == 0 and within.high is None


def _constant(value: bool) -> Formula:
    return lambda _: value


def _literal(node: Node) -> Any:
    return node.value if isinstance(node, Literal) else None


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
