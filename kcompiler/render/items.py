"""Lines of an evaluation → the worst of them, for people who read what a model said and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kcompiler.render.human import inert
from kcompiler.render.human_run import table

Line = Mapping[str, Any]
#: so much of an output is shown to people
LONGEST = 400


def worst(
    lines: Sequence[Line], cost: Callable[[Line], float] | None, count: int, runner: str = ""
) -> list[dict[str, Any]]:
    """The worst lines, of one runner or of all: those that are not right before those that are; of these first what
    most other runners have right, then what costs most, then in their order. Each with the runners that have its row
    right."""
    right: dict[str, list[str]] = {}
    for one in lines:
        right.setdefault(str(one["row"]), []).extend([] if one["reason"] else [str(one["runner"])])
    mine = [one for one in lines if runner in ("", one["runner"])]

    def badness(place: int) -> tuple[bool, int, float, int]:
        one = mine[place]
        wrong = bool(one["reason"])
        return not wrong, -len(right[str(one["row"])]) if wrong else 0, -cost(one) if cost else 0.0, place

    chosen = sorted(range(len(mine)), key=badness)[:count]
    return [{**mine[at], "right": list(right[str(mine[at]["row"])])} for at in chosen]


def text(step: str, lines: Sequence[Line], found: Sequence[Line]) -> str:
    """For people: nothing that a model said can move their cursor, and a long output is cut."""
    wrong = sum(bool(one["reason"]) for one in lines)
    asked = len({str(one["runner"]) for one in lines})
    said = [f"{step}: {len(lines)} items of {asked} runners, {wrong} not right; the {len(found)} worst"]
    for one in found:
        who = [name for name in one["right"] if name != one["runner"]]
        said.append(f"{one['row']}   {one['runner']}: {one['reason'] or 'right'}")
        output = one["output"] if isinstance(one["output"], str) else json.dumps(one["output"], ensure_ascii=False)
        shown = json.dumps(output[:LONGEST], ensure_ascii=False) + ("…" if len(output) > LONGEST else "")
        parts = ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in one["parts"].items())
        rows = [["asked", str(one["prompt"])], ["output", shown], ["parts", parts], ["right", ", ".join(who)]]
        said += table([row for row in rows if row[1]])
    return "\n".join(map(inert, said)) + "\n"
