"""What a run may take × what it took → nothing, or the stop of a step. Money is the business of whoever spends it.

Two sums are bounded. Seconds of the wall clock are those of the plan at hand: every attempt at each of its steps,
killed ones too, whatever apply made it. What is paid for (accelerators, tokens) is counted for the name of the spec:
every attempt ever made in this project for any form, profile or cell of it, so that no edit gives it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.contract import Refusal, Stopped
from runtime.contract.keys import Decision
from runtime.machine.journal import Attempts, Past, load, name_of
from runtime.machine.meter import NOTHING, TOKENS, Spent, spent_of
from runtime.machine.state import FOLDER

_HOUR_S = 3600
_EVER = "in all attempts ever made for this spec's name"


class OverBudget(Stopped):
    """Unwinds a step because a budget of the run is used up. `refusal` says which."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Bounds of a run (None: no bound) and what the other steps of its plan took."""

    wall_s: float | None = None
    gpu_hours: float | None = None
    training_tokens: int | None = None
    teacher_tokens: int | None = None
    others: Spent = NOTHING

    def beside(self, others: Spent) -> Budget:
        """The same bounds for a step beside which the other steps of the plan took so much."""
        return replace(self, others=others)

    def check(self, spent: Spent, paid: Spent) -> None:
        """Raises OverBudget. `spent`: all attempts at the step at work; `paid`: all attempts for the spec's name."""
        wall_s = self.others.wall_s + spent.wall_s
        if self.wall_s is not None and wall_s > self.wall_s:
            what = f"{_beyond(wall_s, self.wall_s, 0)} s over all attempts at this plan"
            raise _over("wall_s", what, f"{self.wall_s:g} s")
        if self.gpu_hours is not None and paid.gpu_s > self.gpu_hours * _HOUR_S:
            what = f"{_beyond(paid.gpu_s / _HOUR_S, self.gpu_hours, 3)} hours of accelerators"
            raise _over("gpu_hours", f"{what} {_EVER}", f"{self.gpu_hours:g}")
        for name in TOKENS:
            limit, count = getattr(self, name), getattr(paid, name)
            if limit is not None and count > limit:
                raise _over(name, f"{count:,} {name.replace('_', ' ')} {_EVER}", f"{limit:,}")


def _beyond(spent: float, limit: float, digits: int) -> str:
    """With so many digits behind the point, or as many as show that it is more."""
    texts = (f"{spent:.{number}f}" for number in range(digits, 10))
    return next((text for text in texts if float(text) > limit), repr(spent))


UNLIMITED = Budget()


def budget_of(lock: Mapping[str, Any]) -> Budget:
    """The bounds a lock names."""
    named = lock.get("budgets", {})
    return Budget(**{name: named.get(name) for name in ("wall_s", "gpu_hours", *TOKENS)})


def _over(name: str, spent: str, limit: str) -> OverBudget:
    return OverBudget(
        Refusal(
            f"budgets.{name} is used up: {spent}, {limit} are allowed",
            place=f"budgets.{name}",
            action=f"raise budgets.{name}, then apply again: finished steps and saved states are kept",
            code="KR0130",
        )
    )


def spent_on(past: Past, expected: Sequence[Decision]) -> dict[str, Spent]:
    """Step → what all attempts at it took, as far as its key is known: those of the result that is reused, or those
    that have no result yet. So each step is checked beside what was spent on those that come after it."""
    return {
        one.step: past.attempts.get(one.key, Attempts()).spent if one.record is None else spent_of(one.record)
        for one in expected
    }


def total(spent: Iterable[Spent]) -> Spent:
    return sum(spent, NOTHING)


def used_up(root: Path, lock: Mapping[str, Any], done: Iterable[str], left: Iterable[str]) -> Refusal | None:
    """Why `apply` could do none of the steps that are left, whatever they need: a budget of the run that their earlier
    attempts and the steps that are done have used up. `done`, `left`: action keys. Raises BrokenEvidence."""
    _, past = load(root / FOLDER)
    newest = {record["action"]: record for record in past.records}
    spent = [spent_of(newest[key]) for key in done]
    waiting = [past.attempts.get(key, Attempts()).spent for key in left]
    if not waiting:
        return None
    try:
        paid = past.paid(name_of(str(lock["asked"]["name"])))
        budget_of(lock).beside(total(spent)).check(total(waiting), paid)
    except OverBudget as over:
        return over.refusal
    return None
