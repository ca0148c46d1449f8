"""Items of all runners of a suite → report `parity`: what each comes to, and how far each two are apart.

The machine and the auditor make it by the same words. No tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract import parity


def told(
    suite: str, lines: Mapping[str, Sequence[Mapping[str, Any]]], models: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """The report: what each runner of `models` comes to, and every two. Raises ValueError as `parity.pairs` does."""
    every = {name: parity.asked(name, lines.get(name, [])) for name in models}
    sums = {
        name: {"model": models[name], **{key: value for key, value in one.items() if key != "runner"}}
        for name, one in every.items()
    }
    # one that could not be asked has no items, and its pairs say so
    found = {name: lines.get(name, []) for name in models}
    return {"suite": suite, "runners": sums, **parity.pairs(found, models, seed)}
