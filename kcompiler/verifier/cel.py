"""An expression of a rule of kind `assert` × reports → what it comes to. Standard library only.

The subset of CEL that rules use, read and evaluated without types: whoever made the plan has checked them. What is not
read here is `NotRead`, so that no verdict rests on a guess.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from kcompiler.verifier.datum import RATE, BadDatum, exact_number, is_datum, read
from kcompiler.verifier.paths import escaped
from kcompiler.verifier.said import Said, distance
from kcompiler.verifier.statistics import lower, upper

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?)(?![\w.])|\"(?P<double>[^\"\\\n]*)\"|'(?P<single>[^'\\\n]*)'"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<mark>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]]))"
)
_MACROS = ("all", "exists", "exists_one", "filter", "map")
_LEVELS = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
_MOST_STEPS = 100_000
Node = Tuple[Any, ...]


class NotRead(ValueError):
    """The text is not read here."""


class Stopped(Exception):
    """Why a part has no value: `word` is the outcome."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class _At(NamedTuple):
    node: Any
    pointer: str


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: List[Tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise NotRead(text[at : at + 20])
            kind = str(match.lastgroup)
            self.tokens.append((kind, match[kind]))
            at = match.end()
        self.tokens.append(("end", ""))
        self.next = 0

    def mark(self, *marks: str) -> bool:
        """Whether one of these comes next, which is then taken."""
        kind, text = self.tokens[self.next]
        found = kind in ("mark", "name") and text in marks
        self.next += found
        return found

    def need(self, mark: str) -> None:
        if not self.mark(mark):
            raise NotRead(f"`{mark}` is due at `{self.tokens[self.next][1]}`")

    def whole(self) -> Node:
        node = self.choice()
        if self.tokens[self.next][0] != "end":
            raise NotRead(self.tokens[self.next][1])
        return node

    def choice(self) -> Node:
        node = self.level(0)
        if not self.mark("?"):
            return node
        yes = self.level(0)
        self.need(":")
        return ("choice", node, yes, self.choice())

    def level(self, depth: int) -> Node:
        if depth == len(_LEVELS):
            return self.unary()
        node = self.level(depth + 1)
        while self.mark(*_LEVELS[depth]):
            op = self.tokens[self.next - 1][1]
            node = ("binary", op, node, self.level(depth + 1))
        return node

    def unary(self) -> Node:
        if self.mark("!", "-"):
            return ("unary", self.tokens[self.next - 1][1], self.unary())
        return self.member()

    def member(self) -> Node:
        node = self.primary()
        while True:
            if self.mark("["):
                node = ("index", node, self.choice())
                self.need("]")
            elif self.mark("."):
                kind, name = self.tokens[self.next]
                if kind != "name":
                    raise NotRead(name)
                self.next += 1
                node = self.called(node, name) if self.mark("(") else ("select", node, name)
            else:
                return node

    def called(self, of: Optional[Node], name: str) -> Node:
        args = self.args(")")
        if of is not None and name in _MACROS:
            if len(args) != 2 or args[0][0] != "name":
                raise NotRead(name)
            return ("macro", name, of, args[0][1], args[1])
        return ("call", name, args if of is None else (of, *args))

    def args(self, closing: str) -> Tuple[Node, ...]:
        found: List[Node] = []
        while not self.mark(closing):
            if found:
                self.need(",")
            found.append(self.choice())
        return tuple(found)

    def primary(self) -> Node:
        kind, text = self.tokens[self.next]
        self.next += 1
        if kind == "number":
            return ("value", Fraction(text) if "." in text else int(text))
        if kind in ("double", "single"):
            return ("value", text)
        if kind == "name" and text in ("true", "false"):
            return ("value", text == "true")
        if kind == "name" and text not in ("in", "null"):
            return self.called(None, text) if self.mark("(") else ("name", text)
        if text == "(" and kind == "mark":
            node = self.choice()
            self.need(")")
            return node
        if text == "[" and kind == "mark":
            return ("list", self.args("]"))
        raise NotRead(text)


class _Run:
    def __init__(self, values: Mapping[str, Any], need: Mapping[str, Any], rates: Optional[int]) -> None:
        self.values, self.need, self.rates = dict(values), need, rates
        self.steps = 0
        self.reads: Set[str] = set()

    def value(self, node: Node) -> Any:
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise Stopped("error")
        what = node[0]
        if what == "value":
            return node[1]
        if what == "name":
            return self.values[node[1]]
        if what == "list":
            return [self.value(one) for one in node[1]]
        if what == "choice":
            return self.value(node[2] if self.value(node[1]) is True else node[3])
        if what == "unary":
            inner = self.value(node[2])
            return inner is not True if node[1] == "!" else -inner
        if what == "select":
            return self.field(self.value(node[1]), node[2])
        if what == "index":
            return self.index(self.value(node[1]), self.value(node[2]))
        if what == "binary":
            return self.binary(node[1], node[2], node[3])
        if what == "macro":
            return self.macro(node[1], self.items(self.value(node[2])), node[3], node[4])
        return self.call(node[1], node[2])

    def field(self, above: Any, name: str) -> Any:
        if not isinstance(above, _At) or not isinstance(above.node, dict):
            raise Stopped("not_evaluated")
        if is_datum(above.node):
            return self.of_datum(above, name)
        if name not in above.node:
            raise Stopped("not_evaluated")
        return _seen(above.node[name], f"{above.pointer}/{escaped(name)}")

    def of_datum(self, above: _At, name: str) -> Any:
        if name in ("unit", "tag", "by", "reason"):
            if name not in above.node:
                raise Stopped("not_evaluated")
            return str(above.node[name])
        try:
            found = read(above.node)
        except BadDatum:
            raise Stopped("error") from None
        if found.tag == "unavailable" or (found.tag == "estimated" and self.need["tag"] == "measured"):
            raise Stopped("not_evaluated")
        least = self.rates if self.need["min_n"] is None and found.unit == RATE else self.need["min_n"]
        if least is not None and found.flag is None and (found.n is None or found.n < least):
            raise Stopped("not_evaluated" if found.n is None else "inconclusive")
        self.reads.add(above.pointer)
        value = {
            "value": found.flag if found.flag is not None else found.value,
            "k": found.k,
            "n": found.n,
            "low": _beyond(min, found.low, found.value),
            "high": _beyond(max, found.high, found.value),
        }.get(name)
        if name in ("tp", "fp", "fn") and isinstance(above.node.get(name), int):
            value = above.node[name]
        if value is None:
            raise Stopped("not_evaluated")
        return value

    def items(self, above: Any) -> Sequence[Any]:
        if isinstance(above, list):
            return above
        if isinstance(above, _At) and isinstance(above.node, list):
            return [_seen(one, f"{above.pointer}/{number}") for number, one in enumerate(above.node)]
        if isinstance(above, _At) and isinstance(above.node, dict):
            return sorted(above.node)
        raise Stopped("error")

    def index(self, above: Any, key: Any) -> Any:
        if isinstance(key, str):
            return self.field(above, key)
        items = self.items(above)
        if not 0 <= key < len(items):
            raise Stopped("not_evaluated")
        return items[int(key)]

    def binary(self, op: str, one: Node, other: Node) -> Any:
        if op in ("&&", "||"):
            left = self.value(one) is True
            return left if left is (op == "||") else self.value(other) is True
        left, right = self.value(one), self.value(other)
        if op == "in":
            return any(_equal(left, item) for item in self.items(right))
        if op in ("==", "!="):
            return _equal(left, right) is (op == "==")
        if op in _ORDERED:
            return _ORDERED[op](left, right)
        if op in ("/", "%") and not right:
            raise Stopped("error")
        if op == "%":
            return abs(left) % abs(right) * (-1 if left < 0 else 1)
        return {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right}.get(
            op, lambda: Fraction(left) / Fraction(right)
        )()

    def macro(self, macro: str, items: Sequence[Any], name: str, body: Node) -> Any:
        def each(item: Any) -> Any:
            before = dict(self.values)
            self.values[name] = item
            found = self.value(body)
            self.values = before
            return found

        if macro == "all":
            return all(each(item) is True for item in items)
        if macro == "exists":
            return any(each(item) is True for item in items)
        if macro == "exists_one":
            return sum([each(item) is True for item in items]) == 1
        if macro == "map":
            return [each(item) for item in items]
        return [item for item in items if each(item) is True]

    def call(self, function: str, args: Tuple[Node, ...]) -> Any:
        if function == "has":
            if len(args) != 1 or args[0][0] != "select":
                raise NotRead("has")
            above = self.value(args[0][1])
            return isinstance(above, _At) and isinstance(above.node, dict) and args[0][2] in above.node
        if function not in _FUNCTIONS:
            raise NotRead(function)
        values = [self.value(one) for one in args]
        if function == "size" and not isinstance(values[0], str):
            return len(self.items(values[0]))
        return _FUNCTIONS[function](*values)


def _rate(end: Callable[[int, int], Fraction]) -> Callable[[Any, Any], Fraction]:
    def found(k: Any, n: Any) -> Fraction:
        if not 0 <= k <= n or not n:
            raise Stopped("error")
        return end(k, n)

    return found


_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "size": len,
    "contains": lambda text, part: part in text,
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
    "double": Fraction,
    "abs": abs,
    "min": min,
    "max": max,
    "rate_low": _rate(lower),
    "rate_high": _rate(upper),
}


