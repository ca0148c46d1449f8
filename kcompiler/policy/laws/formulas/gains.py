"""Two models over the same items: their difference is that of what each has right, or is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, difference, side_of
from runtime.contract.statistics.paired import OF_TEXTS


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Two models over the same items; with `"under": NAME` the differences stand under that name."""
    under = said.get("under", "")
    held = data.get(under, {}) if under else data
    for name, runners in OF_TEXTS.items():
        sides = [side_of(data, said["of"], runner, said.get("less", False)) for runner in runners]
        if name in held and (wrong := difference(held[name], *sides)):
            yield f"{'/' if under else ''}{under}/{name}: {wrong}"
