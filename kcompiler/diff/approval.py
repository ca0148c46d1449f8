"""Who must sign a lock, before and after → stronger, weaker or incomparable, with what moved.

Fewer signatures are weaker, and so is none. Whoever is new, or signs with another key, makes it incomparable: which
people are trusted is nothing that can be counted. An approver less lets nobody sign who could not before, and nor does
a key that ends earlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kcompiler.diff.direction import Direction


class Step(NamedTuple):
    """One thing that moved: a dotted path below the pack, and both values (None: it is not there)."""

    direction: Direction
    path: str
    old: Any
    new: Any


def moves(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Step]:
    """What moved between two of what a lock says of a pack's approval (`min`, `approvers` by name → key, and `until`
    which day a key counts)."""
    if old is None or new is None:
        if old != new:
            yield Step("stronger" if old is None else "weaker", "approval.min", old and old["min"], new and new["min"])
        return
    if old["min"] != new["min"]:
        way: Direction = "weaker" if new["min"] < old["min"] else "stronger"
        yield Step(way, "approval.min", old["min"], new["min"])
    was, now = old["approvers"], new["approvers"]
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            way = "incomparable" if name in now else "stronger"
            yield Step(way, f"approval.approvers.{name}", was.get(name), now.get(name))
    for name in sorted(was.keys() & now.keys()):
        before, after = (one.get("until", {}).get(name) for one in (old, new))
        if before != after:
            yield Step(
                "weaker" if (after or "~") > (before or "~") else "stronger", f"approval.until.{name}", before, after
            )
