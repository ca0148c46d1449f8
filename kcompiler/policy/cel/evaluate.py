"""A typed tree × reports → its value. No error is swallowed: `a || b` looks at b only where a is false.

Whatever is read of a datum is read as every gate reads one (`kcompiler.policy.datum`): what contradicts itself is no
evidence, what is unavailable, estimated, or rests on too few items is not enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from kcompiler.policy import interval
from kcompiler.policy.cel.check import Typed
from kcompiler.policy.cel.syntax import (
    LEAST_INT,
    MOST_INT,
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
from kcompiler.policy.cel.types import ListOf, Thing, Type
from kcompiler.policy.comparison import Need
from kcompiler.policy.datum import RATE, BadDatum, Datum, fraction, read
from kcompiler.policy.path import escape

#: nodes walked in one evaluation; bits of a number, so that no product grows without bound
MOST_STEPS, MOST_BITS = 100_000, 8192


class Lacking(Exception):
    """The evidence is not there."""

    def __init__(self, reason: str, pointer: str = "") -> None:
        super().__init__(reason)
        self.reason, self.pointer = reason, pointer


class Undecided(Lacking):
    """The evidence is there, and too little."""


class Unsound(Lacking):
    """The evidence makes no sense, or the expression has no value."""


@dataclass(frozen=True)
class At:
    """A part of a report that is no scalar, and where it stands."""

    node: Any
    pointer: str


Value = bool | int | Fraction | str | At | tuple[Any, ...] | None


@dataclass
class Run:
    """One evaluation: what it may read, and what it has read."""

    typed: Typed
    values: Mapping[str, Value]
    need: Need = field(default_factory=Need)
    #: least number of items behind each rate that is read
    rates: int | None = None
    steps: int = 0
    #: pointers of the data that were read, in order
    reads: list[str] = field(default_factory=list)

    def value(self, node: Node) -> Value:
        """The value of a node. Raises Lacking, Undecided, Unsound."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Unsound(f"more than {MOST_STEPS} steps")
        rule: Callable[[Run, Any], Value] = _RULES[type(node)]
        return rule(self, node)

    def truth(self, node: Node) -> bool:
        """The value of a node of type bool."""
        return self.value(node) is True


def evaluated(typed: Typed, values: Mapping[str, Any], need: Need | None = None) -> Value:
    """The value of an expression over reports: each variable is a JSON value. Raises Lacking, Undecided, Unsound."""
    return Run(typed, {name: At(one, "") for name, one in values.items()}, need or Need()).value(typed.tree)


def _of_json(raw: Any, found: Type, pointer: str) -> Value:
    """What stands in a report, as its type says."""
    if isinstance(found, Thing | ListOf):
        return At(raw, pointer)
    if found.name == "double" and (number := fraction(raw)) is not None:
        return number
    if found.name == "int" and isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if (found.name == "string" and isinstance(raw, str)) or (found.name == "bool" and isinstance(raw, bool)):
        return raw
    raise Unsound(f"no {found.name} stands there", pointer)


def _select(run: Run, node: Select) -> Value:
    return _field(run, run.value(node.of), node.field, node)


def _field(run: Run, above: Value, name: str, node: Node) -> Value:
    of = node.of if isinstance(node, Select | Index) else node
    kind = run.typed.types[of]
    assert isinstance(above, At)
    if isinstance(kind, Thing) and kind.datum:
        return _of_datum(run, above, name)
    if not isinstance(above.node, dict) or name not in above.node:
        raise Lacking(f"no field `{name}` here", above.pointer)
    return _of_json(above.node[name], run.typed.types[node], f"{above.pointer}/{escape(name)}")


def _of_datum(run: Run, above: At, name: str) -> Value:
    if name in ("unit", "tag", "by", "reason"):
        if name not in above.node:
            raise Lacking(f"it has no `{name}`", above.pointer)
        return str(above.node[name])
    try:
        datum = read(above.node)
    except BadDatum as error:
        raise Unsound(str(error), above.pointer) from None
    _enough(run, datum, above.pointer)
    run.reads.append(above.pointer)
    found = {
        "value": datum.flag if datum.flag is not None else datum.value,
        "k": datum.k,
        "n": datum.n,
        # counts are exact, ends are doubles: the double of the value is the value
        "low": None if datum.low is None or datum.value is None else min(datum.low, datum.value),
        "high": None if datum.high is None or datum.value is None else max(datum.high, datum.value),
    }.get(name)
    if name in ("tp", "fp", "fn") and isinstance(above.node.get(name), int):
        found = int(above.node[name])
    if found is None:
        raise Lacking(f"it has no `{name}`", above.pointer)
    return found


def _enough(run: Run, datum: Datum, pointer: str) -> None:
    if datum.tag == "unavailable":
        raise Lacking(f"unavailable: {datum.reason}", pointer)
    if datum.tag == "estimated" and run.need.tag == "measured":
        raise Lacking("estimated, not measured", pointer)
    least = run.rates if run.need.min_n is None and datum.unit == RATE else run.need.min_n
    if least is None or datum.flag is not None:
        return
    if datum.n is None:
        raise Lacking("no count stands behind it", pointer)
    if datum.n < least:
        raise Undecided(f"{datum.n} items, at least {least} are needed", pointer)


def _index(run: Run, node: Index) -> Value:
    above, key = run.value(node.of), run.value(node.key)
    if isinstance(key, str):
        return _field(run, above, key, node)
    assert isinstance(key, int)
    items = _items(run, node.of, above)
    if not 0 <= key < len(items):
        raise Lacking(
            f"{len(items)} elements, and none with the number {key}", above.pointer if isinstance(above, At) else ""
        )
    return items[key]