def _beyond(of: Callable[..., Fraction], end: Any, value: Optional[Fraction]) -> Optional[Fraction]:
    """An end of an interval: where it is the double of the value, it is the value."""
    written = exact_number(end)
    return None if written is None or value is None else of(written, value)


def _seen(raw: Any, pointer: str) -> Any:
    if isinstance(raw, (dict, list)):
        return _At(raw, pointer)
    number = exact_number(raw) if isinstance(raw, float) else raw
    if number is None:
        raise Stopped("error")
    return number


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, (_At, list)) or isinstance(other, (_At, list)):
        left, right = (side.node if isinstance(side, _At) else side for side in (one, other))
        return len(left) == len(right) and all(map(_equal, left, right))
    return one is other if isinstance(one, bool) or isinstance(other, bool) else bool(one == other)


def _parts(node: Node) -> List[Node]:
    return [*_parts(node[2]), *_parts(node[3])] if node[:2] == ("binary", "&&") else [node]


def _part(run: _Run, node: Node) -> Said:
    """How one of the parts joined by `&&` ended. Raises NotRead."""
    run.reads = set()
    try:
        holds = run.value(node) is True
        asks = node[:2] == ("call", "has") or node[:2] == ("binary", "in")
        if not holds and asks:
            return Said("not_evaluated")
        return Said("pass" if holds else "fail", _margin(run, node))
    except Stopped as stopped:
        return Said(stopped.word)
    except (LookupError, TypeError, AttributeError, ArithmeticError):
        return Said("error")


