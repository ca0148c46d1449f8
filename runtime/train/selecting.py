"""Validations so far → which state is kept, which others are, and whether the training ends. Plain values, no tensors.

They stand in the record of the run and survive a kill with it. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.contract.validation import Validation

#: shares of the allowed steps, in per cent, whose first validation at or after them is a milestone
MILESTONES = (10, 25, 50, 75, 90, 100)
#: states that are kept whatever they are worth
LAST = 3

#: why a training ended
STEPS, PATIENCE = "steps", "patience"


@dataclass(frozen=True, slots=True)
class Look:
    """One validation: after how many steps, what each term was and what decides, in nat/token."""

    step: int
    values: list[float | None]
    total: float | None
    metric: float


@dataclass(frozen=True, slots=True)
class Kept:
    """The weights after so many steps: their file in the scratch folder and its digest."""

    step: int
    file: str
    digest: str


@dataclass(slots=True)
class Selection:
    """What was seen, what is kept, and how long nothing was gained."""

    looks: list[Look] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    best: int = 0
    #: the metric from which a gain is counted, and validations since it was gained
    reference: float | None = None
    waited: int = 0
    #: "" while the training goes on
    stopped: str = ""
    #: tokens of the rows that were looked at, over all validations
    tokens: int = 0

    def observe(self, look: Look, policy: Validation) -> None:
        """Take a validation in. The earlier of two equal states is the better one: it cost less."""
        best = self.at(self.best)
        if best is None or look.metric < best.metric:
            self.best = look.step
        self.looks.append(look)
        gained = self.reference is None or (
            look.metric < self.reference and self.reference - look.metric >= policy.least_gain
        )
        if gained:
            self.reference, self.waited = look.metric, 0
        else:
            self.waited += 1
        if policy.patience is not None and self.waited >= policy.patience:
            self.stopped = PATIENCE

    def at(self, step: int) -> Look | None:
        """The validation after so many steps."""
        return next((look for look in self.looks if look.step == step), None)

    @property
    def steps(self) -> list[int]:
        return [look.step for look in self.looks]

    def wanted(self, allowed: int, *, states: bool) -> list[int]:
        """After which steps the weights are kept: the best, and with `states` milestones and the last ones."""
        found = {self.best}
        if states:
            found |= {*milestones(self.steps, allowed), *self.steps[-LAST:]}
        return sorted(found)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Selection:
        looks, kept = ([kind(**one) for one in value[name]] for kind, name in ((Look, "looks"), (Kept, "kept")))
        return Selection(**{**value, "looks": looks, "kept": kept})


def milestones(steps: Sequence[int], allowed: int) -> list[int]:
    """Of the steps after which was validated, the first at or after each share of the allowed ones."""
    found = [next((step for step in steps if 100 * step >= share * allowed), None) for share in MILESTONES]
    return sorted({step for step in found if step is not None})


def due(done: int, policy: Validation, allowed: int) -> bool:
    """Whether there is a validation after so many steps."""
    return done % policy.every == 0 or done == allowed
