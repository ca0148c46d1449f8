"""Stages of a distillation → a view: one row each, with what it waits for and what stands behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kcompiler.diagnostic import RefusalLike
from kcompiler.render import accounts
from kcompiler.render.human import inert, shortened
from kcompiler.render.human_run import table, waits
from kcompiler.render.view import Section, View
from kcompiler.status import Stage

#: blocking rules that are named
_MOST = 5
_SIGN = {"done": "=", "ready": ">", "waits": "·", "none": "-"}


def view(
    name: str,
    stages: Sequence[Stage],
    next_command: str,
    judged: Mapping[str, Any] | None = None,
    spent: RefusalLike | None = None,
    told: Mapping[str, Sequence[str]] = MappingProxyType({}),
    accounted: accounts.Accounts = (),
) -> View:
    """`>` can start now, `·` waits, `=` is done, `-` is not asked for. `judged` is the verdict on this plan, if any;
    `spent` says which budget is used up, `told` what more there is, by its title, `accounted` what of each budget is
    spent, set aside and left."""
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
        Section(title="budget", rows=[inert(spent.message)] if spent else []),
        Section(title="spend", rows=[inert(row) for row in accounts.rows(accounted)]),
        Section(title="verdict", rows=[inert(row) for row in _judged(judged, told.get("evidence"))]),
        *(Section(title=title, rows=[inert(row) for row in rows]) for title, rows in told.items()),
        Section(title="next", rows=[inert(next_command)]),
    ]
    shown = [section for section in sections if section.rows]
    return View(headline=inert(f"{name}   {done} of {asked} stages done"), digest="", sections=shown)


def _judged(verdict: Mapping[str, Any] | None, changed: Sequence[str] | None) -> list[str]:
    if verdict is None:
        return []
    asked = [one for one in verdict["outcomes"] if one["blocks"] and not waits(one, verdict)]
    blocking = [f"✗ {one['rule']} on {one['step']}: {one['reason']}" for one in asked]
    more = [f"… and {len(blocking) - _MOST} more that block"] if len(blocking) > _MOST else []
    word = f"{verdict['verdict']}, of other evidence than lies here now" if changed else str(verdict["verdict"])
    return [word, *blocking[:_MOST], *more]


def _detail(stage: Stage) -> str:
    if stage.state == "done":
        return f"since {stage.since}" if stage.since else ""
    if stage.state == "none":
        return ""
    needs = ", ".join(name if name in stage.waits else f"{name} (done)" for name in stage.needs)
    asked = f"needs {needs}" if needs else ""
    lacks = f"not here: {', '.join(stage.lacks)}" if stage.lacks else ""
    why = "; ".join(stage.begun) or (stage.why if stage.state == "ready" else "")
    return "; ".join(part for part in (asked, lacks, shortened(why)) if part)