def _margin(run: _Run, node: Node) -> Optional[Fraction]:
    """Of a comparison of numbers how far inside of its bound it is; None of anything else."""
    if node[0] != "binary" or node[1] not in (*_ORDERED, "=="):
        return None
    left, right = run.value(node[2]), run.value(node[3])
    if any(isinstance(side, bool) or not isinstance(side, (int, Fraction)) for side in (left, right)):
        return None
    return distance(node[1], Fraction(left), Fraction(right))


def asserted(params: Mapping[str, Any], data: Mapping[str, Any], other: Optional[Mapping[str, Any]]) -> Said:
    """The outcome of `assert`: the first of the parts joined by `&&` that is not true decides. Raises NotRead."""
    tree = _Parser(params["that"]).whole()
    values: Dict[str, Any] = {"report": _At(data, "/data")}
    if other is not None:
        values["other"] = _At(other, "/data")
    run, count = _Run(values, params["need"], params["rates_min_n"]), 0
    nodes = _parts(tree)
    for number, node in enumerate(nodes):
        found = _part(run, node)
        if found.word == "fail":
            rest = [_part(run, one) for one in nodes[number + 1 :]]
            margin = found.margin
            if margin is not None:
                margin = min([margin, *(one.margin or Fraction(0) for one in rest if one.word == "fail")])
            return Said("fail", margin, frozenset(tag for one in rest for tag in one.tags) | found.tags)
        if found.word != "pass":
            return found
        count += len(run.reads)
    return Said("pass" if count else "not_evaluated")
