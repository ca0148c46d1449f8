"""The error of calibration is the sum over its bins, and these hold the items that agreement counts; so does what a
model is sure enough of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kcompiler.policy.laws.sides import ROUNDING, Data, measured, unlike
from runtime.contract.statistics import calibration


def broken(data: Data, _said: Mapping[str, Any]) -> Iterator[str]:
    """The error is the sum over its bins, and these hold the items that agreement counts."""
    for name, node in data["calibration"].items():
        found, agreed = measured(node), measured(data["agreement"].get(name))
        if found is None:
            continue
        bins = data["reliability"].get(name, [])
        read_bins = [(measured(one["right"]), measured(one["sure"]), measured(one["bin"])) for one in bins]
        k = sum((right.k or 0) for right, _, _ in read_bins if right)
        n = sum((right.n or 0) for right, _, _ in read_bins if right)
        if n != found.n or agreed is None or (k, n) != (agreed.k, agreed.n):
            yield f"/reliability/{name}: its bins hold {k} right of {n}"
            continue
        cells, width = list[tuple[int, int, float]](), data["bins"]["value"]
        for right, sure, number in read_bins:
            if right is None or sure is None or number is None or right.n != sure.n:
                yield f"/reliability/{name}: a bin of no items"
                return
            at = float(number.value or 0)
            if not at / width - ROUNDING <= float(sure.value or 0) <= (at + 1) / width + ROUNDING:
                yield f"/reliability/{name}: bin {at:g} of {width} does not hold {float(sure.value or 0)!r}"
            cells.append((right.k or 0, right.n or 0, float(sure.value or 0)))
        if len({one[2].value for one in read_bins if one[2]}) != len(read_bins):
            yield f"/reliability/{name}: a bin stands there twice"
        elif wrong := unlike(node, calibration.of_bins(cells)):
            yield f"/calibration/{name}: {wrong}, of its bins"
        else:
            yield from _sure(data, name, bins, width)


def _sure(data: Data, name: str, bins: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    """Bins wholly above what is sure enough are in it, those wholly below are not."""
    least, coverage, agreed = data["abstain_below"]["value"], data["coverage"].get(name), data["when_sure"].get(name)
    edges = [(one["bin"]["value"], one["right"]) for one in bins]
    above = [node for at, node in edges if at / width >= least]
    some = [node for at, node in edges if (at + 1) / width > least - ROUNDING]
    for place, node, count in (("coverage", coverage, "n"), ("when_sure", agreed, "k")):
        found = measured(node)
        low, high = (sum(one[count] for one in nodes) for nodes in (above, some))
        if found is not None and not low <= (found.k or 0) <= high:
            yield f"/{place}/{name}: {found.k}, and its bins have {low} to {high}"
