"""A regular expression → a bound on the steps that a search with it can take, so that none may run for ever.

Python's engine tries one way after another. How many places it can reach is counted from the form of the expression:
a repetition of what can match in `w` ways reaches w + w² + … places, as often as it may be repeated (without a bound,
as often as the text is long), and what follows is tried from each of them. The bound counts every way as if the text
allowed it, so that no text of at most `LONGEST` characters costs more.
"""

from __future__ import annotations

import re
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Sequence
from typing import Any

from runtime.contract import ecma

#: characters of a text that is searched; a longer one is not
LONGEST = 4096
#: steps of one search; Python makes some ten millions of them in a second
MOST_STEPS = 200_000_000


def steps(pattern: str) -> int:
    """Most steps of a search through `LONGEST` characters, stopped at `MOST_STEPS` + 1. Raises ValueError."""
    found = ecma.compiled(pattern)
    nodes, _ = _of_all(parser.parse(found.pattern, found.flags), MOST_STEPS + 1)
    return min(LONGEST * nodes, MOST_STEPS + 1)


def compiled(pattern: str) -> re.Pattern[str]:
    """The expression, in the dialect of `ecma`. Raises ValueError for one that is none, that has more than one group
    with a value, or that could take longer than `MOST_STEPS`."""
    found = ecma.compiled(pattern)
    if found.groups > 1:
        raise ValueError("it has several groups; put the answer in one, and write the others as (?:…)")
    if steps(pattern) > MOST_STEPS:
        raise ValueError("it could search for minutes; bound all repetitions but one, such as `\\s{0,4}` for `\\s*`")
    return found


def _of_all(items: Sequence[Any], cap: int) -> tuple[int, int]:
    """(places reached, ways out) of parts one after the other."""
    nodes, ways = 0, 1
    for item in items:
        inner, out = _of(item, cap)
        nodes, ways = min(cap, nodes + ways * inner), min(cap, ways * out)
    return nodes, ways


def _of(item: Any, cap: int) -> tuple[int, int]:
    name, value = str(item[0]), item[1]
    if name in ("LITERAL", "NOT_LITERAL", "IN", "ANY", "AT"):
        return 1, 1
    if name == "SUBPATTERN":
        return _of_all(value[3], cap)
    if name == "BRANCH":
        parts = [_of_all(part, cap) for part in value[1]]
        return min(cap, 1 + sum(nodes for nodes, _ in parts)), min(cap, sum(ways for _, ways in parts))
    if name in ("MAX_REPEAT", "MIN_REPEAT"):
        low, high, inside = value
        return _repeated(low, min(int(high), LONGEST), _of_all(inside, cap), cap)
    if name in ("ASSERT", "ASSERT_NOT"):
        nodes, _ = _of_all(value[1], cap)
        return nodes, 1
    raise ValueError(f"`{name.lower()}` is not supported here")


def _repeated(low: int, high: int, inside: tuple[int, int], cap: int) -> tuple[int, int]:
    nodes, ways, reached = 1, 0, 1
    for count in range(high + 1):
        if count >= low:
            ways = min(cap, ways + reached)
        if count < high:
            nodes = min(cap, nodes + reached * inside[0])
        reached = min(cap, reached * inside[1])
    return nodes, ways
