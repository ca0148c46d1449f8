"""Lock × what this machine has already committed → per step: run, reuse or blocked, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime import catalog
from runtime.contract import keys
from runtime.contract.forecast import Forecast, forecast

#: what keys.decide writes for an input whose maker has yet to run
_UNKNOWN = "not yet known"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What would happen to one step, for people: `why` is the reason in words."""

    step: str
    action: str
    reason: str
    why: str
    #: seconds that the last committed result of this step took, for this plan's name; None where none is recorded
    wall_s: float | None = None
    #: what had been forecast for that; None where nothing had
    foreseen_s: float | None = None
    #: how long it will take if it runs
    forecast: Forecast | None = None
    #: its action key; "" while what it takes is unknown
    key: str = ""


def delta(
    plan: Mapping[str, Any],
    *,
    host: keys.Host,
    history: keys.History,
    present: keys.Present,
    only: Iterable[str] | None = None,
    force: Iterable[str] = (),
) -> Sequence[Entry]:
    """One entry per step, in the plan's order. Nothing is run, read or written here: the caller brings the state."""
    requires = {name: catalog.load("backends", name).requires for name in {step["backend"] for step in plan["steps"]}}
    decisions = keys.predict(
        plan, requires=requires, host=host, history=history, present=present, only=only, force=force
    )
    name = plan["asked"]["name"]
    estimates = plan.get("estimates", {})
    return [_entry(item, history.last(name, item.step), estimates.get(item.step)) for item in decisions]


def _entry(item: keys.Decision, last: Mapping[str, Any] | None, estimate: Mapping[str, Any] | None) -> Entry:
    record = item.record or last or {}
    wall_s, foreseen = record.get("wall_s"), record.get("forecast")
    return Entry(
        step=item.step,
        action=item.action,
        reason=item.reason,
        why=_why(item),
        wall_s=float(wall_s) if isinstance(wall_s, int | float) else None,
        foreseen_s=float(foreseen["wall_s"]) if foreseen else None,
        forecast=forecast(estimate, last),
        key=item.key,
    )


def _why(item: keys.Decision) -> str:
    """The reason in words. A step that only waits for others to run again names them, not sixty-four digits each."""
    if item.changes and all(change.reason == "upstream_changed" and change.new == _UNKNOWN for change in item.changes):
        producers = dict.fromkeys(keys.parse_reference(change.name)[1] for change in item.changes)
        return f"follows {', '.join(producers)}"
    return f"{item.reason}: {item.detail}"
