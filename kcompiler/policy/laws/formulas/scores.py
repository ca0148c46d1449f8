"""Both answers of a pair scored in two ways: the way that is declared gives what is preferred, the mean margin of
either has Student's interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, mean_wrong, measured


def broken(data: Data, _said: Mapping[str, Any]) -> Iterator[str]:
    """What is preferred is preferred by the declared score, and margins are on its side."""
    for score, runners in data["scores"].items():
        for name, node in runners.items():
            whole, mine, margin = (
                measured(data["preferred"][name]),
                measured(node["preferred"]),
                measured(node["margin"]),
            )
            place = f"/scores/{score}/{name}"
            if whole is None or mine is None:
                if whole is not mine:
                    yield f"{place}: it is not there with what is preferred"
            elif mine.n != whole.n or (score == data["score"] and mine.k != whole.k):
                yield f"{place}/preferred: {mine.k} of {mine.n}, and {whole.k} of {whole.n} in all"
            elif margin is not None and margin.value is not None:
                if margin.n != mine.n or (wrong := mean_wrong(node["margin"])):
                    yield f"{place}/margin: {'of other pairs' if margin.n != mine.n else wrong}"
                elif (mine.k == mine.n and margin.value <= 0) or (mine.k == 0 and margin.value > 0):
                    yield f"{place}/margin: on the other side than what is preferred"
    for number, one in enumerate(data["worst"]):
        judged = [
            float(found.value or 0) for name in ("student", "coreml") if (found := measured(one["margins"].get(name)))
        ]
        if all(value > 0 for value in judged):
            yield f"/worst/{number}: it is ranked rightly"
