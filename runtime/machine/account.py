"""The budgets of a lock × journal and purse of a project → what is spent of each, set aside, and left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.machine import purse
from runtime.machine.budget import taken, total
from runtime.machine.journal import Attempts, Past, load, name_of, open_spent
from runtime.machine.meter import NOTHING, TOKENS, Spent
from runtime.machine.state import FOLDER

_HOUR_S = 3600
PAID = "paid"
#: budget that stops a run → its unit
UNITS: Mapping[str, str] = {
    "usd": "USD",
    "gpu_hours": "hour",
    "training_tokens": "token",
    "teacher_tokens": "token",
    "teacher_calls": "call",
    "wall_s": "s",
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """One budget. `spent` is known, or nobody knows that it was less; `reserved` is set aside for what is at work."""

    #: as it stands under `budgets`
    name: str
    unit: str
    limit: float
    spent: float
    reserved: float = 0.0
    #: what attempts took that were made for the spec's name and are no part of the plan at hand: a part of `spent`, and
    #: of `wall_s`, which each plan has anew, beside it. None where no line says for which plan something was bought
    earlier: float | None = None

    @property
    def left(self) -> float:
        return self.limit - self.spent - self.reserved

    def data(self) -> dict[str, Any]:
        return {**asdict(self), "left": round(self.left, 9)}


def accounts(
    lock: Mapping[str, Any],
    past: Past,
    bought: purse.Spend,
    done: Collection[Mapping[str, Any]],
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
    before = _earlier(name, paid, done, left)
    found = {
        "usd": (float(bought.taken.usd), float(open_.usd)),
        "gpu_hours": ((paid.gpu_s - aside.gpu_s) / _HOUR_S, aside.gpu_s / _HOUR_S),
        "training_tokens": (paid.training_tokens - aside.training_tokens, aside.training_tokens),
        "teacher_tokens": (paid.teacher_tokens, 0),
        "teacher_calls": (bought.taken.calls, open_.calls),
        "wall_s": (known.wall_s + staged.wall_s, held.wall_s),
    }
    return [
        Account(
            name=budget,
            unit=UNITS[budget],
            limit=named[budget],
            spent=round(spent, 9),
            reserved=round(reserved, 9),
            earlier=before.get(budget),
        )
        for budget, (spent, reserved) in found.items()
        if named.get(budget) is not None
    ]


def _earlier(
    name: str, paid: Spent, done: Iterable[Mapping[str, Any]], left: Iterable[Attempts]
) -> dict[str, float | None]:
    """Budget → what other plans of the name took: the whole, less what this one uses and has begun."""
    own = total(
        [
            *(taken(one) for one in done if name_of(str(one.get("spec", ""))) == name),
            *(
                one.counted + (NOTHING if one.staged is None else open_spent(one))
                for one in left
                if name_of(one.of[0]) == name
            ),
        ]
    )
    apart = {one: max(0.0, getattr(paid, one) - getattr(own, one)) for one in ("wall_s", "gpu_s", *TOKENS)}
    hours = apart.pop("gpu_s") / _HOUR_S
    return {one: round(value, 6) for one, value in (apart | {"gpu_hours": hours}).items()}


def look(root: Path, lock: Mapping[str, Any], done: Iterable[str], left: Iterable[str]) -> list[Account]:
    """The same for a project, of which nothing is changed. `done`, `left`: action keys. Raises BrokenEvidence."""
    folder = root / FOLDER
    _, past = load(folder)
    newest = {record["action"]: record for record in past.records}
    bought = purse.look(folder / PAID, name_of(str(lock["asked"]["name"])))
    return accounts(lock, past, bought, [newest[key] for key in done], left)
