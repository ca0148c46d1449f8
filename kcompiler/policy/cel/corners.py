"""An expression → the numbers and texts at which something may change: those that it names, and what lies beside
them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TypeVar

from kcompiler.policy.cel.syntax import Binary, Call, Choice, Index, Listed, Literal, Macro, Node, Select, Unary

#: numbers of one kind that are tried at a place
WIDE = 20
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What an expression names: its numbers and texts, and the fields that it reads."""

    tree: Node
    #: more numbers than are tried
    cuts: list[None] = field(default_factory=list)
    _known: dict[tuple[Fraction | None, Fraction | None, bool], list[Fraction]] = field(default_factory=dict)

    @property
    def cut(self) -> bool:
        return bool(self.cuts)

    @cached_property
    def _nodes(self) -> list[Node]:
        return list(nodes(self.tree))

    @cached_property
    def fields(self) -> frozenset[str]:
        return frozenset(one.field for one in self._nodes if isinstance(one, Select))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        found = {one.value for one in self._nodes if isinstance(one, Literal) and isinstance(one.value, str)}
        return (*sorted(found - {""}), "x")

    @cached_property
    def limits(self) -> tuple[Fraction, ...]:
        found = {
            Fraction(one.value)
            for one in self._nodes
            if isinstance(one, Literal) and isinstance(one.value, int | Fraction) and not isinstance(one.value, bool)
        }
        roots = {root for one in found if one > 1 or one.denominator > 1 if (root := _root(one)) is not None}
        below = {-one for one in found if one > 0 and "-" in self._signs}
        return tuple(sorted(found | roots | below))

    @cached_property
    def _signs(self) -> frozenset[str]:
        return frozenset(one.op for one in self._nodes if isinstance(one, Unary))

    def numbers(self, low: Fraction | None, high: Fraction | None, whole: bool) -> list[Fraction]:
        """The ends, what is written and what lies beside and between, and some more."""
        key = (low, high, whole)
        if key not in self._known:
            self._known[key] = self._numbers(low, high, whole)
        return self._known[key]

    def _numbers(self, low: Fraction | None, high: Fraction | None, whole: bool) -> list[Fraction]:
        edges = [one for one in (low, high) if one is not None]
        beside = Fraction(1) if whole else Fraction(1, 1000)
        near = [one + by for one in self.limits for by in (0, beside, -beside)]
        between = [(one + other) / 2 for one, other in itertools.pairwise(self.limits)]
        far = [Fraction(one) for one in (0, 1, 2, "1/2", 10**6, -1, -(10**6))]
        rounded = (Fraction(round(one)) if whole else one for one in (*edges, *near, *between, *far))
        return self._cut([one for one in rounded if (low is None or one >= low) and (high is None or one <= high)])

    @cached_property
    def rates(self) -> list[tuple[int, int]]:
        """k of n."""
        plain = [(1, 2), (2, 2), (0, 30), (30, 30), (29, 30), (1, 30)]
        shares = [one for one in self.limits if 0 < one < 1 and one.denominator <= 10_000]
        between = [(one + other) / 2 for one, other in itertools.pairwise((Fraction(0), *shares, Fraction(1)))]
        exact = [(one.numerator * 30 + by, one.denominator * 30) for one in shares for by in (0, 1, -1)]
        middle = [(one.numerator, one.denominator) for one in between if one.denominator <= 10_000]
        counts = [int(one) for one in self.limits if one >= 1 and one.denominator == 1 and one <= 10**6]
        counted = [pair for one in counts for pair in ((one, one + 1), (one - 1, one), (one, one), (0, one))]
        return self._cut([(0, 1), (1, 1), *exact, *plain, *middle, *counted])

    @cached_property
    def sizes(self) -> list[int]:
        named = {int(one) + by for one in self.limits if one.denominator == 1 for by in (-1, 0, 1)}
        return [one for one in sorted(named) if 3 < one <= 40] if "size" in self._calls else []

    @cached_property
    def _calls(self) -> frozenset[str]:
        return frozenset(one.function for one in self._nodes if isinstance(one, Call))

    def _cut(self, found: Sequence[T]) -> list[T]:
        every = list(dict.fromkeys(found))
        if len(every) > WIDE:
            self.cuts.append(None)
        return every[:WIDE]


def nodes(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    below: Sequence[Node | None]
    if isinstance(node, Unary | Select):
        below = [node.of]
    elif isinstance(node, Binary):
        below = [node.left, node.right]
    elif isinstance(node, Index):
        below = [node.of, node.key]
    elif isinstance(node, Choice):
        below = [node.test, node.yes, node.no]
    elif isinstance(node, Macro):
        below = [node.of, node.body]
    elif isinstance(node, Call):
        below = [node.of, *node.args]
    else:
        below = node.items if isinstance(node, Listed) else []
    for one in below:
        if one is not None:
            yield from nodes(one)


def _root(value: Fraction) -> Fraction | None:
    """Of a square."""
    if value <= 0:
        return None
    found = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    return found if found * found == value else None
