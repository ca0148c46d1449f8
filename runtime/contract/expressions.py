"""A small language of expressions, without assignment, loops or calls of anything but a dozen functions → values.

Its syntax is Python's, its values are JSON's. Nothing is executed by Python: the text is parsed to a tree, the tree is
checked against a list of what may stand in it, and walked here. Every evaluation has a budget of steps, every text,
list and integer a largest size, so that no fixture, and no argument a model writes, takes time or memory without bound.

What a partial world does not hold is *unknown*, which is no value: an expression that needs it raises `Unknown`, and
the call is a miss. `either(a, b)` takes b where a is unknown; `first([… for x in y if …], otherwise)` looks no further
than the first item, so that what comes after it may be unknown.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtime.contract.strict_json import MAX_INTEGER, Json

#: longest text of an expression, deepest nesting of it
MOST_TEXT, MOST_DEPTH = 4000, 40
#: nodes walked in one evaluation
MOST_STEPS = 20_000
#: characters of a text, items of a list
MOST_SIZE = 1 << 18
#: largest exponent of a power
_MOST_POWER = 64
#: the characters of a sum that a model may ask a calculator for
_SUM = re.compile(r"[0-9+\-*/(). ]{1,400}")


class Unknown(Exception):
    """Something that was never recorded is needed."""


class Wrong(Exception):
    """An expression that has no value: a type that does not fit, a key that is not there, a size beyond its bound."""


class Partial(dict[str, Json]):
    """A collection of which only some entries are known: what it does not hold is unknown, not absent."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked text; `names` are the variables it reads."""

    text: str
    tree: ast.expr
    names: frozenset[str]


_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: a**b,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda a, b: bool(a == b),
    ast.NotEq: lambda a, b: bool(a != b),
    ast.Lt: lambda a, b: bool(a < b),
    ast.LtE: lambda a, b: bool(a <= b),
    ast.Gt: lambda a, b: bool(a > b),
    ast.GtE: lambda a, b: bool(a >= b),
}
_ALLOWED = (
    ast.Constant, ast.Name, ast.Load, ast.List, ast.Dict, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp,
    ast.Subscript, ast.Attribute, ast.Call, ast.ListComp, ast.comprehension, ast.JoinedStr, ast.FormattedValue,
    ast.And, ast.Or, ast.Not, ast.USub, ast.In, ast.NotIn, *_OPERATORS, *_COMPARISONS,
)  # fmt: skip
FUNCTIONS = (
    "abs", "all", "any", "arithmetic", "either", "first", "float", "int", "json", "known", "len", "max", "merge",
    "merged", "min", "number", "parsed", "round", "str", "sum", "unknown", "without",
)  # fmt: skip


@lru_cache(maxsize=4096)
def parse(text: str, variables: frozenset[str]) -> Expression:
    """A text as an expression over some variables. Raises ValueError with the column of what may not stand in it."""
    if len(text) > MOST_TEXT:
        raise ValueError(f"an expression of {len(text)} characters; at most {MOST_TEXT} are read")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, MemoryError, RecursionError, ValueError) as error:
        at = f" at column {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ValueError(f"no expression{at}") from None
    names: set[str] = set()
    _check(tree, variables, names, 0)
    return Expression(text, tree, frozenset(names))


def _check(node: ast.AST, known: frozenset[str], names: set[str], depth: int) -> None:
    at = f"at column {getattr(node, 'col_offset', 0) + 1}"
    if depth > MOST_DEPTH:
        raise ValueError(f"nested deeper than {MOST_DEPTH} {at}")
    if not isinstance(node, _ALLOWED):
        raise ValueError(f"`{type(node).__name__}` {at} is no part of the language of fixtures")
    if isinstance(node, ast.Constant):
        if not (node.value is None or type(node.value) in (bool, int, float, str)):
            raise ValueError(f"{node.value!r} {at} is no JSON value")
        if type(node.value) is int and abs(node.value) > MAX_INTEGER:
            raise ValueError(f"an integer beyond 2^53 - 1 {at}")
    elif isinstance(node, ast.Name):
        if node.id not in known:
            raise ValueError(f"`{node.id}` {at} is no variable; there are {', '.join(sorted(known))}")
        names.add(node.id)
    elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
        raise ValueError(f"`{node.attr}` {at}: write a key that begins with _ in brackets")
    elif isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            raise ValueError(f"no such function {at}; there are {', '.join(FUNCTIONS)}")
        for argument in node.args:
            _check(argument, known, names, depth + 1)
        return
    elif isinstance(node, ast.ListComp):
        if len(node.generators) != 1 or node.generators[0].is_async:
            raise ValueError(f"a list is made from one list {at}")
        made = node.generators[0]
        if not isinstance(made.target, ast.Name) or made.target.id in known or made.target.id in FUNCTIONS:
            raise ValueError(f"the items of a list need a new name {at}")
        _check(made.iter, known, names, depth + 1)
        inner = known | {made.target.id}
        own: set[str] = set()
        for part in (node.elt, *made.ifs):
            _check(part, inner, own, depth + 1)
        names |= own - {made.target.id}
        return
    elif isinstance(node, ast.FormattedValue) and (node.conversion != -1 or node.format_spec is not None):
        raise ValueError(f"a text takes values as they are {at}")
    elif isinstance(node, ast.Dict) and any(key is None for key in node.keys):
        raise ValueError(f"write merge(a, b) {at}")
    for child in ast.iter_child_nodes(node):
        _check(child, known, names, depth + 1)


