"""A tree × the schemas of what it may read → every node with its type, or the first thing that a gate must not rest on.

Beside types two things are known at each node: what is *there* (after `has(p) &&`, under `has(p) ? … :`, behind
`!has(p) ||`), and which lists are *not empty* (after `size(p) > 0 &&`). What may be absent is read only where it is
known to be there; that all elements of a list are good is asked only where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from kcompiler.diagnostic import did_you_mean
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
    Refused,
    Select,
    Unary,
    parse,
)
from kcompiler.policy.cel.types import BOOL, DOUBLE, INT, NULL, STRING, ListOf, Scalar, Thing, Type, said
from kcompiler.policy.shape import Lost

#: what is known where an expression is read: ("there", path), ("unit", "path=unit"), ("some", path) of a list that is
#: not empty
Facts = frozenset[tuple[str, str]]
_NUMBERS = ("int", "double")
#: fields of a datum beside its value; those of numbers are there only where the report has counted
_OF_DATUM: Mapping[str, Type] = {
    "k": INT, "n": INT, "tp": INT, "fp": INT, "fn": INT, "low": DOUBLE, "high": DOUBLE, "unit": STRING, "by": STRING,
    "tag": Scalar("string", ("estimated", "measured", "unavailable")), "reason": STRING,
}  # fmt: skip
_ALWAYS = ("value", "unit", "tag")
#: function → the types of what it takes, and of what it gives
_PLAIN: Mapping[str, tuple[tuple[Type, ...], Type]] = {
    "rate_low": ((INT, INT), DOUBLE),
    "rate_high": ((INT, INT), DOUBLE),
}
_OF_TEXTS = ("contains", "endsWith", "startsWith")
FUNCTIONS = ("abs", "double", "has", "max", "min", "rate_high", "rate_low", "size")


@dataclass(frozen=True)
class Typed:
    """An expression that may be evaluated. `types` has one entry a node."""

    text: str
    tree: Node
    type: Type
    types: Mapping[Node, Type]
    #: the paths into each variable that it reads, as they are written
    reads: tuple[str, ...] = ()


@dataclass
class _Check:
    variables: Mapping[str, Type]
    types: dict[Node, Type] = field(default_factory=dict)
    reads: dict[str, None] = field(default_factory=dict)


def compiled(text: str, variables: Mapping[str, Type]) -> Typed:
    """Text → typed tree. Raises Refused, which says where and why."""
    tree = parse(text)
    check = _Check(variables)
    found = _typed(check, tree, frozenset(), True)
    return Typed(text, tree, found, check.types, tuple(check.reads))


def path_of(node: Node) -> str:
    """`report.a["b"][0]` as one text, however its fields are written; "" for what is no path."""
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Select):
        return (above := path_of(node.of)) and f"{above}.{node.field}"
    if isinstance(node, Index) and (above := path_of(node.of)):
        if isinstance(node.key, Literal) and isinstance(node.key.value, str):
            return f"{above}.{node.key.value}"
        if isinstance(node.key, Literal) and isinstance(node.key.value, int):
            return f"{above}[{node.key.value}]"
        return f"{above}[{node.key.name}]" if isinstance(node.key, Name) else ""
    return ""


def _typed(check: _Check, node: Node, facts: Facts, up: bool | None) -> Type:
    """The type of a node. `up` says whether the whole is the truer the truer this part is: under a `!`
    it is not, beside a `==` nobody knows."""
    rule: Callable[[_Check, Node, Facts, bool | None], Type] = _RULES[type(node)]
    found = rule(check, node, facts, up)
    check.types[node] = found
    return found


def _literal(_check: _Check, node: Node, _facts: Facts, _up: bool | None) -> Type:
    assert isinstance(node, Literal)
    value = node.value
    if value is None or isinstance(value, bool):
        return NULL if value is None else BOOL
    return INT if isinstance(value, int) else DOUBLE if isinstance(value, Fraction) else STRING


def _listed(check: _Check, node: Node, facts: Facts, _up: bool | None) -> Type:
    assert isinstance(node, Listed)
    found = [_typed(check, item, facts, None) for item in node.items]
    if not found:
        raise Refused("empty", "a list without elements has no type", node.at)
    for item, one in zip(node.items, found, strict=True):
        if not _same(one, found[0]):
            raise Refused("types", f"a list of {said(found[0])} and {said(one)}", item.at)
    return ListOf(found[0], sure=True)


def _name(check: _Check, node: Node, _facts: Facts, _up: bool | None) -> Type:
    assert isinstance(node, Name)
    if node.name not in check.variables:
        raise Refused("name", f"nothing is called `{node.name}`", node.at, did_you_mean(node.name, check.variables))
    return check.variables[node.name]


def _select(check: _Check, node: Node, facts: Facts, _up: bool | None) -> Type:
    assert isinstance(node, Select)
    found, always = _field(check, node.of, node.field, node, facts)
    if not always and ("there", path_of(node)) not in facts:
        raise Refused(
            "absent",
            f"`{_shown(node)}` is not in every such report",
            node.at,
            f"ask for it first: `has({_shown(node)}) && …`",
        )
    check.reads.setdefault(path_of(node))
    return found


def _field(check: _Check, of: Node, name: str, node: Node, facts: Facts) -> tuple[Type, bool]:
    """What stands in a field, and whether it is always there."""
    above = _typed(check, of, facts, None)
    if not isinstance(above, Thing):
        advice = "write `list.all(one, …)` or `list.exists(one, …)`" if isinstance(above, ListOf) else ""
        raise Refused("types", f"{said(above)} has no field `{name}`", node.end - len(name), advice)
    if above.datum:
        return _of_datum(above, of, name, node, facts)
    found = above.field(name)
    if isinstance(found, Lost):
        raise Refused(
            "path",
            f"`{name}` is not in `{path_of(of) or 'it'}`",
            node.end - len(name),
            did_you_mean(name, found.known) or (f"there are {', '.join(found.known[:8])}" if found.known else ""),
        )
    if found is None:
        raise Refused("types", f"things of several types stand at `{_shown(node)}`", node.at)
    return found, above.always(name)


def _of_datum(above: Thing, of: Node, name: str, node: Node, facts: Facts) -> tuple[Type, bool]:
    if name == "value":
        if above.datum == "datum":
            raise Refused("types", f"`{_shown(node)}` may be a number or a flag", node.at)
        if above.datum == "flag":
            return BOOL, True
        known = next((path for kind, path in facts if kind == "unit" and path.startswith(f"{path_of(of)}=")), "")
        unit = above.unit if above.unit != "?" else known.partition("=")[2] or "?"
        return Scalar("double", unit=unit), True
    if name not in _OF_DATUM:
        raise Refused(
            "path",
            f"a datum has no `{name}`",
            node.end - len(name),
            did_you_mean(name, ["value", *_OF_DATUM]) or f"there are value, {', '.join(_OF_DATUM)}",
        )
    found: Type = _OF_DATUM[name]
    if name == "unit" and above.unit != "?":
        found = Scalar("string", (above.unit,))
    if name in ("low", "high"):
        found = Scalar("double", unit=above.unit)
    return found, name in _ALWAYS or (name in ("k", "n") and above.counted)


def _index(check: _Check, node: Node, facts: Facts, _up: bool | None) -> Type:
    assert isinstance(node, Index)
    above = _typed(check, node.of, facts, None)
    key = _typed(check, node.key, facts, None)
    if isinstance(above, ListOf):
        if not isinstance(node.key, Literal) or key != INT:
            raise Refused("index", "an element is named by a number that is written down", node.key.at)
        return above.item
    if not isinstance(above, Thing) or above.datum:
        raise Refused("types", f"{said(above)} has no elements", node.key.at)
    if isinstance(node.key, Literal) and isinstance(node.key.value, str):
        found, always = _field(check, node.of, node.key.value, node, facts)
        if not always and ("there", path_of(node)) not in facts:
            shown = f'"{node.key.value}" in {_shown(node.of)}'
            raise Refused(
                "absent", f"`{_shown(node)}` is not in every such report", node.at, f"ask first: `{shown} && …`"
            )
        check.reads.setdefault(path_of(node))
        return found
    if not isinstance(key, Scalar) or not key.key_of or key.key_of != path_of(node.of):
        raise Refused(
            "index", "a key is written down, or is one of the keys of this very object", node.key.at,
            f"`{_shown(node.of)}.all(key, {_shown(node.of)}[key] …)` goes through all of them",
        )  # fmt: skip
    inner = above.values()
    if inner is None:
        raise Refused("types", f"things of several types stand in `{_shown(node.of)}`", node.at)
    check.reads.setdefault(f"{path_of(node.of)}.*")
    return inner


def _unary(check: _Check, node: Node, facts: Facts, up: bool | None) -> Type:
    assert isinstance(node, Unary)
    found = _typed(check, node.of, facts, None if up is None or node.op != "!" else not up)
    wanted = ("bool",) if node.op == "!" else _NUMBERS
    if not isinstance(found, Scalar) or found.name not in wanted:
        raise Refused("types", f"`{node.op}` takes {' or '.join(wanted)}, and this is {said(found)}", node.of.at)
    return found


def _binary(check: _Check, node: Node, facts: Facts, up: bool | None) -> Type:
    assert isinstance(node, Binary)
    if node.op in ("&&", "||"):
        left = _typed(check, node.left, facts, up)
        right = _typed(check, node.right, facts | _facts(node.left, node.op == "&&"), up)
        for side, found in ((node.left, left), (node.right, right)):
            if not _is(found, "bool"):
                raise Refused("types", f"`{node.op}` takes bool, and this is {said(found)}", side.at)
        return BOOL
    left = _typed(check, node.left, facts, None)
    right = _typed(check, node.right, facts, None)
    if node.op == "in":
        return _contained(node, left, right)
    if node.op in ("==", "!="):
        return _compared(node, left, right, "equal")
    if node.op in ("<", "<=", ">", ">="):
        return _compared(node, left, right, "ordered")
    return _arithmetic(node, left, right)


def _contained(node: Binary, left: Type, right: Type) -> Type:
    if isinstance(right, ListOf) and (_same(left, right.item) or _both_numbers(left, right.item)):
        return BOOL
    if isinstance(right, Thing) and not right.datum and _is(left, "string"):
        if isinstance(node.left, Literal) and isinstance(found := right.field(str(node.left.value)), Lost):
            advice = did_you_mean(str(node.left.value), found.known)
            raise Refused("path", f"`{node.left.value}` is never in `{_shown(node.right)}`", node.left.at, advice)
        return BOOL
    raise Refused("types", f"{said(left)} is never in {said(right)}", node.at)


def _compared(node: Binary, left: Type, right: Type, how: str) -> Type:
    for side, found in ((node.left, left), (node.right, right)):
        if isinstance(found, Thing):
            advice = f"write `{_shown(side)}.value`" if found.datum else ""
            raise Refused(
                "types", f"`{_shown(side)}` is {said(found)}, which is compared with nothing", side.at, advice
            )
    if not (_same(left, right) or _both_numbers(left, right)) or (how == "ordered" and not _ordered(left)):
        raise Refused("types", f"{said(left)} and {said(right)} are never {how}", node.at)
    _same_unit(node, left, right)
    for one, other in ((left, node.right), (right, node.left)):
        if isinstance(one, Scalar) and one.words and isinstance(other, Literal) and other.value not in one.words:
            raise Refused(
                "word",
                f"`{_shown(node.left if other is node.right else node.right)}` is never {_shown(other)}",
                other.at,
                did_you_mean(str(other.value), one.words) or f"it is {' or '.join(one.words)}",
            )
    return BOOL


def _same_unit(node: Binary, left: Type, right: Type) -> None:
    """Two data in different units are never compared, and of one whose unit is open the unit is asked first."""
    assert not isinstance(left, Thing)
    units = {one.unit for one in (left, right) if isinstance(one, Scalar) and one.unit}
    if "?" in units:
        side = node.left if isinstance(left, Scalar) and left.unit == "?" else node.right
        datum = _shown(side.of) if isinstance(side, Select) else _shown(side)
        raise Refused(
            "unit",
            f"the schema does not say in which unit `{_shown(side)}` is",
            side.at,
            f'ask for it first: `{datum}.unit == "…" && …`',
        )
    if len(units) > 1:
        raise Refused("unit", f"`{'` and `'.join(sorted(units))}` are two units", node.at)


def _arithmetic(node: Binary, left: Type, right: Type) -> Type:
    if not isinstance(left, Scalar) or not isinstance(right, Scalar) or left.name not in _NUMBERS:
        raise Refused("types", f"`{node.op}` takes numbers, and these are {said(left)} and {said(right)}", node.at)
    if left.name != right.name:
        raise Refused(
            "mixed",
            f"`{node.op}` takes two int or two double, and these are {said(left)} and {said(right)}",
            node.at,
            "write `double(…)` around the whole number",
        )
    if node.op == "/" and left.name == "int":
        raise Refused(
            "division",
            "a whole number divided by a whole number loses its rest: 7 / 8 is 0",
            node.at,
            "write `double(…) / double(…)`",
        )
    if node.op == "%" and left.name == "double":
        raise Refused("types", "`%` takes whole numbers", node.at)
    unit = left.unit or right.unit
    if node.op in ("+", "-") and left.unit and right.unit and left.unit != right.unit:
        raise Refused("unit", f"`{left.unit}` and `{right.unit}` are two units", node.at)
    if node.op in ("*", "/"):  # a product is in neither unit: the text must know what it does
        unit = ""
    return Scalar(left.name, unit=unit)


def _choice(check: _Check, node: Node, facts: Facts, up: bool | None) -> Type:
    assert isinstance(node, Choice)
    test = _typed(check, node.test, facts, None)
    if not _is(test, "bool"):
        raise Refused("types", f"`?` asks for bool, and this is {said(test)}", node.test.at)
    yes = _typed(check, node.yes, facts | _facts(node.test, True), up)
    no = _typed(check, node.no, facts | _facts(node.test, False), up)
    if not _same(yes, no):
        raise Refused("types", f"one way gives {said(yes)}, the other {said(no)}", node.no.at)
    return yes


def _call(check: _Check, node: Node, facts: Facts, _up: bool | None) -> Type:
    assert isinstance(node, Call)
    if node.of is not None:
        return _method(check, node, facts)
    if node.function == "has":
        if len(node.args) != 1 or not isinstance(node.args[0], Select):
            raise Refused("syntax", "`has` takes one path that ends in a field", node.at)
        inner = node.args[0]
        _field(check, inner.of, inner.field, inner, facts)
        check.reads.setdefault(path_of(inner))
        return BOOL
    found = [_typed(check, one, facts, None) for one in node.args]
    if node.function == "size" and len(found) == 1:
        if (
            _is(found[0], "string")
            or isinstance(found[0], ListOf)
            or (isinstance(found[0], Thing) and not found[0].datum)
        ):
            return INT
        raise Refused("types", f"{said(found[0])} has no size", node.args[0].at)
    if node.function == "double" and len(found) == 1 and (_is(found[0], "int") or _is(found[0], "double")):
        return Scalar("double", unit=found[0].unit if isinstance(found[0], Scalar) else "")
    if node.function in ("min", "max", "abs"):
        return _of_numbers(node, found)
    if node.function in _PLAIN:
        takes, gives = _PLAIN[node.function]
        if len(takes) == len(found) and all(map(_same, takes, found)):
            return gives
        raise Refused("types", f"`{node.function}` takes ({', '.join(map(said, takes))})", node.at)
    known = node.function in FUNCTIONS
    raise Refused(
        "function",
        f"`{node.function}` does not take ({', '.join(map(said, found))})"
        if known
        else f"no function `{node.function}`",
        node.at,
        "" if known else did_you_mean(node.function, FUNCTIONS) or f"there are {', '.join(FUNCTIONS)}",
    )


def _of_numbers(node: Call, found: list[Type]) -> Type:
    least = 1 if node.function == "abs" else 2
    if len(found) < least or (least == 1 and len(found) > 1):
        raise Refused(
            "types", f"`{node.function}` takes {'one number' if least == 1 else 'two numbers or more'}", node.at
        )
    first = found[0]
    for arg, one in zip(node.args, found, strict=True):
        if not isinstance(one, Scalar) or one.name not in _NUMBERS or not _same(one, first):
            raise Refused("types", f"`{node.function}` takes numbers of one type", arg.at)
    units = {one.unit for one in found if isinstance(one, Scalar) and one.unit}
    if len(units) > 1:
        raise Refused("unit", f"`{'` and `'.join(sorted(units))}` are two units", node.at)
    assert isinstance(first, Scalar)
    return Scalar(first.name, unit=next(iter(units), ""))


def _method(check: _Check, node: Call, facts: Facts) -> Type:
    assert node.of is not None
    above = _typed(check, node.of, facts, None)
    found = [_typed(check, one, facts, None) for one in node.args]
    if node.function == "size" and not found:
        return _call(check, Call("size", None, (node.of,), node.at, node.end), facts, None)
    if node.function in _OF_TEXTS and _is(above, "string") and len(found) == 1 and _is(found[0], "string"):
        return BOOL
    raise Refused(
        "function",
        f"no function `{node.function}` of {said(above)}",
        node.at,
        did_you_mean(node.function, [*_OF_TEXTS, "size"]),
    )


def _macro(check: _Check, node: Node, facts: Facts, up: bool | None) -> Type:
    assert isinstance(node, Macro)
    above = _typed(check, node.of, facts, None)
    if isinstance(above, ListOf):
        item: Type = above.item
    elif isinstance(above, Thing) and not above.datum:
        item = Scalar("string", above.names, key_of=path_of(node.of))
    else:
        raise Refused("types", f"{said(above)} has no elements", node.of.at)
    if node.name in check.variables:
        raise Refused("name", f"`{node.name}` is already the name of something", node.at)
    sure = (isinstance(above, ListOf) and above.sure) or ("some", path_of(node.of)) in facts
    if not sure and not (up and node.macro in ("exists", "exists_one")):
        raise Refused(
            "nothing",
            f"`{node.macro}` of nothing passes: `{_shown(node.of)}` may be empty",
            node.at,
            f"say how many there must be: `size({_shown(node.of)}) >= 1 && …`",
        )
    check.variables = {**check.variables, node.name: item}
    body = _typed(check, node.body, facts, up if node.macro in ("all", "exists") else None)
    check.variables = {name: one for name, one in check.variables.items() if name != node.name}
    if node.macro == "map":
        return ListOf(body, sure=True)
    if not _is(body, "bool"):
        raise Refused("types", f"`{node.macro}` asks for bool, and this is {said(body)}", node.body.at)
    return ListOf(item) if node.macro == "filter" else BOOL


_RULES: Mapping[type, Callable[[_Check, Node, Facts, bool | None], Type]] = {
    Literal: _literal,
    Listed: _listed,
    Name: _name,
    Select: _select,
    Index: _index,
    Unary: _unary,
    Binary: _binary,
    Choice: _choice,
    Call: _call,
    Macro: _macro,
}


def _facts(node: Node, held: bool) -> Facts:
    """What is known once the node is true (`held`) or false."""
    if isinstance(node, Unary) and node.op == "!":
        return _facts(node.of, not held)
    if isinstance(node, Binary) and node.op in ("&&", "||"):
        left, right = _facts(node.left, held), _facts(node.right, held)
        return left | right if (node.op == "&&") == held else left & right
    if isinstance(node, Call) and node.function == "has" and held and node.of is None:
        return _known("there", node.args[0])
    if isinstance(node, Macro) and node.macro in ("exists", "exists_one") and held:
        return _known("some", node.of)
    if isinstance(node, Binary):
        return _of_comparison(node, held)
    return frozenset()


def _known(kind: str, node: Node) -> Facts:
    return frozenset({(kind, path)}) if (path := path_of(node)) else frozenset()


#: `5 < x` is `x > 5`
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_DENIED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def _of_comparison(node: Binary, held: bool) -> Facts:
    if node.op == "in" and held and isinstance(node.left, Literal) and (above := path_of(node.right)):
        return frozenset({("there", f"{above}.{node.left.value}"), ("some", above)})
    if node.op not in _TURNED:
        return frozenset()
    left, op, right = node.left, node.op, node.right
    if isinstance(left, Literal):
        left, op, right = right, _TURNED[op], left
    if not held:
        op = _DENIED[op]
    if not isinstance(right, Literal):
        return frozenset()
    if isinstance(left, Call) and left.function == "size" and isinstance(right.value, int):
        of = left.of if left.of is not None else left.args[0]
        least = {">": right.value + 1, ">=": right.value, "==": right.value, "!=": 1 if right.value == 0 else 0}.get(
            op, 0
        )
        return _known("some", of) if least >= 1 else frozenset()
    if isinstance(left, Select) and left.field == "unit" and op == "==" and path_of(left.of):
        return frozenset({("unit", f"{path_of(left.of)}={right.value}")})
    return frozenset()


def _is(found: Type, name: str) -> bool:
    return isinstance(found, Scalar) and found.name == name


def _both_numbers(one: Type, other: Type) -> bool:
    return all(isinstance(found, Scalar) and found.name in _NUMBERS for found in (one, other))


def _ordered(found: Type) -> bool:
    return isinstance(found, Scalar) and found.name in (*_NUMBERS, "string")


def _same(one: Type, other: Type) -> bool:
    if isinstance(one, Scalar) and isinstance(other, Scalar):
        return one.name == other.name
    if isinstance(one, ListOf) and isinstance(other, ListOf):
        return _same(one.item, other.item)
    return isinstance(one, Thing) and isinstance(other, Thing) and one.places == other.places


def _shown(node: Node) -> str:
    """A node as it may be written."""
    if isinstance(node, Literal):
        return f'"{node.value}"' if isinstance(node.value, str) else str(node.value).lower()
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Select):
        return f"{_shown(node.of)}.{node.field}"
    if isinstance(node, Index):
        return f"{_shown(node.of)}[{_shown(node.key)}]"
    return "…"
