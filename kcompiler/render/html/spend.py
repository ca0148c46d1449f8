"""The report on a run, its steps and budgets → what became of each step, and what all of it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kcompiler.delta import Entry
from kcompiler.policy.binding import RUN
from kcompiler.render import drawing
from kcompiler.render.fold import fold, label, pattern
from kcompiler.render.html.run import Run
from kcompiler.render.html.values import amount, at, number, short
from kcompiler.render.human_run import datums
from kcompiler.render.picture import Box, picture
from kcompiler.render.svg import draw
from kcompiler.result import StepState

#: what became of a step → words for people, and what it is drawn as
_STATES: Mapping[str, tuple[str, str]] = {
    "committed": ("made now", "reuse"),
    "reused": ("reused", "reuse"),
    "reuse": ("done", "reuse"),
    "done": ("done", "reuse"),
    "run": ("to do", "run"),
    "skipped": ("not asked for", "run"),
    "blocked": ("blocked", "blocked"),
    "failed": ("failed", "blocked"),
    "interrupted": ("interrupted", "blocked"),
    "missing": ("no result", "run"),
}
#: names of the run's report, and what they are called
_TOTALS = (
    ("wall", "time of all attempts"),
    ("cpu", "processor time"),
    ("gpu", "accelerator time"),
    ("estimated", "time that was estimated"),
    ("training_tokens", "tokens learnt from"),
    ("teacher_tokens", "tokens asked of teachers"),
    ("bytes", "artifacts"),
    ("attempts", "attempts"),
    ("lost_attempts", "attempts that left no sign"),
    ("resumes", "resumed"),
    ("repeated", "steps of trainings done twice"),
    ("lost", "time lost by kills"),
)
#: budget of a plan → the total that it bounds, and what one of its units is of that total's
_BUDGETS: Mapping[str, tuple[str, str, float]] = {
    "wall_s": ("wall", "s", 1.0),
    "cpu_s": ("cpu", "s", 1.0),
    "gpu_hours": ("gpu", "h", 3600.0),
    "training_tokens": ("training_tokens", "token", 1.0),
    "teacher_tokens": ("teacher_tokens", "token", 1.0),
}
#: rows of steps, boxes of a graph and steps of a plan that is drawn
MOST, BOXES, STEPS = 60, 120, 20_000


def section(run: Run, told: Sequence[StepState]) -> dict[str, Any]:
    """`told` is what the verb says of steps; where it says nothing, a step with a result is done."""
    data = at(run.reports.get(RUN), "data")
    measured = at(data, "steps")
    measured = measured if isinstance(measured, Mapping) else {}
    known = {one.step: one for one in told}
    states = {
        str(step["id"]): known[str(step["id"])].action
        if str(step["id"]) in known
        else ("done" if str(step["id"]) in measured else "missing")
        for step in run.steps
    }
    return {
        "totals": [(words, amount(at(data, name))) for name, words in _TOTALS if at(data, name) is not None],
        "budgets": list(_budgets(run.plan.get("budgets", {}), data)),
        "money": list(_money(run.reports)),
        "missing": [str(one) for one in at(data, "missing") or ()],
        **_steps(run, states, known, measured),
        **_graph(run, states, measured),
    }


def _budgets(budgets: Mapping[str, Any], data: Any) -> Iterable[dict[str, Any]]:
    for name, bound in sorted(budgets.items()):
        limit = number(bound)
        if limit is None or name not in _BUDGETS:
            continue
        total, unit, scale = _BUDGETS[name]
        used = number(at(data, total))
        yield {
            "name": f"budgets.{name}",
            "limit": short(limit, unit),
            "used": "not known" if used is None else short(used / scale, unit),
            "share": None if used is None or not limit else min(1.0, used / scale / limit),
            "over": used is not None and used / scale > limit,
        }


def _money(reports: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Data in dollars of every report but that on the run."""
    for step, report in sorted(reports.items()):
        if step != RUN:
            for path, datum in datums(report.get("data", {}), depth=3):
                if datum.get("unit") == "USD":
                    yield f"{step}: {path}", amount(datum)


def _steps(
    run: Run, states: Mapping[str, str], told: Mapping[str, StepState], measured: Mapping[str, Any]
) -> dict[str, Any]:
    """Rows of steps; many alike are one row."""

    def alike(step: Mapping[str, Any]) -> tuple[str, ...]:
        name = str(step["id"])
        return (pattern(name) if len(run.steps) > MOST else name, str(step["kind"]), states[name])

    rows = []
    groups = fold(run.steps, alike)
    for group in groups[:MOST]:
        ids = [str(step["id"]) for step in group]
        state = states[ids[0]]
        rows.append(
            {
                "name": label(ids),
                "kind": str(group[0]["kind"]),
                "state": _STATES.get(state, (state, ""))[0],
                "bad": state in ("failed", "blocked", "interrupted"),
                "wall": _sum(measured, ids, "wall", "s"),
                "cpu": _sum(measured, ids, "cpu", "s"),
                "estimated": _sum(measured, ids, "estimated", "s"),
                "bytes": _sum(measured, ids, "bytes", "B"),
                "attempts": _sum(measured, ids, "attempts", "count"),
                "why": told[ids[0]].why if ids[0] in told else "",
            }
        )
    return {"rows": rows, "left": sum(len(group) for group in groups[MOST:]), "count": len(run.steps)}


def _sum(measured: Mapping[str, Any], ids: Sequence[str], name: str, unit: str) -> str:
    """What all of them took together; "" where one of them is not known."""
    values = [number(at(measured, one, name)) for one in ids]
    known = [value for value in values if value is not None]
    return short(sum(known), unit) if len(known) == len(values) else ""


def _graph(run: Run, states: Mapping[str, str], measured: Mapping[str, Any]) -> dict[str, Any]:
    """The picture of the plan, or why there is none."""
    if len(run.steps) > STEPS:
        return {"graph": "", "undrawn": f"{len(run.steps):,} steps are too many to draw"}
    entries = [
        Entry(
            step=name,
            action=_STATES.get(state, ("", ""))[1],
            reason="",
            why="",
            wall_s=number(at(measured, name, "wall")),
        )
        for name, state in states.items()
    ]
    drawn = picture(run.steps, entries)
    if len(drawn.boxes) > BOXES:
        return {"graph": "", "undrawn": f"{len(drawn.boxes):,} boxes are too many to read"}

    def below(box: Box) -> str:
        took = f" · {box.wall_s:.1f} s" if box.wall_s is not None else ""
        return f"{box.kind}{f' · {_STATES[states[box.ids[0]]][0]}' if box.ids[0] in states else ''}{took}"

    return {"graph": draw(drawn, drawing.COLORS, below, drawing.path(drawn), style=False), "undrawn": ""}
