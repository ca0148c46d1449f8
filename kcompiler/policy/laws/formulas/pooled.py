"""An F1 of pooled counts: its interval is Fieller's, of the sums of squares that stand beside its counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, at, measured, placed, runners, unlike
from runtime.contract.statistics import ratios


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Its ends are those of its sums."""
    for text in said["of"]:
        for runner in runners(data, text):
            node = at(data, text.replace("*", runner))
            if measured(node) is not None and isinstance(node, Mapping) and (wrong := _wrong(node)):
                yield f"{placed(text, runner)}: {wrong}"


def _wrong(node: Mapping[str, Any]) -> str:
    sums = [node.get(name) for name in ratios.SUMS]
    if any(type(one) is not int for one in sums):
        return "an F1 without its sums of squares"
    squares: list[int] = [one for one in sums if isinstance(one, int)]
    counts = node["tp"], node["fp"], node["fn"]
    if not ratios.possible(node["n"], *counts, squares):
        return "its sums of squares are of other answers"
    return unlike(node, ratios.f1_of(node["n"], *counts, squares))
