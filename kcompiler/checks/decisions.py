"""Decisions against each other, against the spec they speak of, and against their own arithmetic.

Two values for one fact were the origin's commonest mistake: every document was right by itself. A decision is the one
place where a contradiction ends, so that it must not contradict anything.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

from kcompiler.checks import Check, World
from kcompiler.compose import overlay
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.source import Tree, Value
from kcompiler.spec import Spec

_OPERATIONS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LARGEST = 10**30


def _once(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    seen: dict[str, int] = {}
    for i, decision in enumerate(spec.decisions):
        key = " ".join(decision.about.casefold().split())
        first = seen.setdefault(key, i)
        if first != i:
            other = spec.decisions[first]
            same = other.value == decision.value
            yield tree.diagnostic(
                "KC4901",
                f"/decisions/{i}/value",
                f"`{decision.about}` is decided twice",
                label=f"{_shown(decision.value)}, {'again' if same else f'and {_shown(other.value)} before'}",
                help="keep one of the two; the other value belongs under `rejected`, with its source",
                related=(tree.related(f"/decisions/{first}/value", "the first decision"),),
            )


def _kept(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """What the spec says where a decision points."""
    for i, decision in enumerate(spec.decisions):
        if decision.field is None:
            continue
        found = overlay.lookup(tree.data, decision.field)
        if isinstance(found, overlay.Nowhere):
            yield tree.diagnostic(
                "KC4902",
                f"/decisions/{i}/field",
                f"`{decision.field}` leads nowhere in this spec",
                label=f"`{found.at}` has no `{found.part}`" if found.at else f"no section `{found.part}`",
                help=did_you_mean(found.part, found.known) or "name a place that the spec itself sets",
            )
        elif not _equal(decision.value, found.value):
            yield tree.diagnostic(
                "KC4903",
                found.pointer,
                "the spec does not say what was decided",
                label=f"{_shown(found.value)}; decided: {_shown(decision.value)}",
                help="write the decided value here, or decide anew with a reason",
                related=(tree.related(f"/decisions/{i}/value", decision.reason[:80]),),
            )


def _rejected(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, decision in enumerate(spec.decisions):
        for r, rejected in enumerate(decision.rejected):
            if _equal(rejected.value, decision.value):
                yield tree.diagnostic(
                    "KC4904",
                    f"/decisions/{i}/rejected/{r}/value",
                    "the value that holds is rejected in the same breath",
                    label=f"{_shown(rejected.value)} is the decision",
                    help="remove it here, or decide for another value",
                    related=(tree.related(f"/decisions/{i}/value", "decided"),),
                )
        if not decision.rejected and decision.field is None and decision.arithmetic is None:
            yield tree.diagnostic(
                "KC4906",
                f"/decisions/{i}",
                "this decision decides nothing",
                severity="warning",
                on="key",
                label="no value rejected, no field bound, nothing computed",
                help="name what was rejected, the field that must keep it, or the arithmetic behind it",
            )


def _computed(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, decision in enumerate(spec.decisions):
        if decision.arithmetic is None:
            continue
        pointer = f"/decisions/{i}/arithmetic"
        result = evaluate(decision.arithmetic)
        value = _number(decision.value)
        if isinstance(result, str) or value is None:
            why = result if isinstance(result, str) else f"{_shown(decision.value)} is no number to compare with"
            yield tree.diagnostic(
                "KC4905", pointer, "this cannot be computed", label=why, help="write numbers, + - * / and brackets"
            )
        elif abs(value - result) * 100 > Fraction(str(decision.tolerance_percent)) * abs(result):
            yield tree.diagnostic(
                "KC4905",
                pointer,
                f"the arithmetic of `{decision.about}` gives another value",
                label=f"= {float(result):.6g}, decided: {_shown(decision.value)}",
                help="correct the value or the arithmetic; tolerance_percent says how far apart they may be",
                related=(tree.related(f"/decisions/{i}/value", "decided"),),
            )


def evaluate(text: str) -> Fraction | str:
    """The exact value of an expression, or why it has none. Nothing but numbers and four operations is understood."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _value(tree.body)
    except ZeroDivisionError:
        return "a division by zero"
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "not an expression of numbers"


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        found = Fraction(str(node.value))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        found = -_value(node.operand) if isinstance(node.op, ast.USub) else _value(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        found = _OPERATIONS[type(node.op)](_value(node.left), _value(node.right))
    else:
        raise ValueError("another kind of expression")
    if abs(found) > _LARGEST:
        raise ValueError("a number too large")
    return found


def _number(value: object) -> Fraction | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else Fraction(str(value))


def _equal(decided: object, found: Value | object) -> bool:
    """Numbers by their value, anything else as it is written: 16384 is 16384.0, and true is not 1."""
    left, right = _number(decided), _number(found)
    if left is not None and right is not None:
        return left == right
    if isinstance(found, list):
        return str(decided) == ", ".join(map(str, found))
    return type(decided) is type(found) and decided == found


def _shown(value: object) -> str:
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


CHECKS = (
    Check(_once, "decisions"),
    Check(_kept, "decisions", whole=True),
    Check(_rejected, "decisions", whole=True),
    Check(_computed, "decisions", whole=True),
)
