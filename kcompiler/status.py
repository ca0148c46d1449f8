"""A plan and its delta → where somebody stands: per stage what it waits for, whether it is done, what comes next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kcompiler.delta import Entry
from runtime.contract.keys import producers

#: stage → the steps of the catalog that belong to it, in the order of a distillation; any other step is of `further`
STAGES: Mapping[str, tuple[str, ...]] = {
    "data": ("data",),
    "tokenizer": ("tokenizer",),
    "teacher": ("fetch", "read_gguf", "bootstrap", "import_teacher", "harvest", "replay"),
    "train": ("reach", "train"),
    "probe": ("probe",),
    "export": ("export",),
    "convert": ("convert",),
    "verify": ("verify",),
    "evaluate": ("evaluate", "gather"),
}
FURTHER = "further"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage. `needs` are the stages it takes from, `waits` those of them that are not done; `gates` counts the
    blocking rules on its reports; `since` is when the newest of its steps was committed, for people only."""

    name: str
    #: `waits` also for a pinned file that is not here
    state: Literal["done", "ready", "waits", "none"]
    steps: int
    done: int
    needs: Sequence[str]
    waits: Sequence[str]
    gates: int
    since: str = ""
    why: str = ""
    #: paths of pinned inputs that are not here
    lacks: Sequence[str] = ()
    #: steps that were begun and not finished, each with what became of it and what the next apply does
    begun: Sequence[str] = ()


def stages(
    plan: Mapping[str, Any],
    entries: Sequence[Entry],
    dates: Mapping[str, str],
    absent: Collection[str] = (),
    begun: Mapping[str, str] | None = None,
) -> list[Stage]:
    """Every stage in order, those without a step as `none`. `dates`: step id → time of its commit. `absent`: paths of
    inputs that the plan pins and that are not here. `begun`: step id → what became of an attempt without a result."""
    halves = begun or {}
    gone = {f"input:{item['name']}": str(item["path"]) for item in plan["inputs"] if item["path"] in absent}
    stage_of = {step["id"]: _stage(step) for step in plan["steps"]}
    reused = {entry.step for entry in entries if entry.action == "reuse"}
    why = {entry.step: entry.why for entry in entries}
    finished = {name for name in {*stage_of.values()} if all(i in reused for i, s in stage_of.items() if s == name)}
    order = [*STAGES, *([FURTHER] if FURTHER in stage_of.values() else [])]
    found = []
    for name in order:
        steps = [step for step in plan["steps"] if stage_of[step["id"]] == name]
        needs = {stage_of[up] for step in steps for up in producers(step) if stage_of[up] != name}
        ids = {step["id"] for step in steps}
        waits = [other for other in order if other in needs - finished]
        lacks = sorted({gone[one] for step in steps for one in step["takes"].values() if one in gone})
        open_ids = [step["id"] for step in steps if step["id"] not in reused]
        found.append(
            Stage(
                name=name,
                state="none" if not steps else "done" if name in finished else "waits" if waits or lacks else "ready",
                steps=len(steps),
                done=len(ids & reused),
                needs=[other for other in order if other in needs],
                waits=waits,
                gates=sum(1 for item in plan["obligations"] if item["mode"] == "block" and item["from"][5:] in ids),
                since=max((dates.get(i, "") for i in ids & reused), default=""),
                why=why.get(open_ids[0], "") if open_ids else "",
                lacks=lacks,
                begun=[f"{one} {halves[one]}" for one in open_ids if one in halves],
            )
        )
    return found


def _stage(step: Mapping[str, Any]) -> str:
    kind = str(step["kind"]).partition("@")[0]
    return next((name for name, kinds in STAGES.items() if kind in kinds), FURTHER)
