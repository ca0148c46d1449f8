"""`where` of a rule × the steps it chooses among → what is wrong with a value that no such step has.

It is held to what the kind of step says of its parameters: to the values that are listed there, and, of a text, to the
plug-ins of a room where everything that stands at this place in the plan is the name of one. A name that nothing lists
is one that a spec gives, and this plan must have it: misspelt it would switch the rule off, and nobody would notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from kcompiler.policy import conditions, path
from kcompiler.policy.kind import NUMBER
from kcompiler.policy.rule import Where, written
from runtime import catalog
from runtime.contract import ENTRY_POINT_GROUPS

Node = Mapping[str, Any]


class Amiss(NamedTuple):
    """What may stand where `where` looks, when its value does not. `given`: names that a spec gives, those of this
    plan; else no spec can have another."""

    known: list[str]
    given: bool


def amiss(where: Where, steps: Sequence[Node]) -> Amiss | None:
    """None where a step has the value, or one of another spec may. `steps` are those of the plan, each with `kind` and
    `params`."""
    if where.has is None:
        return None
    # of `on: start` the parameters are one of the things to choose by
    text, parsed = written(where.has), path.parse(where.step.removeprefix("params."))
    nodes = [node for kind in sorted({str(one["kind"]) for one in steps}) for node in _leaves(kind, parsed)]
    there = {written(match.value) for one in steps for match in path.walk(parsed, one["params"])} - {""}
    if not nodes or text in there:
        return None
    known = {name for node in nodes for name in conditions.names(node)}
    plain = [node for node in nodes if not conditions.names(node)]
    free = [node for node in plain if not conditions.says(node) or _names(node, text)]
    if text in known or any(conditions.possible(node, text) for node in plain if node not in free):
        return None
    if not free:
        return Amiss(sorted(known), False)
    rooms = [names for names in _rooms() if there and there <= names]
    if rooms:
        known = known.union(*rooms)
        return None if text in known else Amiss(sorted(known), False)
    # of what may be anything a number and a truth value are no names
    if all(not conditions.says(node) for node in free) and (re.fullmatch(NUMBER, text) or text in ("true", "false")):
        return None
    return Amiss(sorted(known | there), True)


def _names(node: Node, text: str) -> bool:
    """Whether a text here is a name that a spec gives: with one letter changed it could stand there just as well. A
    pattern that a slip does not fit lists what may stand there."""
    if node.get("type") != "string":
        return False
    slips = (f"{text[:at]}{'y' if one == 'x' else 'x'}{text[at + 1 :]}" for at, one in enumerate(text) if one.isalpha())
    return "pattern" not in node or any(conditions.possible(node, slip) for slip in slips)


@lru_cache(maxsize=1)
def _rooms() -> list[frozenset[str]]:
    return [frozenset(catalog.names(room)) for room in ENTRY_POINT_GROUPS]


@lru_cache(maxsize=256)
def _leaves(kind: str, parsed: path.Path) -> tuple[Node, ...]:
    """The schemas of what stands at a path in the parameters of a kind of step; {} of what may be anything."""
    schema: Node = catalog.load("steps", kind).params.model_json_schema()
    nodes: list[Node] = [schema]
    for step in parsed.steps:
        nodes = [below for node in nodes for form in _forms(node, schema) for below in _below(step, form)]
    return tuple(form for node in nodes for form in _forms(node, schema))


def _forms(node: Node, schema: Node) -> Iterator[Node]:
    """A schema without references and alternatives: each of them; not that of nothing."""
    if "$ref" in node:
        yield from _forms(schema["$defs"][str(node["$ref"]).rpartition("/")[2]], schema)
    elif alternatives := node.get("anyOf") or node.get("oneOf") or node.get("allOf"):
        for one in alternatives:
            yield from _forms(one, schema)
    elif node.get("type") != "null":
        yield node


def _below(step: object, node: Node) -> Iterator[Node]:
    if isinstance(step, path.Field):
        if step.name in node.get("properties", {}):
            yield node["properties"][step.name]
        elif isinstance(more := node.get("additionalProperties"), Mapping):
            yield more
        elif more is True or ("properties" not in node and node.get("type") != "array"):
            yield {}
    elif node.get("type") == "array":
        yield node.get("items", {})
    else:
        yield {}
