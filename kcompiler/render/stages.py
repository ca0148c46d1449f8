"""Stages of a distillation → a view: one row each, with what it waits for and what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence

from kcompiler.render.human import inert
from kcompiler.render.human_run import table
from kcompiler.render.view import Section, View
from kcompiler.status import Stage

_SIGN = {"done": "=", "ready": ">", "waits": "·", "none": "-"}


def view(name: str, stages: Sequence[Stage], next_command: str) -> View:
    """`>` can start now, `·` waits, `=` is done, `-` is not asked for."""
    rows = [
        [
            _SIGN[stage.state],
            stage.name,
            stage.state if stage.state != "none" else "not asked for",
            f"{stage.done}/{stage.steps}" if stage.steps else "",
            f"{stage.gates} gate{'s' if stage.gates > 1 else ''}" if stage.gates else "",
            _detail(stage),
        ]
        for stage in stages
    ]
    done = sum(1 for stage in stages if stage.state == "done")
    asked = sum(1 for stage in stages if stage.state != "none")
    sections = [
        Section(title="stages", rows=[inert(row) for row in table(rows, indent="")]),
        Section(title="next", rows=[inert(next_command)]),
    ]
    return View(headline=inert(f"{name}   {done} of {asked} stages done"), digest="", sections=sections)


def _detail(stage: Stage) -> str:
    if stage.state == "done":
        return f"since {stage.since}" if stage.since else ""
    if stage.state == "none":
        return ""
    needs = ", ".join(name if name in stage.waits else f"{name} (done)" for name in stage.needs)
    asked = f"needs {needs}" if needs else ""
    lacks = f"not here: {', '.join(stage.lacks)}" if stage.lacks else ""
    return "; ".join(part for part in (asked, lacks, stage.why if stage.state == "ready" else "") if part)
