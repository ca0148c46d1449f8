"""What a model has right of all items is what it has right of their parts: by kind, by category, by length.

`whole` leads to a rate (or an F1) of each runner, in place of the `*`, and `into` to its parts, `[*]` being every name:
`by_part[*].*`. A part of no items counts nothing. Where an item may belong to several parts (`"overlap": true`) these
count at least what all have, and exactly that where they have no more items. What is false may also be called where
nothing is wanted, and then belongs to no part: `besides` is the rate of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, at, every, measured, placed, runners

_COUNTS = ("n", "k", "tp", "fn")


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """The counts of the parts add up to those of the whole."""
    for runner in runners(data, said["whole"]):
        node = at(data, said["whole"].replace("*", runner))
        if measured(node) is None or not isinstance(node, Mapping):
            continue
        parts = [one for one in every(data, said["into"], runner) if isinstance(one, Mapping) and measured(one)]
        if said.get("overlap", False) and len(parts) < len(every(data, said["into"], runner)):
            continue  # one was not measured: that is for rules to miss
        more = said.get("overlap", False) and sum(one["n"] for one in parts) > node["n"]
        for name in (name for name in _COUNTS if name in node):
            total = sum(one.get(name, 0) for one in parts)
            if total < node[name] or (total > node[name] and not more):
                yield f"{placed(said['whole'], runner)}: `{name}` {node[name]}, and {total} in `{said['into']}`"
        called = measured(at(data, said["besides"].replace("*", runner))) if "besides" in said else None
        if called is not None and not more:
            false = node["fp"] - sum(one.get("fp", 0) for one in parts)
            if false < (called.k or 0) or (false and not called.k):
                yield f"{placed(said['whole'], runner)}: {false} false beside those in `{said['into']}`"
