"""The error of calibration is the sum over its bins, and these hold the items that agreement counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import ROUNDING, Data, apart, measured


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
        total, width = 0.0, data["bins"]["value"]
        for right, sure, number in read_bins:
            if right is None or sure is None or number is None or right.n != sure.n:
                yield f"/reliability/{name}: a bin of no items"
                return
            at = float(number.value or 0)
            if not at / width - ROUNDING <= float(sure.value or 0) <= (at + 1) / width + ROUNDING:
                yield f"/reliability/{name}: bin {at:g} of {width} does not hold {float(sure.value or 0)!r}"
            total += abs(float((sure.value or 0) * (sure.n or 0)) - (right.k or 0))
        if len({one[2].value for one in read_bins if one[2]}) != len(read_bins):
            yield f"/reliability/{name}: a bin stands there twice"
        elif apart(node["value"], total / n):
            yield f"/calibration/{name}: {node['value']!r} is not the {total / n!r} of its bins"
