"""A budget that is used up stops a step within it, keeps what was done, and lets the run go on when it is raised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal
from runtime.machine.apply import apply, forecast, used_up
from runtime.machine.budget import Budget, OverBudget, total
from runtime.machine.meter import FILE, Spent
from tests.unit.runtime.machinery import Watched, approve, chain


@pytest.mark.parametrize(
    ("budget", "spent", "paid", "name"),
    [
        (Budget(wall_s=10.0), Spent(wall_s=10.001), Spent(), "wall_s"),
        (Budget(wall_s=10.0, others=Spent(wall_s=9.5)), Spent(wall_s=0.6), Spent(), "wall_s"),
        (Budget(gpu_hours=1.0), Spent(), Spent(gpu_s=3600.1), "gpu_hours"),
        (Budget(gpu_hours=0.0), Spent(), Spent(gpu_s=0.1), "gpu_hours"),
        (Budget(training_tokens=100), Spent(), Spent(training_tokens=101), "training_tokens"),
        (Budget(teacher_tokens=0), Spent(), Spent(teacher_tokens=1), "teacher_tokens"),
    ],
)
def test_more_than_a_budget_stops(budget: Budget, spent: Spent, paid: Spent, name: str) -> None:
    with pytest.raises(OverBudget) as caught:
        budget.check(spent, paid)
    refusal = caught.value.refusal
    assert (refusal.code, refusal.place) == ("KR0130", f"budgets.{name}")
    assert f"raise budgets.{name}" in refusal.action


MUCH = Spent(wall_s=1e9, gpu_s=1e9, training_tokens=10**12, teacher_tokens=10**12)


@pytest.mark.parametrize(
    ("budget", "spent", "paid"),
    [
        (Budget(), MUCH, MUCH),
        (Budget(wall_s=10.0), Spent(wall_s=10.0, cpu_s=99.0), MUCH),
        (Budget(gpu_hours=1.0), MUCH, Spent(wall_s=1e9, gpu_s=3600.0)),
        (Budget(gpu_hours=0.0), MUCH, Spent(wall_s=5.0)),
        (Budget(training_tokens=100), MUCH, Spent(training_tokens=100, teacher_tokens=101)),
        (Budget(teacher_tokens=100), MUCH, Spent(training_tokens=101, teacher_tokens=100)),
    ],
)
def test_all_of_a_budget_may_be_used(budget: Budget, spent: Spent, paid: Spent) -> None:
    budget.check(spent, paid)


def test_what_other_steps_took_stands_beside_a_bound() -> None:
    assert Budget(wall_s=3.0).beside(total([Spent(wall_s=1.0), Spent(gpu_s=2.0, training_tokens=3)])) == Budget(
        wall_s=3.0, others=Spent(wall_s=1.0, gpu_s=2.0, training_tokens=3)
    )


def go(root: Path, wall_s: float, **options: Any) -> Any:
    content = chain(root, rounds=60, pause_s=0.02)
    content["budgets"] = {"usd": 0.0, "gpu_hours": 0.0, "wall_s": wall_s, "cpu_s": 100.0}
    return apply(content, root=root, judge=approve, **options)


def claims(root: Path) -> list[Mapping[str, Any]]:
    lines = (root / ".kcompiler" / "journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_step_stops_within_and_goes_on_when_the_budget_is_raised(root: Path) -> None:
    run = go(root, 0.4)
    assert run.outcome == "failed"
    status = {step.step: (step.status, step.reason) for step in run.steps}
    assert status["make"][0] == "committed"
    assert status["grow"][0] == "failed"
    assert {status["join"], status["aside"]} == {("blocked", "upstream_failed")}
    (error,) = [step.error for step in run.steps if step.error]
    assert isinstance(error, Refusal)
    assert error.code == "KR0130"
    ended = [line["data"]["wall_s"] for line in claims(root) if line["type"] == "step_interrupted"]
    assert len(ended) == 1
    assert ended[0] > 0.2

    # nothing begins that has no time left, and that costs nothing
    assert go(root, 0.4).outcome == "failed"
    assert [line["type"] for line in claims(root)].count("step_claimed") == 2

    watch = Watched()
    run = go(root, 60.0, watch=watch)
    assert run.outcome == "done"
    assert watch.of("said"), "it says that it goes on from its saved state"
    grow = run.reports["apply"]["data"]["steps"]["grow"]
    assert grow["wall"]["value"] > ended[0] + 0.2
    assert (grow["attempts"]["value"], grow["lost_attempts"]["value"]) == (2, 0)

    (root / "calm").mkdir()
    assert run.digests == go(root / "calm", 60.0).digests


def test_results_that_are_there_are_reused_whatever_they_cost(root: Path) -> None:
    assert go(root, 60.0).outcome == "done"
    run = go(root, 0.001)
    assert run.outcome == "done"
    assert {step.status for step in run.steps} == {"reused"}


def test_an_attempt_without_a_sign_of_life_leaves_the_time_unknown(root: Path) -> None:
    content = chain(root, rounds=3)

    def kill(event: Mapping[str, Any]) -> None:
        # as a power cut would: the claim is in the journal, the end is not, and the sign is gone
        if event["event"] == "progress":
            next((root / ".kcompiler" / "scratch").glob(f"*/{FILE}")).write_text("")
            raise _Killed

    with pytest.raises(_Killed):
        apply(content, root=root, judge=approve, watch=kill)
    run = apply(content, root=root, judge=approve)
    data = run.reports["apply"]["data"]
    assert data["lost_attempts"]["value"] == 1
    assert {data[name]["tag"] for name in ("cpu", "gpu", "wall")} == {"unavailable"}
    assert "left no sign" in data["cpu"]["reason"]


class _Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_who_looks_is_told_which_budget_is_used_up(root: Path) -> None:
    """And no more once it is raised, or when nothing is left to do."""
    content = chain(root, rounds=60, pause_s=0.02)

    def told(wall_s: float) -> str:
        lock = {**content, "budgets": {"usd": 0.0, "gpu_hours": 0.0, "wall_s": wall_s, "cpu_s": 100.0}}
        found = forecast(lock, root=root)
        done = [one.key for one in found if one.record is not None]
        refusal = used_up(root, lock, done, [one.key for one in found if one.record is None])
        return "" if refusal is None else f"{refusal.place}: {refusal.message}"

    assert told(0.4) == "", "nothing is done yet"
    assert go(root, 0.4).outcome == "failed"
    assert told(0.4).startswith("budgets.wall_s: budgets.wall_s is used up: ")
    assert told(60.0) == ""
    assert go(root, 60.0).outcome == "done"
    assert told(0.4) == "", "what is done needs no time"
