"""Lines of an evaluation → the worst of them, for people who read what a model said and for programs."""

from __future__ import annotations

import heapq
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kcompiler.render.human import inert
from kcompiler.render.human_run import table
from runtime.contract import spool

Line = Mapping[str, Any]
#: so much of an output is shown to people
LONGEST = 400


def worst(
    lines: Sequence[Line], cost: Callable[[Line], float] | None, count: int, runner: str = ""
) -> list[dict[str, Any]]:
    """The worst lines, of one runner or of all: those that are not right before those that are; of these first what
    most other runners have right, then what costs most, then in their order. Each with the runners that have its row
    right."""
    # of a line is kept whether it is right and, of those that are looked for, what it costs
    sound, costs, mine = bytearray(), array("d"), array("I")

    def rows() -> Iterator[str]:
        for at, one in enumerate(lines):
            sound.append(not one["reason"])
            if runner in ("", one["runner"]):
                mine.append(at)
                costs.append(cost(one) if cost else 0.0)
            yield str(one["row"])

    groups = spool.Groups(rows())
    right = array("I", bytes(4 * len(groups)))
    for at, group in enumerate(groups.of):
        right[group] += sound[at]

    def badness(place: int) -> tuple[bool, int, float, int]:
        at = mine[place]
        return bool(sound[at]), 0 if sound[at] else -right[groups.of[at]], -costs[place], place

    chosen = heapq.nsmallest(count, range(len(mine)), key=badness)
    return [
        {
            **lines[at],
            "right": [str(lines[other]["runner"]) for other in groups.members(groups.of[at]) if sound[other]],
        }
        for at in map(mine.__getitem__, chosen)
    ]


def text(step: str, lines: Sequence[Line], found: Sequence[Line]) -> str:
    """For people: nothing that a model said can move their cursor, and a long output is cut."""
    wrong, asked = 0, set[str]()
    for one in lines:
        wrong += bool(one["reason"])
        asked.add(str(one["runner"]))
    said = [f"{step}: {len(lines)} items of {len(asked)} runners, {wrong} not right; the {len(found)} worst"]
    for one in found:
        who = [name for name in one["right"] if name != one["runner"]]
        said.append(f"{one['row']}   {one['runner']}: {one['reason'] or 'right'}")
        output = one["output"] if isinstance(one["output"], str) else json.dumps(one["output"], ensure_ascii=False)
        shown = json.dumps(output[:LONGEST], ensure_ascii=False) + ("…" if len(output) > LONGEST else "")
        parts = ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in one["parts"].items())
        rows = [["asked", str(one["prompt"])], ["output", shown], ["parts", parts], ["right", ", ".join(who)]]
        said += table([row for row in rows if row[1]])
    return "\n".join(map(inert, said)) + "\n"
