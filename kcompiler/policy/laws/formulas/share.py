"""How much a model has right of what its teacher has, of the same items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, apart, measured, side_of


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """How much a model has right of what its teacher has, of the same items."""
    teacher = side_of(data, said["of"], "teacher", less=False)
    for name, node in data["of_teacher"].items():
        found, mine = measured(node), side_of(data, said["of"], name, less=False)
        if found is None:
            continue
        if teacher is None or mine is None or not teacher.value:
            yield f"/of_teacher/{name}: a share of what was not measured"
        elif mine.n == teacher.n and apart(node["value"], float(mine.value / teacher.value)):
            yield f"/of_teacher/{name}: {node['value']!r} is not {float(mine.value / teacher.value)!r}"
