"""How often a task succeeds when it is tried again and again: pass^k, all of k trials do (tau-bench, Yao et al. 2024).

With c of a task's n trials right, C(c, k) / C(n, k) is the unbiased estimate of the chance that k trials are all right;
the mean over tasks is pass^k. Trials of one task are one cluster: tasks, not trials, are what the interval counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.intervals import exact_interval, t_interval


def of_task(right: int, trials: int, k: int) -> float:
    """C(right, k) / C(trials, k). Raises ValueError for counts that are none, or fewer trials than k."""
    if not 0 <= right <= trials or not 1 <= k <= trials:
        raise ValueError(f"{right} right of {trials} trials say nothing of {k} in a row")
    return math.comb(right, k) / math.comb(trials, k)


def pass_k(tasks: Mapping[str, tuple[int, int]], k: int) -> dict[str, Any]:
    """Datum: pass^k over tasks, each (right, trials), with a two-sided 95 % interval over tasks.

    Where each task is all or nothing the interval is the exact one of a rate; else Student's t over tasks, or, where
    these do not differ and t would have no width, Hoeffding's (1963) of what lies between 0 and 1.
    """
    if not tasks:
        return unavailable("no tasks", "probability")
    fewest = min(trials for _, trials in tasks.values())
    if fewest < k:
        return unavailable(f"a task with {fewest} trials says nothing of {k} in a row", "probability")
    values = [of_task(right, trials, k) for right, trials in tasks.values()]
    mean = fmean(values)
    if set(values) <= {0.0, 1.0}:
        low, high = exact_interval(int(sum(values)), len(values))
        name = "exact over tasks, two-sided"
    elif len(values) < 2:
        return unavailable("one task has no interval", "probability")
    else:
        low, high, name = *t_interval(values), ""
        if len(set(values)) == 1:
            half = math.sqrt(math.log(2 / 0.05) / (2 * len(values)))
            low, high, name = mean - half, mean + half, "Hoeffding over tasks"
        low, high, name = max(0.0, low), min(1.0, high), name or "Student's t over tasks"
    return measured(mean, "probability", n=len(values), k_trials=k, low=low, high=high, confidence=0.95, interval=name)


def by_task(trials: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    """(task, whether it was right) per trial → task → (right, trials)."""
    found: dict[str, tuple[int, int]] = {}
    for task, right in trials:
        before = found.get(task, (0, 0))
        found[task] = before[0] + right, before[1] + 1
    return found


def curve(tasks: Mapping[str, tuple[int, int]]) -> Sequence[dict[str, Any]]:
    """pass^1 up to the number of trials that every task has."""
    most = min((trials for _, trials in tasks.values()), default=0)
    return [pass_k(tasks, k) for k in range(1, most + 1)]
