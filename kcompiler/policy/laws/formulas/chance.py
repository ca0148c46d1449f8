"""What is right beyond chance, by family, and beside the teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.datum import Datum
from kcompiler.policy.laws.sides import Data, apart, measured, unlike
from runtime.contract.statistics import chance, clusters

#: items of which right and wrong are written out, so that no count makes whoever reads a report run out of memory
_MOST = 1_000_000


def broken(data: Data, _said: Mapping[str, Any]) -> Iterator[str]:
    """What is right beyond chance, by family, and beside the teacher."""
    size = len(data["choices"])
    if data["chance"]["value"] is not None and apart(data["chance"]["value"], 1 / size):
        yield "/chance: it is not one of the choices"
    rates = {name: one for name, node in data["accuracy"].items() if (one := measured(node)) is not None}
    for name, one in rates.items():
        k, n = one.k or 0, one.n or 0
        if n > _MOST:
            yield f"/accuracy/{name}: {n} items are more than are read"
            return
        if wrong := unlike(data["corrected"][name], chance.corrected(k, n, size)):
            yield f"/corrected/{name}: {wrong}"
        yield from _families(data, name, k, n)
    if measured(data["of_teacher"]) is not None:
        yield from _kept(data, rates, size)


def _families(data: Data, name: str, k: int, n: int) -> Iterator[str]:
    families = {
        family: one
        for family, row in data["by_class"].items()
        if (one := measured(row.get(name))) is not None and one.n
    }
    if not families and measured(data["macro"].get(name)) is None:
        return
    counted = sum(one.k or 0 for one in families.values()), sum(one.n or 0 for one in families.values())
    if counted != (k, n):
        yield f"/by_class: {counted[0]} of {counted[1]} by class and {k} of {n} in all of `{name}`"
        return
    right = [at < (one.k or 0) for one in families.values() for at in range(one.n or 0)]
    of = [family for family, one in families.items() for _ in range(one.n or 0)]
    values = {"macro": chance.macro(right, of), "clustered": clusters.mean([float(one) for one in right], of, "1")}
    for key, expected in values.items():
        if name in data[key] and (wrong := unlike(data[key][name], expected)):
            yield f"/{key}/{name}: {wrong}"


def _kept(data: Data, rates: Mapping[str, Datum], size: int) -> Iterator[str]:
    """A share of the teacher's accuracy, over the pairs that the comparison with the teacher counts."""
    mine, other, paired = rates.get("student"), rates.get("teacher"), data["teacher_gain"]
    if mine is None or other is None or mine.k is None or mine.n is None or other.k is None or other.n is None:
        yield "/of_teacher: a share of what was not measured"
        return
    if measured(paired) is None:
        right = [at < mine.k for at in range(mine.n)]
        expected = chance.share_of_counts(right, other.k, other.n, size)
    else:
        won, lost = paired.get("wins", 0), paired.get("losses", 0)
        both = mine.k - won
        if both < 0 or both + won + lost > mine.n:
            return
        none = mine.n - both - won - lost
        one = [True] * (both + won) + [False] * (lost + none)
        two = [True] * both + [False] * won + [True] * lost + [False] * none
        expected = chance.share_of(one, two, size)
    if wrong := unlike(data["of_teacher"], expected):
        yield f"/of_teacher: {wrong}"
