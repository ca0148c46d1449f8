"""A typed expression over reports of some kinds → the part of it that no report can fail, or only one that is empty.

Each part of the top `&&` is asked for itself, however it is spelt: `!(a || b)` is `!a && !b`, and `!l.all(x, p)` asks
as `l.exists(x, !p)` does. A report that fails it is looked for (`kcompiler.policy.cel.witness`); where there is none it
is proven that there can be none (`kcompiler.policy.cel.certain`), or all corners were gone through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal as Word

from kcompiler.policy.cel.certain import truths
from kcompiler.policy.cel.check import Typed, path_of
from kcompiler.policy.cel.corners import nodes
from kcompiler.policy.cel.syntax import Binary, Call, Choice, Index, Literal, Macro, Node, Select, Unary
from kcompiler.policy.cel.types import Scalar, Thing
from kcompiler.policy.cel.witness import Search

#: whether a report fails a part: one does; none can; one that holds nothing does alone; none that was tried, of all
#: corners, or of those that were come to; one does that holds one number alone, which nobody writes by design
How = Word["free", "never", "empty", "tried", "doubtful", "point"]
#: fields of a datum of which a rule asks only so that it may ask for another
_OF_GUARDS = ("unit", "tag")
_ORDERED = ("<", "<=", ">", ">=", "==", "!=")


@dataclass(frozen=True)
class Part:
    """A part that fails where the node is not `held`."""

    node: Node
    held: bool
    how: How


@dataclass(frozen=True)
class Idle:
    """What asks nothing. `alone`: nothing else of the rule asks for a number, a text or a flag."""

    part: Part
    alone: bool
    #: the only part
    whole: bool


def idle(every: Sequence[Typed]) -> Idle | None:
    """Of one expression over reports of several kinds; None where some report of one of them fails each part, or
    nobody knows."""
    asking = [_asking(one) for one in every]
    parts = [_worst(of_kinds) for of_kinds in zip(*asking, strict=True)]
    if not parts:
        return _looking(every)
    free = any(one.how in ("free", "point") for one in parts)
    nothing = (one for hows in (("never", "empty", "tried"), ("point",)) for one in parts if one.how in hows)
    found = next(nothing, None)
    if found is None and not free:
        found = parts[0]
    if found is None:
        return None
    return Idle(found, not free, len(list(_parts(every[0].tree, True))) == 1)


def _looking(every: Sequence[Typed]) -> Idle | None:
    """Of an expression that only asks what is there."""
    if all(truths(one) == {True} for one in every):
        return Idle(Part(every[0].tree, True, "never"), True, True)
    return None


def _worst(of_kinds: Sequence[Part]) -> Part:
    return min(of_kinds, key=lambda one: ("free", "doubtful", "point", "tried", "empty", "never").index(one.how))


def _asking(text: Typed) -> list[Part]:
    """The parts that ask more than whether something is there."""
    return [
        Part(node, held, _how(text, node, held))
        for node, held in _parts(text.tree, True)
        if not _looks(text, node) or _is_constant(node)
    ]


def _is_constant(node: Node) -> bool:
    return all(isinstance(one, Literal | Unary | Binary) for one in nodes(node))


def _parts(node: Node, held: bool) -> Iterator[tuple[Node, bool]]:
    """What has to be true, or where not `held` false, all of it."""
    if isinstance(node, Unary) and node.op == "!":
        yield from _parts(node.of, not held)
    elif isinstance(node, Binary) and node.op == ("&&" if held else "||"):
        yield from _parts(node.left, held)
        yield from _parts(node.right, held)
    elif isinstance(node, Choice) and isinstance(node.no, Literal) and node.no.value is (not held):
        yield from _parts(node.test, True)
        yield from _parts(node.yes, held)
    else:
        yield node, held


def _looks(text: Typed, node: Node) -> bool:
    """Whether it only asks what is there, how many there are, and in which unit."""
    if isinstance(node, Literal):
        return True
    if isinstance(node, Unary):
        return _looks(text, node.of)
    if isinstance(node, Binary):
        return node.op == "in" or (_looks(text, node.left) and _looks(text, node.right))
    if isinstance(node, Call):
        return node.function == "has" or (
            node.function == "size" and not any(isinstance(one, Macro) for one in nodes(node))
        )
    above = text.types.get(node.of) if isinstance(node, Select) else None
    return isinstance(node, Select) and isinstance(above, Thing) and bool(above.datum) and node.field in _OF_GUARDS


def _is_point(text: Typed, node: Node, held: bool) -> bool:
    """Whether it asks of a number that it is not another one with a fraction: of all that there are."""
    if not isinstance(node, Binary) or node.op != ("!=" if held else "=="):
        return False
    for number, constant in ((node.left, node.right), (node.right, node.left)):
        written = constant.of if isinstance(constant, Unary) and constant.op == "-" else constant
        whole = not isinstance(written, Literal) or not isinstance(written.value, Fraction) or written.value % 1 == 0
        found = text.types.get(number)
        if not whole and not _is_constant(number) and isinstance(found, Scalar) and found.name == "double":
            return True
    return False


def _how(text: Typed, node: Node, held: bool) -> How:
    if _is_point(text, node, held):
        return "point"
    failing = Search(text, node, not held)
    if failing.glance():
        return "free"
    if truths(text, node) == {held}:
        return "never"
    if truths(text, node, filled=True) == {held}:
        return "empty"
    found = failing.all()
    if found or not failing.read or _decided(text, node):
        return "free"
    if found is None or _thin(text, node):
        return "doubtful"
    return "empty" if Search(text, node, not held, filled=False).glance() else "tried"


def _decided(text: Typed, node: Node) -> bool:
    """Whether all that is asked is sums of numbers that have nothing to do with each other: then what is not proven to
    be impossible is possible."""
    return not any(isinstance(one, Macro) for one in nodes(node)) and _is_sum(node) and _apart(text, node)


def _is_sum(node: Node) -> bool:
    if isinstance(node, Call):
        return node.function in ("size", "double", "has")
    if isinstance(node, Binary):
        if node.op == "%" or (node.op == "/" and not isinstance(node.right, Literal)):
            return False
        if node.op == "*" and not any(isinstance(one, Literal) for one in (node.left, node.right)):
            return False
        return _is_sum(node.left) and _is_sum(node.right)
    if isinstance(node, Unary):
        return _is_sum(node.of)
    if isinstance(node, Choice):
        return all(map(_is_sum, (node.test, node.yes, node.no)))
    return True


def _apart(text: Typed, node: Node) -> bool:
    """Whether no two numbers of one datum are read."""
    fields: dict[str, set[str]] = {}
    for one in nodes(node):
        above = text.types.get(one.of) if isinstance(one, Select | Index) else None
        if isinstance(one, Select) and isinstance(above, Thing) and above.datum and one.field not in _OF_GUARDS:
            fields.setdefault(path_of(one.of), set()).add(one.field)
    return all(len(found) == 1 for found in fields.values())


def _thin(text: Typed, node: Node) -> bool:
    """Whether one number alone may fail it: that one lies at no corner."""
    return any(
        isinstance(one, Binary)
        and one.op in ("==", "!=")
        and isinstance(found := text.types[one.left], Scalar)
        and found.name in ("int", "double")
        for one in nodes(node)
    )
