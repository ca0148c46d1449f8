"""A step number → learning rate and loss weights. Pure functions, so that a resumed run cannot drift."""

from __future__ import annotations

import math

from runtime.contract import Refusal
from runtime.contract.optimizer import Optimizer, Schedule
from runtime.contract.qat import Rounding


def learning_rate(step: int, steps: int, optimizer: Optimizer, rounding: Rounding | None = None) -> float:
    """Rate of a step: `course`, times the factor of a training whose weights are rounded by then."""
    return course(step, steps, optimizer) * (1.0 if rounding is None else rounding.factor(step))


def course(step: int, steps: int, optimizer: Optimizer) -> float:
    """Rate of step 0 ≤ `step` < `steps`: linear warm-up that reaches the peak in its last step, then cosine from the
    peak down to `final_fraction` of it (SGDR without restarts, arXiv 1608.03983) or constant."""
    peak, warm = optimizer.learning_rate, optimizer.warmup_steps
    # asked before it is known whether the run is long enough to fall: a short one has not ignored it
    low = 1.0 if optimizer.decay == "constant" else optimizer.final_fraction
    if step < warm:
        return peak * (step + 1) / warm
    if optimizer.decay == "constant" or steps <= warm + 1:
        return peak
    course = (step - warm) / (steps - 1 - warm)
    return peak * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * course)))


def weight_at(step: int, weight: float, schedule: Schedule | None) -> float:
    """The declared weight until `from_step`, then linearly to `to` at `until_step`, then `to`."""
    if schedule is None or step <= schedule.from_step:
        return weight
    if step >= schedule.until_step:
        return schedule.to
    share = (step - schedule.from_step) / (schedule.until_step - schedule.from_step)
    return weight + (schedule.to - weight) * share


def check(name: str, schedule: Schedule | None) -> None:
    """Raises Refusal for a schedule that ends before it starts."""
    if schedule is not None and schedule.until_step <= schedule.from_step:
        raise Refusal(
            f"the weight schedule of `{name}` ends at step {schedule.until_step} and starts at {schedule.from_step}",
            action="make until_step larger than from_step",
        )
