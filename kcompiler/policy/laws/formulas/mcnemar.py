"""One family of tests, over the pairs whose difference stands beside it. The p of each is read with its counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, apart, measured
from runtime.contract.statistics import multiple
from runtime.contract.statistics.paired import ALPHA, EXACT_MCNEMAR


def broken(data: Data, _said: Mapping[str, Any]) -> Iterator[str]:
    """One family of tests, over the pairs whose difference stands beside it. The p of each is read with its counts."""
    found = {name: node for name, node in data["mcnemar"].items() if measured(node) is not None}
    adjusted = multiple.holm({name: node["value"] for name, node in found.items()})
    for name, node in found.items():
        beside = data.get(name, {})
        counts = [one.get(count) for one in (node, beside) for count in ("n", "wins", "losses")]
        if counts[:3] != counts[3:] or node.get("test") != EXACT_MCNEMAR:
            yield f"/mcnemar/{name}: it is no test of the pairs of `{name}`"
        elif (
            apart(node.get("adjusted"), adjusted[name])
            or node.get("alpha") != ALPHA
            or node.get("comparisons") != len(found)
            or node.get("adjustment") != "Holm"
            or node.get("significant") is not (adjusted[name] < ALPHA)
        ):
            yield f"/mcnemar/{name}: of {len(found)} tests at {ALPHA} p is {adjusted[name]!r} after Holm"