def members(expression: Expression, variable: str) -> set[str]:
    """Which fields of a variable an expression names."""
    return {
        node.attr
        for node in ast.walk(expression.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == variable
    }


def evaluate(expression: Expression, variables: dict[str, Json], named: Mapping[str, Expression] | None = None) -> Json:
    """The value of an expression. `named` are further variables, worked out when they are first read, and kept: what is
    not needed may be unknown. Raises Unknown, and Wrong for an expression that has no value."""
    found: Json = _weighed(_Walk(variables, named or {}).value(expression.tree))
    return found


class _Walk:
    """One evaluation, with what is left of its budget."""

    def __init__(self, variables: dict[str, Json], named: Mapping[str, Expression]) -> None:
        self._variables, self._named, self._left = variables, named, MOST_STEPS
        self._items_now: dict[str, Any] = {}

    def value(self, node: ast.expr) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Wrong(f"more than {MOST_STEPS} steps")
        try:
            return _bounded(getattr(self, f"_{type(node).__name__.lower()}")(node))
        except (TypeError, ZeroDivisionError, OverflowError, KeyError, IndexError, ValueError) as error:
            raise Wrong(f"{type(error).__name__}: {error}"[:200]) from None

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id in self._items_now:
            return self._items_now[node.id]
        if node.id not in self._variables and node.id in self._named:
            # written over the variables alone: the items of a list around it are not seen
            outer, self._items_now = self._items_now, {}
            try:
                self._variables[node.id] = self.value(self._named[node.id].tree)
            finally:
                self._items_now = outer
        return self._variables[node.id]

    def _list(self, node: ast.List) -> Any:
        return [self.value(item) for item in node.elts]

    def _dict(self, node: ast.Dict) -> Any:
        found = {}
        for key, item in zip(node.keys, node.values, strict=True):
            name = self.value(key) if key is not None else None
            if not isinstance(name, str):
                raise Wrong("a key is a text")
            found[name] = self.value(item)
        return found

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        number = _is_number(left) and _is_number(right)
        joined = isinstance(node.op, ast.Add) and type(left) is type(right) and isinstance(left, str | list)
        if not number and not joined:
            raise Wrong("arithmetic is of numbers; + also joins two texts or two lists")
        if isinstance(node.op, ast.Pow) and (abs(right) > _MOST_POWER or (left < 0 and right != int(right))):
            raise Wrong(f"an exponent beyond {_MOST_POWER}, or of a negative number one that is not whole")
        return _OPERATORS[type(node.op)](left, right)

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        inner = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return not _truth(inner)
        if not _is_number(inner):
            raise Wrong("a sign stands before a number")
        return -inner

    def _boolop(self, node: ast.BoolOp) -> Any:
        wanted = isinstance(node.op, ast.Or)
        return wanted if any(_truth(self.value(one)) is wanted for one in node.values) else not wanted

    def _compare(self, node: ast.Compare) -> Any:
        left = self.value(node.left)
        for operator, one in zip(node.ops, node.comparators, strict=True):
            right = self.value(one)
            if isinstance(operator, ast.In | ast.NotIn):
                holds = _within(left, right) is isinstance(operator, ast.In)
            elif isinstance(operator, ast.Eq | ast.NotEq):
                holds = _same(left, right) is isinstance(operator, ast.Eq)
            elif (_is_number(left) and _is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
                holds = _COMPARISONS[type(operator)](left, right)
            else:
                raise Wrong("only two numbers or two texts have an order")
            if not holds:
                return False
            left = right
        return True

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if _truth(self.value(node.test)) else node.orelse)

    def _subscript(self, node: ast.Subscript) -> Any:
        return _at(self.value(node.value), self.value(node.slice))

    def _attribute(self, node: ast.Attribute) -> Any:
        return _at(self.value(node.value), node.attr)

    def _joinedstr(self, node: ast.JoinedStr) -> Any:
        return "".join(_text(self.value(part)) for part in node.values)

    def _formattedvalue(self, node: ast.FormattedValue) -> Any:
        return self.value(node.value)

    def _listcomp(self, node: ast.ListComp) -> Any:
        return list(self._items(node))

    def _items(self, node: ast.ListComp) -> Iterator[Any]:
        made = node.generators[0]
        assert isinstance(made.target, ast.Name)
        items = self.value(made.iter)
        if isinstance(items, Partial):
            raise Unknown("all entries of a collection")
        for item in list(items) if isinstance(items, dict) else _listed(items):
            self._items_now[made.target.id] = item
            if all(_truth(self.value(test)) for test in made.ifs):
                yield self.value(node.elt)

    def _call(self, node: ast.Call) -> Any:
        assert isinstance(node.func, ast.Name)
        if node.func.id == "either":
            for one in node.args[:-1]:
                try:
                    return self.value(one)
                except Unknown:
                    continue
            return self.value(node.args[-1])
        if node.func.id == "first":
            if len(node.args) != 2 or not isinstance(node.args[0], ast.ListComp):
                raise Wrong("first([… for x in y], otherwise)")
            for item in self._items(node.args[0]):
                return item
            return self.value(node.args[1])
        return _CALLS[node.func.id](*[self.value(argument) for argument in node.args])


def _bounded(value: Any) -> Any:
    if isinstance(value, str | list | dict):
        if len(value) > MOST_SIZE:
            raise Wrong(f"a value of {len(value)} items; at most {MOST_SIZE}")
    elif type(value) is int:
        if abs(value) > MAX_INTEGER:
            raise Wrong("an integer beyond 2^53 - 1")
    elif type(value) is float and not math.isfinite(value):
        raise Wrong("a number that is not finite")
    return value


def _weighed(value: Any) -> Any:
    """The value, unless it holds too much in all: lists that hold one list twice may be small here, and without end
    when they are written."""
    waiting, left = [value], MOST_SIZE
    while waiting:
        one = waiting.pop()
        left -= 1 + len(one) if isinstance(one, str) else 1
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
        if left < 0 or len(waiting) > MOST_SIZE:
            raise Wrong(f"a value of more than {MOST_SIZE} characters and items")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong("a condition is true or false")
    return value


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Wrong("a list is needed")
    return value


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON: true is not 1."""
    for one in (left, right):
        if isinstance(one, list | dict):
            _weighed(one)
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _within(item: Any, whole: Any) -> bool:
    if isinstance(whole, Partial):
        if item in whole:
            return True
        raise Unknown(f"whether there is {item!r}")
    if isinstance(whole, dict) or (isinstance(whole, str) and isinstance(item, str)):
        return item in whole
    return any(_same(item, one) for one in _listed(whole))


def _at(whole: Any, key: Any) -> Any:
    if isinstance(whole, dict) and isinstance(key, str):
        if key not in whole and isinstance(whole, Partial):
            raise Unknown(repr(key))
        return whole[key]
    if isinstance(whole, list) and type(key) is int:
        return whole[key]
    raise Wrong("an object has keys, a list places")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_weighed(value), ensure_ascii=False)


def _known(whole: Any, key: Any) -> bool:
    if not isinstance(whole, dict):
        raise Wrong("known(collection, key)")
    return key in whole


def _unknown() -> Any:
    raise Unknown("what a fixture says is unknown")


def _merge(*parts: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, dict) or isinstance(part, Partial):
            raise Wrong("merge takes objects")
        made |= part
    return made


def _merged(pairs: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for pair in _listed(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise Wrong("merged takes a list of [key, value]")
        made[pair[0]] = pair[1]
    return made


def _without(whole: Any, key: Any) -> dict[str, Any]:
    return {name: value for name, value in _merge(whole).items() if name != key}


def _number(value: Any) -> int | float:
    if not _is_number(value):
        raise Wrong("a number is needed")
    return value  # type: ignore[no-any-return]


def _round(value: Any, places: Any = 0) -> Any:
    return round(_number(value), int(_number(places)))


def _conditions(value: Any) -> list[bool]:
    return [_truth(one) for one in _listed(value)]


def dumped(value: Any) -> str:
    """As Python's `json.dumps` writes it, which is how most tools answer."""
    return json.dumps(_weighed(value), allow_nan=False)


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        raise Wrong("a text is needed")
    return json.loads(text)


def arithmetic(text: Any) -> int | float:
    """A sum of numbers with + - * / ** and brackets, as somebody writes it to a calculator. Raises Wrong."""
    if not isinstance(text, str) or not _SUM.fullmatch(text):
        raise Wrong("no sum of numbers")
    try:
        found = evaluate(parse(text.strip(), frozenset()), {})
    except ValueError as error:
        raise Wrong(str(error)) from None
    return _number(found)


_CALLS: Mapping[str, Callable[..., Any]] = {
    "abs": lambda value: abs(_number(value)),
    "all": lambda value: all(_conditions(value)),
    "any": lambda value: any(_conditions(value)),
    "arithmetic": arithmetic,
    "float": lambda value: float(_number(value)),
    "int": lambda value: int(_number(value)),
    "json": dumped,
    "known": _known,
    "len": lambda value: len(_listed(value) if not isinstance(value, str | dict) else value),
    "max": lambda *values: max(_number(one) for one in values),
    "merge": _merge,
    "merged": _merged,
    "min": lambda *values: min(_number(one) for one in values),
    "number": _number,
    "parsed": _parsed,
    "round": _round,
    "str": _text,
    "sum": lambda value: sum(_number(one) for one in _listed(value)),
    "unknown": _unknown,
    "without": _without,
}
