"""Every datum that a report carries is read by a rule of a shipped pack, or its schema says why it only informs.

A datum that nobody reads is where a useless student hides: its report shows the damage, and every gate is green.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from kcompiler import assets, policy
from kcompiler.policy import kinds, path, shape
from kcompiler.policy.load import LoadedRule

PACKS = policy.load(policy.available([assets.folder("policies")]), [assets.folder("policies")])
MARK = "x-informative"
Step = path.Field | path.Every | path.Values | path.Where


class Leaf(NamedTuple):
    """A place in the schema of a report's data; `reason` is the description of what marks it, None where nothing does."""

    steps: tuple[Step, ...]
    reason: str | None

    @property
    def text(self) -> str:
        return ".".join(step.name if isinstance(step, path.Field) else "*" for step in self.steps)


@functools.cache
def schema(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((assets.folder("schemas") / name).read_text())
    return found


def parts(node: Mapping[str, Any], file: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The schema and what it refers to; a leaf of the envelope is not opened."""
    yield node, file
    if shape.leaf(shape.Place(node, file)):
        return
    reference = node.get("$ref")
    if isinstance(reference, str):
        name, _, inner = reference.partition("#")
        target = schema(name or file)
        for word in inner.split("/")[1:]:
            target = target[word]
        yield from parts(target, name or file)
    for key in ("allOf", "anyOf", "oneOf"):
        for one in node.get(key, ()):
            yield from parts(one, file)


def leaves(node: Mapping[str, Any], file: str, at: tuple[Step, ...] = (), reason: str | None = None) -> Iterator[Leaf]:
    below: list[Leaf] = []
    for part, where in parts(node, file):
        if MARK in part:
            assert part[MARK] is True, f"{file}: {MARK} is true or absent"
            reason = str(part.get("description", ""))
        for name, inner in part.get("properties", {}).items():
            below += leaves(inner, where, (*at, path.Field(name)), reason)
        further = part.get("additionalProperties")
        if isinstance(further, Mapping):
            for name in part.get("propertyNames", {}).get("enum", [None]):
                below += leaves(further, where, (*at, path.Field(name) if name else path.Values()), reason)
        if isinstance(part.get("items"), Mapping):
            below += leaves(part["items"], where, (*at, path.Every()), reason)
    yield from below or [Leaf(at, reason)]


@functools.cache
def reads(kind: str) -> list[path.Path]:
    """Every path that some shipped rule reads in this kind of report."""
    return [
        path.parse(text)
        for rule, found in every_read()
        for text, of in found
        if (of == kind if of else rule.rule.covers(kind))
    ]


@functools.cache
def every_read() -> list[tuple[LoadedRule, list[tuple[str, str]]]]:
    """Each shipped rule, with what it reads (path, kind of report where that is not its own); expressions are parsed."""
    return [
        (rule, [(read.text, read.of) for read in kinds.load(rule.rule.kind).reads(rule.params)])
        for pack in PACKS.packs
        for rule in pack.rules
    ]


def leads(rule: path.Path, leaf: Leaf) -> bool:
    """Whether the path of a rule leads to the leaf."""

    def fits(one: Step, other: Step) -> bool:
        if isinstance(one, path.Field):
            return isinstance(other, path.Values) or one == other
        return isinstance(other, path.Every) if isinstance(one, path.Where) else True

    return len(rule.steps) == len(leaf.steps) and all(map(fits, rule.steps, leaf.steps))


@functools.cache
def of(kind: str) -> list[Leaf]:
    place = shape.of_report(kind)
    assert place is not None
    return list(leaves(place.node, place.file))


@pytest.mark.parametrize("kind", shape.kinds())
def test_a_datum_is_read_by_a_rule_or_said_to_inform(kind: str) -> None:
    found, known = of(kind), reads(kind)
    assert len(found) > 3
    rest = [leaf.text for leaf in found if leaf.reason is None and not any(leads(one, leaf) for one in known)]
    assert rest == []


@pytest.mark.parametrize("kind", shape.kinds())
def test_what_only_informs_says_why(kind: str) -> None:
    assert [leaf.text for leaf in of(kind) if leaf.reason is not None and len(leaf.reason) < 10] == []


@pytest.mark.parametrize("kind", shape.kinds())
def test_what_a_rule_reads_is_not_said_to_inform(kind: str) -> None:
    known = reads(kind)
    both = [leaf.text for leaf in of(kind) if leaf.reason is not None and any(leads(one, leaf) for one in known)]
    assert both == []


#: units of what may be below zero: what one thing has more than another
DIFFERENCES = {"item/item", "nat/byte", "nat/item", "nat/question", "nat/token"}
#: a kind's own number that may be
SIGNED = {
    ("efficiency", "1"),
    ("eval.choice", "1"),
    ("eval.same_text", "logit"),
    # what is left of a budget
    *(("run", unit) for unit in ("USD", "call", "hour", "s", "token")),
    ("teacher.signals", "place"),
    ("training", "place"),
}


def numbers(node: Any, at: str = "") -> Iterator[tuple[str, str, str]]:
    """(place, form of datum, unit) of each datum in the schema of a report, wherever it stands."""
    if isinstance(node, Mapping):
        form = str(node.get("$ref", "")).partition("#/$defs/")[2]
        if form in ("number", "count", "amount", "share", "cosine", "rate"):
            yield at, form, str(node.get("x-unit", ""))
        for name, inner in node.items():
            yield from numbers(inner, f"{at}/{name}")


@pytest.mark.parametrize("kind", shape.kinds())
def test_a_number_has_a_unit_and_a_range_unless_it_is_a_difference(kind: str) -> None:
    """The reader refuses a negative count, a share above one: where the schema says that it is one."""
    schema = json.loads((assets.folder("schemas") / f"report.{kind}.schema.json").read_text())
    found = list(numbers(schema["properties"]["data"]))
    # of the pairs that a suite names, the margin has the unit of the score that was declared
    assert [at for at, _, unit in found if not unit and "/worst/" not in at] == []
    free = [(at, unit) for at, form, unit in found if form == "number" and unit]
    assert [one for one in free if one[1] not in DIFFERENCES and (kind, one[1]) not in SIGNED] == []


def test_a_datum_that_nobody_reads_is_found() -> None:
    """The negative control: a schema with one leaf that no rule reads, and none that says why."""
    node = {"properties": {"lost": {"$ref": "report.schema.json#/$defs/number"}, "seen": {"type": "string"}}}
    found = list(leaves(node, "report.run.schema.json"))
    assert [(leaf.text, leaf.reason) for leaf in found] == [("lost", None), ("seen", None)]
    assert [leads(path.parse("seen"), leaf) for leaf in found] == [False, True]
