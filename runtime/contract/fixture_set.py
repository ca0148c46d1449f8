"""A checked set of fixtures × the arguments of a call → the line that answers it, and what it says."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime import digest
from runtime.contract import bounded, expressions, toolset
from runtime.contract.expressions import Expression, Unknown, Wrong
from runtime.contract.strict_json import Json


def _each(value: Json, inner: Callable[[str], str]) -> Json:
    if isinstance(value, str):
        return inner(value)
    if isinstance(value, list):
        return [_each(item, inner) for item in value]
    if isinstance(value, dict):
        return {name: _each(item, inner) for name, item in value.items()}
    return value


def _unordered(value: Json) -> Json:
    return sorted(value, key=digest.canonical) if isinstance(value, list) else value


#: what may be declared not to matter, by argument; nothing is done that is not declared
NORMALISERS: Mapping[str, Callable[[Json], Json]] = {
    "nfc": lambda value: _each(value, lambda text: unicodedata.normalize("NFC", text)),
    "strip": lambda value: _each(value, str.strip),
    "spaces": lambda value: _each(value, lambda text: " ".join(text.split())),
    "casefold": lambda value: _each(value, str.casefold),
    "unordered": _unordered,
}
#: these look at the whole call: an argument that is null, or that is what the tool's schema says it is by default
OMITTED = ("omit_null", "omit_default")


@dataclass(frozen=True, slots=True)
class Write:
    """One change of the world: an entry of a collection gets a value, where `when` holds."""

    collection: str
    key: Expression
    value: Expression
    when: Expression | None


@dataclass(frozen=True, slots=True)
class Learn:
    """What a recorded result says of the world: for each of `each` (once without it) where `when` holds."""

    collection: str
    key: Expression
    value: Expression
    when: Expression | None
    each: Expression | None


@dataclass(frozen=True, slots=True)
class Fixture:
    """One line; `place` is its file and line."""

    kind: str
    tool: str
    place: str
    item: str
    review: str
    args: dict[str, Json] = field(default_factory=dict)
    result: str = ""
    schema: dict[str, Json] = field(default_factory=dict)
    answer: Expression | None = None
    let: tuple[tuple[str, Expression], ...] = ()
    checks: tuple[tuple[Expression, Expression], ...] = ()
    writes: tuple[Write, ...] = ()
    learns: tuple[Learn, ...] = ()

    def expressions(self) -> list[Expression]:
        """Every expression of the line."""
        found: list[Expression | None] = [self.answer]
        found += [*(text for _, text in self.let), *(text for check in self.checks for text in check)]
        found += [text for one in self.writes for text in (one.key, one.value, one.when)]
        found += [text for it in self.learns for text in (it.key, it.value, it.when, it.each)]
        return [text for text in found if text is not None]


@dataclass(slots=True)
class Tool:
    """The fixtures of one tool: at most one that is not exact answers a call."""

    name: str
    normalise: Mapping[str, Sequence[str]]
    defaults: Mapping[str, Json]
    #: (item or "", key) → exact line
    exact: dict[tuple[str, str], Fixture] = field(default_factory=dict)
    #: item or "" → the lines that answer many calls
    general: dict[str, list[Fixture]] = field(default_factory=dict)

    def normal(self, args: Mapping[str, Json]) -> dict[str, Json]:
        """Arguments after the declared normalisers."""
        found: dict[str, Json] = {}
        every = self.normalise.get("*", ())
        for name, value in args.items():
            declared = [*every, *self.normalise.get(name, ())]
            if ("omit_null" in declared and value is None) or (
                "omit_default" in declared
                and name in self.defaults
                and digest.canonical(value) == digest.canonical(self.defaults[name])
            ):
                continue
            for one in declared:
                value = NORMALISERS[one](value) if one in NORMALISERS else value
            found[name] = value
        return found

    def key(self, args: Mapping[str, Json]) -> str:
        """RFC 8785 text of the normal arguments. Raises ValueError for a number that has none."""
        return digest.canonical(self.normal(args)).decode()

    def lines(self) -> list[Fixture]:
        return [*self.exact.values(), *(one for some in self.general.values() for one in some)]


@dataclass(slots=True)
class FixtureSet:
    """All fixtures made for one registry, and the known part of the world: collection → key → value."""

    registry: str
    tools: dict[str, Tool] = field(default_factory=dict)
    world: dict[str, dict[str, Json]] = field(default_factory=dict)
    validators: Mapping[str, Any] = field(default_factory=dict)
    #: lines, of the world too, that nobody has accepted
    unreviewed: int = 0

    def lines(self) -> list[Fixture]:
        return [line for tool in self.tools.values() for line in tool.lines()]


def answers(line: Fixture, args: Mapping[str, Json], tool: Tool) -> bool:
    """Whether a general line answers a call, or may: what a stateful one says depends on what was called before."""
    if line.kind == "pure":
        try:
            said(line, {"args": dict(args)})
        except (Unknown, Wrong):
            return False
    return line.kind != "matcher" or matches(line, tool.normal(args))


def said(line: Fixture, variables: dict[str, Json]) -> tuple[str, bool]:
    """What the expressions of a line answer, and whether they came to their end (no check ended them). What `let`
    names is worked out where it is read, and added to the variables. Raises Unknown and Wrong."""
    named = dict(line.let)
    for condition, told in line.checks:
        holds = expressions.evaluate(condition, variables, named)
        if not isinstance(holds, bool):
            raise Wrong("`unless` is true or false")
        if not holds:
            return _shown(told, variables, named), False
    assert line.answer is not None
    return _shown(line.answer, variables, named), True


def _shown(text: Expression, variables: dict[str, Json], named: Mapping[str, Expression]) -> str:
    """A tool answers in text."""
    found = expressions.evaluate(text, variables, named)
    if not isinstance(found, str):
        raise Wrong("an answer is a text: write str(…) or json(…)")
    return found


def apart(one: Fixture, other: Fixture) -> bool:
    """Whether no call can match both: an argument that both require has no value in common."""
    if one.kind != "matcher" or other.kind != "matcher":
        return False
    mine, theirs = _values(one.schema), _values(other.schema)
    return any(not mine[name] & theirs[name] for name in mine.keys() & theirs.keys())


def _values(schema: Mapping[str, Any]) -> dict[str, set[bytes]]:
    """Required argument → the values it may have, where they are listed."""
    found = {}
    for name, one in schema.get("properties", {}).items():
        if name in schema.get("required", ()) and isinstance(one, dict):
            listed = [one["const"]] if "const" in one else one.get("enum")
            if listed is not None:
                found[name] = {digest.canonical(value) for value in listed}
    return found


def matches(line: Fixture, args: Mapping[str, Json]) -> bool:
    """Whether arguments match a matcher's schema. A text longer than a search may be matches nothing."""
    if any(len(text) > bounded.LONGEST for text in _texts(dict(args))):
        return False
    return bool(toolset.validator(line.schema).is_valid(dict(args)))


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
