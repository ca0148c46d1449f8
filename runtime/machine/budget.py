"""What a run may take × what it took, and what the next step will take → nothing, or the stop of a step. Money is the
business of whoever spends it.

What a step will take, as far as that is known, is set aside before it begins, in the line of the journal that says so:
a step for which not enough is left does not begin. What it took takes the place of it; where a kill left no sign of
that, what was set aside counts as taken.

Two sums are bounded. Seconds of the wall clock are those of the plan at hand: every attempt at each of its steps,
killed ones too, whatever apply made it. What is paid for (accelerators, tokens) is counted for the name of the spec:
every attempt ever made in this project for any form, profile or cell of it, so that no edit gives it back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.contract import Refusal, Stopped
from runtime.contract.forecast import Forecast, lost_s
from runtime.contract.keys import Decision
from runtime.machine.journal import Attempts, Past, load, name_of
from runtime.machine.meter import NOTHING, TOKENS, Spent, spent_of
from runtime.machine.state import FOLDER

_HOUR_S = 3600
#: a step has not begun, because it takes more than is left; one that takes less may
NOT_BEGUN = "KR0131"
_EVER = "in all attempts ever made for this spec's name"


class OverBudget(Stopped):
    """Unwinds a step because a budget of the run is used up, or has less left than the step takes. `refusal` says
    which."""

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
    #: what steps that come later will take, as far as that is known
    later: Spent = NOTHING

    def beside(self, others: Spent, later: Spent = NOTHING) -> Budget:
        """The same bounds for a step beside which the other steps of the plan took so much, and will take so much."""
        return replace(self, others=others, later=later)

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

    def afford(self, step: str, takes: Spent, spent: Spent, paid: Spent) -> None:
        """Raises OverBudget where a step takes more than is left. `spent`, `paid`: as in `check`, before it begins."""
        hour = float(_HOUR_S)
        asked = (
            ("wall_s", self.wall_s, takes.wall_s, self.others.wall_s + spent.wall_s, self.later.wall_s, "s"),
            ("gpu_hours", self.gpu_hours, takes.gpu_s / hour, paid.gpu_s / hour, self.later.gpu_s / hour, "hours"),
            (
                "training_tokens",
                self.training_tokens,
                takes.training_tokens,
                paid.training_tokens,
                self.later.training_tokens,
                "tokens",
            ),
        )
        for name, limit, needs, used, later, unit in asked:
            if limit is not None and needs > 0 and used + needs > limit:
                left = f"{_number(max(0.0, limit - used))} of {limit:,g} {unit} are left"
                raise OverBudget(
                    Refusal(
                        f"step `{step}` is not begun: it takes about {_number(needs)} {unit}, and of budgets.{name} "
                        f"{left}",
                        place=f"budgets.{name}",
                        action=f"set budgets.{name} to {_enough(used + needs + later, unit)} or more, which is what is "
                        "spent and what this step and those after it took the last time, or will take by arithmetic; "
                        "then apply again: finished steps and saved states are kept",
                        code=NOT_BEGUN,
                    )
                )


def _number(amount: float) -> str:
    """For reading."""
    return f"{amount:,.0f}" if amount >= 100 or amount == int(amount) else f"{amount:.3g}"


def _enough(amount: float, unit: str) -> str:
    """A number that is not less, as it can be written into a spec."""
    digits = {"s": 1, "hours": 4, "tokens": 0}[unit]
    more = math.ceil(amount * 10**digits) / 10**digits
    return f"{more:.{digits}f}".rstrip("0").rstrip(".") if digits else str(math.ceil(amount))


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
        one.step: past.attempts.get(one.key, Attempts()).counted if one.record is None else taken(one.record)
        for one in expected
    }


def taken(record: Mapping[str, Any]) -> Spent:
    """What counts against a budget for a committed record: what its attempts took, and what was set aside for those
    that left no sign."""
    return spent_of(record) + spent_of(record.get("held", {}))


def whole(made: Forecast | None, last: Mapping[str, Any] | None, device: str) -> Spent:
    """What a step takes from its beginning to its end by its forecast, and by `last`, the newest committed record of
    it; nothing of what is not known. By arithmetic one accelerator is held all the time, or none."""
    if made is None:
        return NOTHING
    if made.by == "arithmetic" or last is None:
        return Spent(wall_s=made.wall_s, gpu_s=0.0 if device == "cpu" else made.wall_s)
    took = spent_of(last)
    share = made.wall_s / took.wall_s if took.wall_s else 0.0
    useful_s = took.wall_s - lost_s(last)
    # of tokens nobody knows which were read in vain
    more = made.wall_s / useful_s if useful_s > 0 else 1.0
    return Spent(
        wall_s=made.wall_s,
        gpu_s=took.gpu_s * share,
        training_tokens=math.floor(took.training_tokens * more),
    )


def rest(of: Spent, known: Attempts) -> Spent:
    """What of a step is still to do, when its attempts kept what they did: all but what they did not do in vain."""
    useful_s = sum(
        one.spent.wall_s - (one.spent.wall_s if one.way is None else one.way.lost_s) for one in known.ended_at.values()
    )
    share = max(0.0, 1.0 - useful_s / of.wall_s) if of.wall_s else 0.0
    return Spent(
        wall_s=of.wall_s * share,
        gpu_s=of.gpu_s * share,
        training_tokens=math.floor(of.training_tokens * share),
    )


def aside(reserved: Spent) -> dict[str, float]:
    """For the journal line that says that a step begins: what is set aside for it, and nothing of what is not known."""
    return {name: amount for name, amount in reserved.data().items() if amount and name in _ASIDE}


#: processors have no budget that stops anything
_ASIDE = ("wall_s", "gpu_s", "training_tokens")


def total(spent: Iterable[Spent]) -> Spent:
    return sum(spent, NOTHING)


def used_up(root: Path, lock: Mapping[str, Any], done: Iterable[str], left: Iterable[str]) -> Refusal | None:
    """Why `apply` could do none of the steps that are left, whatever they need: a budget of the run that their earlier
    attempts and the steps that are done have used up. `done`, `left`: action keys. Raises BrokenEvidence."""
    _, past = load(root / FOLDER)
    newest = {record["action"]: record for record in past.records}
    spent = [taken(newest[key]) for key in done]
    waiting = [past.attempts.get(key, Attempts()).counted for key in left]
    if not waiting:
        return None
    try:
        paid = past.paid(name_of(str(lock["asked"]["name"])))
        budget_of(lock).beside(total(spent)).check(total(waiting), paid)
    except OverBudget as over:
        return over.refusal
    return None