def _items(run: Run, node: Node, above: Value) -> Sequence[Value]:
    """The elements of a list, the keys of an object."""
    found = run.typed.types[node]
    if isinstance(above, tuple):
        return above
    assert isinstance(above, At)
    if isinstance(found, ListOf) and isinstance(above.node, list):
        return [_of_json(one, found.item, f"{above.pointer}/{number}") for number, one in enumerate(above.node)]
    if isinstance(found, Thing) and isinstance(above.node, dict):
        return sorted(above.node)
    raise Unsound("neither a list nor an object stands there", above.pointer)


def _unary(run: Run, node: Unary) -> Value:
    value = run.value(node.of)
    if node.op == "!":
        return value is not True
    assert isinstance(value, int | Fraction)
    return _bounded(-value)


def _bounded(number: int | Fraction) -> int | Fraction:
    if isinstance(number, int):
        if not LEAST_INT <= number <= MOST_INT:
            raise Unsound("a whole number beyond 64 bits")
    elif max(number.numerator.bit_length(), number.denominator.bit_length()) > MOST_BITS:
        raise Unsound(f"a number beyond {MOST_BITS} bits")
    return number


def _binary(run: Run, node: Binary) -> Value:
    if node.op == "&&":
        return run.truth(node.left) and run.truth(node.right)
    if node.op == "||":
        return run.truth(node.left) or run.truth(node.right)
    left, right = run.value(node.left), run.value(node.right)
    if node.op == "in":
        items = _items(run, node.right, right)
        return any(_equal(run, left, one) for one in items)
    if node.op in ("==", "!="):
        return _equal(run, left, right) is (node.op == "==")
    if node.op in ("<", "<=", ">", ">="):
        return _ordered(node.op, left, right)
    return _arithmetic(node.op, left, right)


def _equal(run: Run, left: Value, right: Value) -> bool:
    if isinstance(left, At | tuple) or isinstance(right, At | tuple):
        one, other = (_plain(run, side) for side in (left, right))
        return len(one) == len(other) and all(_equal(run, *pair) for pair in zip(one, other, strict=True))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _plain(run: Run, value: Value) -> Sequence[Value]:
    if isinstance(value, tuple):
        return value
    assert isinstance(value, At)
    return [fraction(one) if isinstance(one, float) else one for one in value.node]


def _ordered(op: str, left: Any, right: Any) -> bool:
    found: dict[str, Callable[[], bool]] = {
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
    }
    return bool(found[op]())


def _arithmetic(op: str, left: Value, right: Value) -> Value:
    assert isinstance(left, int | Fraction)
    assert isinstance(right, int | Fraction)
    if op in ("/", "%") and not right:
        raise Unsound("a division by zero")
    if op == "/":
        return _bounded(Fraction(left) / Fraction(right))
    if op == "%":  # of the sign of the first number, as in CEL
        assert isinstance(left, int)
        assert isinstance(right, int)
        rest = abs(left) % abs(right)
        return _bounded(-rest if left < 0 else rest)
    return _bounded(left + right if op == "+" else left - right if op == "-" else left * right)


def _call(run: Run, node: Call) -> Value:
    if node.function == "has":
        inner = node.args[0]
        assert isinstance(inner, Select)
        return _there(run, inner)
    args = [run.value(one) for one in ([] if node.of is None else [node.of]) + list(node.args)]
    if node.function == "size":
        of = node.of if node.of is not None else node.args[0]
        return len(args[0]) if isinstance(args[0], str) else len(_items(run, of, args[0]))
    if node.function in _OF_TEXTS:
        return bool(_OF_TEXTS[node.function](*args))
    return _OF_NUMBERS[node.function](*args)


def _there(run: Run, node: Select) -> bool:
    """Whether a field is there."""
    above = run.value(node.of)
    assert isinstance(above, At)
    return isinstance(above.node, dict) and node.field in above.node


def _rate(end: Callable[[int, int], Fraction]) -> Callable[..., Value]:
    def found(k: Any, n: Any) -> Value:
        if not 0 <= k <= n or not n:
            raise Unsound(f"{k} of {n} is no rate")
        return end(k, n)

    return found


_OF_TEXTS: Mapping[str, Callable[..., bool]] = {
    "contains": lambda text, part: part in text,
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
}
_OF_NUMBERS: Mapping[str, Callable[..., Value]] = {
    "double": lambda number: Fraction(number),
    "abs": lambda number: _bounded(abs(number)),
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "rate_low": _rate(interval.lower),
    "rate_high": _rate(interval.upper),
}


def _macro(run: Run, node: Macro) -> Value:
    items = _items(run, node.of, run.value(node.of))
    each = _each(run, node, items)
    if node.macro == "all":
        return all(found is True for _, found in each)
    if node.macro == "exists":
        return any(found is True for _, found in each)
    if node.macro == "exists_one":
        return sum(found is True for _, found in each) == 1
    if node.macro == "map":
        return tuple(found for _, found in each)
    return tuple(item for item, found in each if found is True)


def _each(run: Run, node: Macro, items: Sequence[Value]) -> Iterator[tuple[Value, Value]]:
    before = run.values
    for item in items:
        run.values = {**before, node.name: item}
        found = run.value(node.body)
        run.values = before
        yield item, found


def _choice(run: Run, node: Choice) -> Value:
    return run.value(node.yes if run.truth(node.test) else node.no)


def _listed(run: Run, node: Listed) -> Value:
    return tuple(run.value(one) for one in node.items)


_RULES: Mapping[type, Callable[[Run, Any], Value]] = {
    Literal: lambda _, node: node.value,
    Name: lambda run, node: run.values[node.name],
    Listed: _listed,
    Select: _select,
    Index: _index,
    Unary: _unary,
    Binary: _binary,
    Choice: _choice,
    Call: _call,
    Macro: _macro,
}
