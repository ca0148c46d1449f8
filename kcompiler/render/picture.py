"""A plan's steps and their delta → what is drawn: boxes (sweeps folded), lines, the critical path, a neighbourhood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kcompiler.delta import Entry
from kcompiler.graph import critical_path, neighbourhood
from kcompiler.render.fold import fold, label, pattern
from runtime.contract.keys import producers


@dataclass(frozen=True, kw_only=True)
class Box:
    """Steps drawn as one. `action` is of the delta, "" where none was asked for; `level` counts lines from the start;
    `wall_s` is the sum of recorded times, None where one lacks."""

    name: str
    ids: Sequence[str]
    kind: str
    backend: str
    action: str
    level: int
    critical: bool
    wall_s: float | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """`carries` lists the ports; empty for a precondition."""

    source: str
    target: str
    carries: Sequence[str]
    critical: bool


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`critical` are the ids of the longest way through the whole plan, measured in `unit`: "s" or "steps"."""

    boxes: Sequence[Box]
    lines: Sequence[Line]
    critical: Sequence[str]
    length: float
    unit: str


def picture(
    steps: Sequence[Mapping[str, Any]],
    entries: Iterable[Entry] = (),
    *,
    focus: str = "",
    depth: int = 1,
    full: bool = False,
) -> Picture:
    """Raises KeyError when there is no step `focus`."""
    waits = {step["id"]: producers(step) for step in steps}
    delta = {entry.step: entry for entry in entries}
    seconds = {name: entry.wall_s for name, entry in delta.items() if entry.wall_s is not None}
    timed = bool(steps) and len(seconds) == len(steps)
    weights = seconds if timed else dict.fromkeys(waits, 1.0)
    critical = critical_path(waits, weights)
    shown = neighbourhood(waits, focus, depth) if focus else set(waits)
    boxes = _boxes([step for step in steps if step["id"] in shown], _levels(waits), delta, set(critical), full)
    inputs = _inputs(steps, shown)
    return Picture(
        boxes=[*inputs, *boxes],
        lines=_lines([step for step in steps if step["id"] in shown], [*inputs, *boxes], critical),
        critical=critical,
        length=sum(weights[name] for name in critical),
        unit="s" if timed else "steps",
    )


def _levels(waits: Mapping[str, Sequence[str]]) -> dict[str, int]:
    levels: dict[str, int] = {}
    for name, before in waits.items():  # a plan lists every step after those it waits for
        levels[name] = 1 + max((levels[other] for other in before), default=0)
    return levels


def _boxes(
    steps: Sequence[Mapping[str, Any]],
    levels: Mapping[str, int],
    delta: Mapping[str, Entry],
    critical: set[str],
    full: bool,
) -> list[Box]:
    def key(step: Mapping[str, Any]) -> tuple[object, ...]:
        name = step["id"]
        action = delta[name].action if name in delta else ""
        # steps of one level cannot wait for each other, so folding them makes no ring
        return (name if full else pattern(name), step["kind"], levels[name], action, name in critical)

    found = []
    for group in fold(steps, key):
        ids = [step["id"] for step in group]
        times = [delta[name].wall_s for name in ids if name in delta]
        known = [time for time in times if time is not None]
        found.append(
            Box(
                name=label(ids),
                ids=ids,
                kind=group[0]["kind"],
                backend=group[0]["backend"],
                action=delta[ids[0]].action if ids[0] in delta else "",
                level=levels[ids[0]],
                critical=ids[0] in critical,
                wall_s=sum(known) if len(known) == len(ids) else None,
            )
        )
    return found


def _inputs(steps: Sequence[Mapping[str, Any]], shown: set[str]) -> list[Box]:
    taken = [ref for step in steps if step["id"] in shown for ref in step["takes"].values() if ref.startswith("input:")]
    return [
        Box(name=name, ids=[name], kind="input", backend="", action="", level=0, critical=False, wall_s=None)
        for name in dict.fromkeys(taken)
    ]


def _lines(steps: Sequence[Mapping[str, Any]], boxes: Sequence[Box], critical: Sequence[str]) -> list[Line]:
    box_of = {name: box.name for box in boxes for name in box.ids}
    on_path = set(pairwise(critical))
    carried: dict[tuple[str, str], dict[str, None]] = {}
    marked: set[tuple[str, str]] = set()
    for step in steps:
        pairs = [(*_from(reference),) for reference in step["takes"].values()]
        for source, port in [*pairs, *((before, "") for before in step.get("after", []))]:
            if source not in box_of:
                continue
            ends = (box_of[source], box_of[step["id"]])
            ports = carried.setdefault(ends, {})
            if port:
                ports[port] = None
            if (source, step["id"]) in on_path:
                marked.add(ends)
    return [
        Line(source=ends[0], target=ends[1], carries=list(ports), critical=ends in marked)
        for ends, ports in carried.items()
    ]


def _from(reference: str) -> tuple[str, str]:
    """(id of the producer, port), or (the input, "file")."""
    if reference.startswith("input:"):
        return reference, "file"
    producer, _, port = reference.removeprefix("step:").partition("#")
    return producer, port
