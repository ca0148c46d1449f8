"""Lock × what this machine has already committed → per step: run, reuse or blocked, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime import catalog
from runtime.contract import keys


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What would happen to one step, for people: `why` is the reason in words."""

    step: str
    action: str
    reason: str
    why: str


def delta(
    plan: Mapping[str, Any],
    *,
    host: Mapping[str, str],
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
    return [
        Entry(step=item.step, action=item.action, reason=item.reason, why=f"{item.reason}: {item.detail}")
        for item in decisions
    ]
