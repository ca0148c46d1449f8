"""`variants[?variant=fp16].shapes[*].cosine` × a report's data → every place it names, or what is missing there.

The language is as small as it can be: field names, `.*` for every value of an object whose keys are names that differ
from report to report, `[*]` for every element of an array (or every value of an object), and `[?name=value]` for the
elements whose identifier `name` is `value`. A path never skips: an element without the
field, an empty array under `[*]` and a selection that selects nothing each yield a *missing* match, so that a rule
cannot pass on what is not there (plan-apply-policy.md, section 4 rows 27 and 28).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = "[A-Za-z_][A-Za-z0-9_-]*"
_NAME = re.compile(_WORD)
_STEP = re.compile(rf"\.(?P<name>{_WORD})|(?P<values>\.\*)|(?P<all>\[\*\])|\[\?(?P<key>{_WORD})=(?P<value>[^\[\]=]+)\]")


class BadPath(ValueError):
    """The text is not a path of this language."""


@dataclass(frozen=True)
class Field:
    """One named field of an object."""

    name: str


@dataclass(frozen=True)
class Every:
    """`[*]`: every element of an array, every value of an object."""


@dataclass(frozen=True)
class Values:
    """`.*`: every value of an object."""


@dataclass(frozen=True)
class Where:
    """`[?key=value]`: the elements of an array whose identifier `key` has this text."""

    key: str
    value: str


@dataclass(frozen=True)
class Path:
    """A parsed path; `text` is what was written."""

    text: str
    steps: tuple[Field | Every | Values | Where, ...]


@dataclass(frozen=True)
class Match:
    """One place a path leads to: a JSON pointer and the value there, or `missing` with the reason."""

    pointer: str
    value: object = None
    missing: str = ""
    #: missing because a field of that name does not exist (and not because a list is empty)
    no_field: bool = False


def parse(text: str) -> Path:
    """Text → path. Raises BadPath with the offset of the first character that does not belong."""
    head = _NAME.match(text)
    if head is None:
        raise BadPath(f"`{text}` does not begin with a field name")
    steps: list[Field | Every | Values | Where] = [Field(head.group())]
    at = head.end()
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise BadPath(f"`{text}`: no path step at offset {at} (`{text[at:]}`)")
        if step["name"]:
            steps.append(Field(step["name"]))
        elif step["values"]:
            steps.append(Values())
        elif step["all"]:
            steps.append(Every())
        else:
            steps.append(Where(step["key"], step["value"]))
        at = step.end()
    return Path(text, tuple(steps))


def escape(name: str) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _is_datum(node: object) -> bool:
    return isinstance(node, dict) and {"value", "unit", "tag"} <= node.keys()


def _why_absent(node: object, otherwise: str) -> str:
    if isinstance(node, dict) and _is_datum(node) and node["tag"] == "unavailable":
        return f"unavailable: {node.get('reason')}"
    return otherwise


def _field(step: Field, at: Match) -> list[Match]:
    node = at.value
    if isinstance(node, dict) and step.name in node:
        return [Match(f"{at.pointer}/{escape(step.name)}", node[step.name])]
    return [Match(at.pointer, missing=_why_absent(node, f"no field `{step.name}` here"), no_field=True)]


def _every(at: Match) -> list[Match]:
    if isinstance(at.value, list) and at.value:
        return [Match(f"{at.pointer}/{index}", item) for index, item in enumerate(at.value)]
    return _values(at)


def _values(at: Match) -> list[Match]:
    node = at.value
    if isinstance(node, dict) and node and not _is_datum(node):
        return [Match(f"{at.pointer}/{escape(name)}", node[name]) for name in sorted(node)]
    return [Match(at.pointer, missing=_why_absent(node, "nothing is listed here"))]


def _is(value: object, text: str) -> bool:
    return not isinstance(value, bool) and isinstance(value, str | int) and str(value) == text


def _where(step: Where, at: Match) -> list[Match]:
    items = at.value if isinstance(at.value, list) else []
    found = [
        Match(f"{at.pointer}/{index}", item)
        for index, item in enumerate(items)
        if isinstance(item, dict) and _is(item.get(step.key), step.value)
    ]
    absent = f"nothing here has `{step.key}` = `{step.value}`"
    return found or [Match(at.pointer, missing=_why_absent(at.value, absent))]


def walk(path: Path, root: object, base: str = "") -> list[Match]:
    """Every place `path` leads to below `root`, whose own pointer is `base`. Never empty."""
    matches = [Match(base, root)]
    for step in path.steps:
        reached: list[Match] = []
        for at in matches:
            if at.missing:
                reached.append(at)
            elif isinstance(step, Field):
                reached += _field(step, at)
            elif isinstance(step, Every):
                reached += _every(at)
            elif isinstance(step, Values):
                reached += _values(at)
            else:
                reached += _where(step, at)
        matches = reached
    return matches
