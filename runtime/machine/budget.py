"""What a run may take × what it took → nothing, or the stop of a step. Money is the business of whoever spends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract import Refusal
from runtime.machine.journal import Attempts, load
from runtime.machine.meter import NOTHING, Spent, spent_of
from runtime.machine.run import Stopped
from runtime.machine.state import FOLDER

_HOUR_S = 3600


class OverBudget(Stopped):
    """Unwinds a step because a budget of the run is used up. `refusal` says which."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Bounds of a run (None: no bound) and what its steps took before the one that is at work."""

    wall_s: float | None = None
    gpu_hours: float | None = None
    before: Spent = NOTHING

    def after(self, spent: Spent) -> Budget:
        """The same bounds when a further step has its result."""
        return Budget(wall_s=self.wall_s, gpu_hours=self.gpu_hours, before=self.before + spent)

    def check(self, spent: Spent) -> None:
        """Raises OverBudget when the steps before and `spent` are more than the run may take."""
        total = self.before + spent
        if self.wall_s is not None and total.wall_s > self.wall_s:
            raise _over("wall_s", f"{total.wall_s:.0f} s", f"{self.wall_s:g} s")
        if self.gpu_hours is not None and total.gpu_s > self.gpu_hours * _HOUR_S:
            raise _over("gpu_hours", f"{total.gpu_s / _HOUR_S:.3g} hours of accelerators", f"{self.gpu_hours:g}")


UNLIMITED = Budget()


def budget_of(lock: Mapping[str, Any]) -> Budget:
    """The bounds a lock names."""
    named = lock.get("budgets", {})
    return Budget(wall_s=named.get("wall_s"), gpu_hours=named.get("gpu_hours"))


def _over(name: str, spent: str, limit: str) -> OverBudget:
    return OverBudget(
        Refusal(
            f"budgets.{name} is used up: {spent} over all attempts, {limit} are allowed",
            place=f"budgets.{name}",
            action=f"raise budgets.{name}, then apply again: finished steps and saved states are kept",
            code="KR0130",
        )
    )


def used_up(root: Path, lock: Mapping[str, Any], done: Iterable[str], left: Iterable[str]) -> Refusal | None:
    """Why `apply` could do none of the steps that are left, whatever they need: a budget of the run that their earlier
    attempts and the steps that are done have used up. `done`, `left`: action keys. Raises BrokenEvidence."""
    _, past = load(root / FOLDER)
    newest = {record["action"]: record for record in past.records}
    budget = budget_of(lock)
    for key in done:
        budget = budget.after(spent_of(newest[key]))
    try:
        for key in left:
            budget.check(past.attempts.get(key, Attempts()).spent)
    except OverBudget as over:
        return over.refusal
    return None
