"""A report's data × what its schema says of it → the first thing in it that cannot be, or "".

A schema says what each number may be; what it cannot say is how they belong together: rows are those with a call and
those without, and the rates behind each model count the rows that were asked. A report that says otherwise was not
measured, and is evidence for nothing. Beside `data` a schema states such laws under `x-laws`:

    [{"in": "", "hold": ["rows == eligible + controls"]},
     {"in": "runners.*", "hold": ["right#k == exact_call#k + control_abstention#k", "right#n <= /rows"]}]

A term is a path into each place of `in`, or into the whole data after a `/`, and stands for the number there, after `#`
for the count behind it, or after `#items` for the length of the list there; or it is a whole number. A law about what
is not there, or unavailable, says nothing: that is for rules to miss.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from kcompiler.policy import path
from kcompiler.policy.datum import BadDatum, fraction, read
from kcompiler.policy.laws import counts

#: keyword of a report's schema, beside the properties of its data
LAWS = "x-laws"
ITEMS = "items"
COUNTS = ("n", "k", "tp", "fp", "fn", "wins", "losses", ITEMS)
_LAW = re.compile(r"(?P<left>.+) (?P<op>==|<=) (?P<right>.+)")


@dataclass(frozen=True)
class Term:
    """`text` as it is written; a path into a place or into the whole data, and the count that is meant, if any. Of a
    whole number `path` is None."""

    text: str
    path: path.Path | None
    whole: bool
    count: str


@dataclass(frozen=True)
class Law:
    """The sum of `left` is the sum of `right`, or with `<=` not more than that."""

    text: str
    left: Sequence[Term]
    op: str
    right: Sequence[Term]


@lru_cache(maxsize=256)
def parse(text: str) -> Law:
    """Raises ValueError for what is no law."""
    found = _LAW.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is no law: A == B, or A <= B")
    return Law(text, _terms(found["left"]), found["op"], _terms(found["right"]))


def _terms(text: str) -> tuple[Term, ...]:
    made = []
    for part in text.split(" + "):
        if part.isdigit():
            made.append(Term(part, None, False, ""))
            continue
        place, _, count = part.partition("#")
        if count and count not in COUNTS:
            raise ValueError(f"`{part}` names no count; there are {', '.join(COUNTS)}")
        made.append(Term(part, path.parse(place.removeprefix("/")), place.startswith("/"), count))
    return tuple(made)


def broken(data: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    """What contradicts itself, or "": a datum whose counts are impossible, or a law that does not hold."""
    wrong = next(_impossible(data, ""), "")
    return wrong or next((said for group in groups for said in _unlawful(data, group)), "")


def _impossible(node: object, pointer: str) -> Iterator[str]:
    """Data whose counts are no counts of each other: k of n with k > n, a rate that is another quotient."""
    if isinstance(node, Mapping):
        if "value" in node and "unit" in node and "tag" in node:
            try:
                read(node)
            except BadDatum as error:
                yield f"{pointer}: {error}"
            else:
                if wrong := counts.unnamed(node):
                    yield f"{pointer}: {wrong}"
            return
        for name, item in node.items():
            yield from _impossible(item, f"{pointer}/{path.escape(name)}")
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _impossible(item, f"{pointer}/{index}")


def _unlawful(data: Mapping[str, Any], group: Mapping[str, Any]) -> Iterator[str]:
    places = path.walk(path.parse(group["in"]), data) if group["in"] else [path.Match("", data)]
    for place in places:
        if place.missing:
            continue
        for text in group["hold"]:
            law = parse(text)
            left, right = _sum(law.left, place.value, data), _sum(law.right, place.value, data)
            if left is None or right is None or (left == right if law.op == "==" else left <= right):
                continue
            yield f"{place.pointer or '/'}: `{text}` does not hold ({_shown(left)} and {_shown(right)})"


def _shown(value: Fraction) -> str:
    return str(value if value.denominator == 1 else float(value))


def _sum(terms: Sequence[Term], place: object, data: object) -> Fraction | None:
    total = Fraction(0)
    for term in terms:
        if term.path is None:
            total += int(term.text)
            continue
        for match in path.walk(term.path, data if term.whole else place):
            found = None if match.missing else _number(match.value, term.count)
            if found is None:
                return None
            total += found
    return total


def _number(node: object, count: str) -> Fraction | None:
    if count == ITEMS:
        return Fraction(len(node)) if isinstance(node, list) else None
    return fraction(node.get(count or "value")) if isinstance(node, Mapping) else None
