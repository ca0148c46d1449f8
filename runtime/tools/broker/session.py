"""One item's calls, one after the other × a set of fixtures → what each tool answers, or that nothing is known.

A miss is no answer of a tool: whoever asks stops the item, counts the miss once and shows nothing of it to the model.
After the miss of a call that writes, what it would have written is unknown, too.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from runtime import digest
from runtime.contract import expressions
from runtime.contract.expressions import Partial, Unknown, Wrong
from runtime.contract.fixture_set import NORMALISERS, Fixture, FixtureSet, Tool, matches, said
from runtime.contract.strict_json import Json

#: recorded calls with which a missed one is compared letter by letter
_COMPARED = 64


@dataclass(frozen=True, slots=True)
class Served:
    """What a tool answered: the text, which line said so, and whether the tool itself had failed."""

    result: str
    kind: str
    place: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Miss:
    """Nothing answers this call; `why` is for people, `near` the most similar recorded call."""

    tool: str
    args: Mapping[str, Json]
    why: str
    near: str = ""


class _Forgotten(Partial):
    """A collection of which a missed call may have changed anything."""

    def __contains__(self, key: object) -> bool:
        raise Unknown("what a call that was missed has changed")

    def __getitem__(self, key: str) -> Json:
        raise Unknown("what a call that was missed has changed")


@dataclass(slots=True)
class Session:
    """The calls of one item."""

    fixtures: FixtureSet
    item: str
    #: collection → key → value, as this item has left it
    written: dict[str, dict[str, Json]] = field(default_factory=dict)
    _forgotten: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)

    def refused(self, name: str, args: Mapping[str, Json]) -> Served | None:
        """What a tool was recorded to say to arguments that it does not take; None where that was not recorded."""
        tool = self.fixtures.tools.get(name)
        lines = [tool.exact.get((scope, tool.key(args))) for scope in (self.item, "")] if tool else []
        line = next((one for one in lines if one is not None and one.kind == "error"), None)
        return self._said(line, line.result) if line else None

    def call(self, name: str, args: Mapping[str, Json]) -> Served | Miss:
        """The answer of a tool. A call changes the world of this item alone."""
        tool = self.fixtures.tools.get(name)
        if tool is None:
            return Miss(name, args, "no fixtures of this tool")
        try:
            normal, key = tool.normal(args), tool.key(args)
        except (ValueError, TypeError) as error:
            return Miss(name, args, f"arguments that have no RFC 8785 text: {error}"[:200])
        why = ""
        # what is said of this item goes before what is said of all
        for scope in dict.fromkeys((self.item, "")):
            exact = tool.exact.get((scope, key))
            if exact is not None:
                return self._said(exact, exact.result)
            for line in tool.general.get(scope, ()):
                if line.kind == "ignore_args":
                    return self._said(line, line.result)
                if line.kind == "matcher" and not matches(line, normal):
                    continue
                if line.kind == "matcher" and line.answer is None:
                    return self._said(line, line.result)
                try:
                    return self._said(line, self._answer(line, args))
                except (Unknown, Wrong) as error:
                    self._forgotten |= {write.collection for write in line.writes}
                    unknown = isinstance(error, Unknown)
                    why = f"{line.place} {'does not know' if unknown else 'has no value'}: {error}"
        return Miss(name, args, why or "never recorded", _nearest(tool, normal, self.item))

    def _said(self, line: Fixture, result: str) -> Served:
        self.used.add(line.place)
        return Served(result, line.kind, line.place, failed=line.kind == "error")

    def world(self) -> dict[str, Json]:
        """What is known now: collection → entries."""
        found: dict[str, Json] = {}
        for name, entries in self.fixtures.world.items():
            kind = _Forgotten if name in self._forgotten else Partial
            found[name] = kind({**entries, **self.written.get(name, {})}) if self.written.get(name) else kind(entries)
        return found

    def untouched(self, collection: str, key: str) -> bool:
        """Whether an entry is as it was when the item began."""
        return collection not in self._forgotten and key not in self.written.get(collection, {})

    def changed(self) -> dict[str, dict[str, Json]]:
        """The entries whose value is another one than at the beginning."""
        found: dict[str, dict[str, Json]] = {}
        for name, entries in self.written.items():
            before = self.fixtures.world.get(name, {})
            other = {
                key: value
                for key, value in entries.items()
                if key not in before or digest.canonical(before[key]) != digest.canonical(value)
            }
            found |= {name: other} if other else {}
        return found

    def _answer(self, line: Fixture, args: Mapping[str, Json]) -> str:
        """What the expressions of a line make of a call. Raises Unknown, Wrong; then nothing is written."""
        variables: dict[str, Json] = {"args": cast(Json, dict(args))}
        if line.kind == "stateful":
            variables["world"] = self.world()
        result, whole = said(line, variables)
        if not whole:
            return result
        named = dict(line.let)
        made: list[tuple[str, Json, Json]] = [
            (
                write.collection,
                expressions.evaluate(write.key, variables, named),
                expressions.evaluate(write.value, variables, named),
            )
            for write in line.writes
            if write.when is None or expressions.evaluate(write.when, variables, named) is True
        ]
        for collection, key, value in made:
            if not isinstance(key, str):
                raise Wrong("the key of an entry is a text")
            self.written.setdefault(collection, {})[key] = value
        return result


def _nearest(tool: Tool, args: Mapping[str, Json], item: str) -> str:
    """How the most similar recorded call differs, argument by argument; "" where there is none."""
    mine = _texts_of(args)
    alike: list[tuple[int, Fixture, dict[str, str]]] = []
    for (scope, _), line in tool.exact.items():
        if scope in ("", item):
            theirs = _texts_of(tool.normal(line.args))
            alike.append((sum(mine.get(name) == text for name, text in theirs.items()), line, theirs))
    if not alike:
        return ""
    most = max(same for same, _, _ in alike)
    near = [(line, theirs) for same, line, theirs in alike if same == most][:_COMPARED]
    line, theirs = max(near, key=lambda one: _likeness(mine, one[1]))
    names = sorted(mine.keys() | theirs.keys())
    told = [_differs(name, mine.get(name), theirs.get(name)) for name in names if mine.get(name) != theirs.get(name)]
    return f"{line.place}: {'; '.join(told)}"


def _texts_of(args: Mapping[str, Json]) -> dict[str, str]:
    return {name: digest.canonical(value).decode() for name, value in args.items()}


def _likeness(mine: Mapping[str, str], theirs: Mapping[str, str]) -> float:
    """Share of characters that two calls have in common, of arguments that both have."""
    shared = sorted(mine.keys() & theirs.keys())
    left, right = (" ".join(some[name][:400] for name in shared) for some in (mine, theirs))
    return difflib.SequenceMatcher(None, left, right, autojunk=False).ratio()


def _differs(name: str, mine: str | None, theirs: str | None) -> str:
    """One argument of two calls, and what it is that differs where that has a name."""
    if mine is None or theirs is None:
        return f"`{name}` is {'left out' if mine is None else 'not in the recorded call'}"
    left, right = _loaded(mine), _loaded(theirs)
    hint = ""
    if isinstance(left, str) and isinstance(right, str):
        hint = _of_texts(left, right)
    elif type(left) is not type(right):
        hint = f" ({_name(left)} beside {_name(right)})"
    elif isinstance(left, list) and isinstance(right, list) and sorted(map(str, left)) == sorted(map(str, right)):
        hint = " (only the order; `unordered` would declare that it does not matter)"
    return f"`{name}` is {mine[:80]}, recorded {theirs[:80]}{hint}"


def _loaded(text: str) -> Any:
    return json.loads(text)


def _name(value: Json) -> str:
    names = {bool: "a truth value", str: "a text", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), "a number")


def _of_texts(left: str, right: str) -> str:
    for one in ("nfc", "strip", "spaces", "casefold"):
        if NORMALISERS[one](left) == NORMALISERS[one](right):
            return f" (`{one}` would declare that this does not matter)"
    close = difflib.SequenceMatcher(None, left[:400], right[:400]).ratio()
    return f" ({close:.0%} alike)" if close > 0.6 else ""
