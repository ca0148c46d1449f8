"""The budgets of a lock × journal and purse of a project → what is spent of each, set aside, and left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.machine import purse
from runtime.machine.budget import taken, total
from runtime.machine.journal import Attempts, Past, load, name_of, open_spent
from runtime.machine.state import FOLDER

_HOUR_S = 3600
PAID = "paid"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One budget. `spent` is known, or nobody knows that it was less; `reserved` is set aside for what is at work."""

    #: as it stands under `budgets`
    name: str
    unit: str
    limit: float
    spent: float
    reserved: float = 0.0

    @property
    def left(self) -> float:
        return self.limit - self.spent - self.reserved

    def data(self) -> dict[str, Any]:
        return {**asdict(self), "left": round(self.left, 9)}


def accounts(
    lock: Mapping[str, Any],
    past: Past,
    bought: purse.Spend,
    done: Iterable[Mapping[str, Any]],
    waiting: Iterable[str],
) -> list[Account]:
    """Each budget that the lock names and that stops a run. `done`: committed records in use; `waiting`: action keys
    without one."""
    named, name = lock.get("budgets", {}), name_of(str(lock["asked"]["name"]))
    left = [past.attempts.get(key, Attempts()) for key in waiting]
    aside = past.aside(name)
    paid = past.paid(name)
    known = total([*map(taken, done), *(one.spent + one.held for one in left)])
    staged = total(open_spent(one) for one in left if one.staged is not None)
    held = total(one.reserved for one in left)
    open_ = bought.aside
    found = {
        "usd": ("USD", float(bought.taken.usd), float(open_.usd)),
        "gpu_hours": ("hour", (paid.gpu_s - aside.gpu_s) / _HOUR_S, aside.gpu_s / _HOUR_S),
        "training_tokens": ("token", paid.training_tokens - aside.training_tokens, aside.training_tokens),
        "teacher_tokens": ("token", paid.teacher_tokens, 0),
        "teacher_calls": ("call", bought.taken.calls, open_.calls),
        "wall_s": ("s", known.wall_s + staged.wall_s, held.wall_s),
    }
    return [
        Account(name=budget, unit=unit, limit=named[budget], spent=round(spent, 9), reserved=round(reserved, 9))
        for budget, (unit, spent, reserved) in found.items()
        if named.get(budget) is not None
    ]


def look(root: Path, lock: Mapping[str, Any], done: Iterable[str], left: Iterable[str]) -> list[Account]:
    """The same for a project, of which nothing is changed. `done`, `left`: action keys. Raises BrokenEvidence."""
    folder = root / FOLDER
    _, past = load(folder)
    newest = {record["action"]: record for record in past.records}
    bought = purse.look(folder / PAID, name_of(str(lock["asked"]["name"])))
    return accounts(lock, past, bought, [newest[key] for key in done], left)
