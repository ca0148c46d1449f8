"""plan.lock → artifacts, reports and evidence; only what is not already there is computed. The machine's entry.

Imports no compiler: the judge comes in as a function. Prints nothing: whoever watches gets events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from runtime.contract import BrokenEvidence, Refusal, Unavailable
from runtime.contract.keys import Decision, predict
from runtime.machine import devices
from runtime.machine.account import look as accounts
from runtime.machine.attempt import StepCrashed
from runtime.machine.budget import used_up
from runtime.machine.context import Watch
from runtime.machine.durable import DISK, Disk, StorageFailed
from runtime.machine.garbage import Garbage, Item, collect, garbage
from runtime.machine.lease import Locked
from runtime.machine.locked import check, check_names
from runtime.machine.run import Judge, Run, StepResult
from runtime.machine.signals import StopRequest, stoppable
from runtime.machine.stale import Difference, Stale, require_fresh, requirements
from runtime.machine.state import State, Unfinished, look, steps_of, unfinished
from runtime.machine.store import Store
from runtime.machine.walk import Walk

__all__ = [
    "BrokenEvidence",
    "Difference",
    "Garbage",
    "Item",
    "Locked",
    "Refusal",
    "Run",
    "Stale",
    "StepCrashed",
    "StepResult",
    "StopRequest",
    "StorageFailed",
    "Store",
    "Unavailable",
    "Unfinished",
    "accounts",
    "apply",
    "collect",
    "forecast",
    "garbage",
    "look",
    "require_fresh",
    "requirements",
    "steps_of",
    "stoppable",
    "unfinished",
    "used_up",
]


def forecast(
    lock: Mapping[str, Any],
    *,
    root: Path,
    only: Iterable[str] | None = None,
    force: Iterable[str] = (),
    verify: bool = True,
) -> list[Decision]:
    """What `apply` would do, step by step. Takes no lease, changes nothing. Unless `verify`, names are trusted."""
    history, store = look(root)
    return predict(
        lock,
        requires=requirements(lock),
        host=devices.words(),
        history=history,
        present=store.present if verify else store.stands,
        only=only,
        force=force,
    )


def _never() -> bool:
    return False


def _unsaid() -> str:
    return ""


def _nobody(event: Mapping[str, Any]) -> None:
    del event


def apply(
    lock: Mapping[str, Any],
    *,
    root: Path,
    judge: Judge,
    watch: Watch = _nobody,
    only: Iterable[str] | None = None,
    force: Iterable[str] = (),
    stop_requested: Callable[[], bool] = _never,
    disk: Disk = DISK,
    now: Callable[[], float] = time.time,
    evidence: bool = True,
    verdict: Callable[[], str] = _unsaid,
) -> Run:
    """Carry out a lock in the project at `root` and return what became of it.

    `only` restricts what may run to these steps and what they need; results of other steps are used when they are
    there. `force` names steps to run though they could be reused. `stop_requested` is asked at every safe point.
    `verdict` says the digest of the verdict that will be written, once the judge was asked about everything: with the
    evidence, the journal keeps it.
    Without `evidence` the folder that stands beside the last verdict is left as it is: for who needs what some steps
    make, and judges nothing.
    Raises, having journaled what there is to journal: Refusal (the lock or an option), Stale (exit 4), Locked (exit 5),
    BrokenEvidence (exit 3), StorageFailed (exit 6), StepCrashed (exit 70), KeyboardInterrupt. A step's own Refusal or
    Unavailable is not raised: it stands in the result.
    """
    began = time.perf_counter()
    check(lock)
    selected, forced = (None if only is None else list(only)), set(force)
    check_names(lock, [*(selected or ()), *sorted(forced)], "only or force")
    root = root.resolve()
    with State(root, disk=disk, now=now) as state:
        require_fresh(lock, root)
        walk = Walk(lock, root, state, judge=judge, watch=watch, stop_requested=stop_requested, verdict=verdict)
        try:
            walk.open(selected, forced)
            walk.steps()
            return walk.close(began, evidence)
        except BaseException as error:
            walk.abandon(error)
            raise
