"""A budget that is used up stops a step within it, keeps what was done, and lets the run go on when it is raised."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal
from runtime.contract import report as facts
from runtime.contract.peak import off
from runtime.machine import meter, saved
from runtime.machine.apply import accounts, apply, collect, forecast, unfinished, used_up
from runtime.machine.budget import Budget, OverBudget, total
from runtime.machine.meter import FILE, Spent
from tests.longer import longer
from tests.unit.runtime.machinery import Watched, approve, chain, lock, step


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


@pytest.mark.parametrize(
    ("budget", "spent", "paid", "words"),
    [
        (Budget(wall_s=5.0), Spent(wall_s=5.004), Spent(), "5.004 s over"),
        (Budget(wall_s=5.0), Spent(wall_s=5.6), Spent(), "6 s over"),
        (Budget(wall_s=5.0), Spent(wall_s=12345.4), Spent(), "12345 s over"),
        (Budget(gpu_hours=0.0), Spent(), Spent(gpu_s=0.1), "0.00003 hours"),
        (Budget(gpu_hours=1.0), Spent(), Spent(gpu_s=3600.1), "1.00003 hours"),
        (Budget(gpu_hours=1.0), Spent(), Spent(gpu_s=5400), "1.500 hours"),
    ],
)
def test_what_was_spent_reads_as_more_than_what_is_allowed(
    budget: Budget, spent: Spent, paid: Spent, words: str
) -> None:
    with pytest.raises(OverBudget, match=f"is used up: {words}"):
        budget.check(spent, paid)


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


@longer
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


@longer
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


BOUNDS = {"usd": 0.0, "gpu_hours": 1e9, "wall_s": 1e9, "cpu_s": 1e9}


def on(root: Path, *, rounds: int = 20, pause_s: float = 0.01, name: str = "toy", **bounds: float) -> dict[str, Any]:
    """The chain, bounded; another number of rounds is another form of the spec."""
    content = chain(root, rounds=rounds, pause_s=pause_s)
    return {**content, "asked": {**content["asked"], "name": name}, "budgets": {**BOUNDS, **bounds}}


def to_the_end(lock: Mapping[str, Any], root: Path, **options: Any) -> Any:
    return apply(lock, root=root, judge=approve, **options)


def killed_at(lock: Mapping[str, Any], root: Path, round_: int) -> bool:
    """Whether an apply came so far in `grow` that it was killed there, a moment after its last sign of life."""

    def kill() -> bool:
        for state in (root / ".kcompiler/scratch").glob("*/work/state.json"):
            if json.loads(state.read_text())[1] >= round_:
                time.sleep(0.15)
                raise _Killed
        return False

    try:
        apply(lock, root=root, judge=approve, stop_requested=kill)
    except _Killed:
        return True
    return False


@pytest.fixture
def beating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life so close that a kill after a moment's rest leaves a true one."""
    monkeypatch.setattr(meter, "INTERVAL_S", 0.05)


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch, beating: None) -> None:
    """One accelerator, held all the time."""
    monkeypatch.setattr(meter, "accelerators", lambda: 1)


def total_of(run: Any, name: str) -> float:
    return float(run.reports["apply"]["data"][name]["value"])


@pytest.mark.usefixtures("holding")
def test_no_edit_gives_back_what_was_paid_for(root: Path) -> None:
    """Neither another form of the spec, nor a profile of it, nor a second result of the same; another spec pays for
    itself."""
    whole = to_the_end(on(root), root)
    assert whole.outcome == "done"
    hours = total_of(whole, "gpu") / 3600
    assert hours > 0.2 / 3600
    for form in (on(root, rounds=21), on(root, rounds=22, name="toy@mini")):
        run = to_the_end({**form, "budgets": {**BOUNDS, "gpu_hours": hours * 0.99}}, root)
        assert run.outcome == "failed"
        (error,) = [step.error for step in run.steps if step.error]
        assert isinstance(error, Refusal)
        assert error.place == "budgets.gpu_hours"
        assert "ever made for this spec's name" in error.message
    assert to_the_end({**on(root), "budgets": {**BOUNDS, "gpu_hours": hours * 0.99}}, root).outcome == "done", "reused"
    other = {**on(root, rounds=21, name="other"), "budgets": {**BOUNDS, "gpu_hours": hours * 100}}
    assert to_the_end(other, root).outcome == "done"
    forced = to_the_end({**on(root), "budgets": {**BOUNDS, "gpu_hours": hours * 0.99}}, root, force=["grow"])
    assert forced.outcome == "failed", "making it again is paid again"


def accounted(lock: Mapping[str, Any], root: Path) -> dict[str, Any]:
    found = forecast(lock, root=root)
    done = [one.key for one in found if one.record is not None]
    known = accounts(root, lock, done, [one.key for one in found if one.record is None])
    return {one.name: one for one in known}


def test_what_earlier_plans_of_the_name_took_is_told(root: Path) -> None:
    """Tokens of a superseded plan count on; time does not, and is shown beside the bound that begins anew."""
    bounds = {"training_tokens": 500, "teacher_calls": 7}
    first, second = on(root, **bounds), on(root, rounds=21, **bounds)
    assert {one.earlier for one in accounted(first, root).values()} == {0.0, None}
    assert to_the_end(first, root).outcome == "done"
    wall = accounted(first, root)["wall_s"]
    assert (wall.earlier, wall.spent > 0.2) == (0.0, True)
    for spent, run in ((200, False), (410, True)):
        if run:
            assert to_the_end(second, root).outcome == "done"
        known = accounted(second, root)
        assert (known["training_tokens"].spent, known["training_tokens"].earlier) == (spent, 200)
        assert known["training_tokens"].left == 500 - spent
        assert 0.2 < known["wall_s"].earlier <= wall.spent
        assert known["teacher_calls"].earlier is None, "no line says for which plan something was bought"
    assert known["wall_s"].left + known["wall_s"].spent == known["wall_s"].limit
    # the step of the first plan that comes back is its own again, and that of the second an earlier one's
    assert accounted(first, root)["training_tokens"].earlier == 210
    assert to_the_end(on(root, rounds=22, **bounds), root).outcome == "failed"
    # another spec has made nothing, and no profile is another
    assert {one.earlier for one in accounted(on(root, name="other", **bounds), root).values()} == {0.0, None}
    assert accounted(on(root, rounds=23, name="toy@mini", **bounds), root)["training_tokens"].earlier == 410


@pytest.mark.usefixtures("beating")
def test_tokens_of_killed_attempts_and_of_work_that_was_done_twice_are_counted(root: Path) -> None:
    assert killed_at(on(root), root, 5)
    for work in (root / ".kcompiler/scratch").glob("*/work"):
        (work / "state.json").unlink()  # what it saved is lost: five rounds are done again
    run = to_the_end(on(root), root)
    assert run.outcome == "done"
    assert total_of(run, "training_tokens") >= 10 * (5 + 20)
    assert total_of(run, "training_tokens") <= 10 * (5 + 20) + 50, "the moment of the kill counts as worked"
    data = run.reports["apply"]["data"]
    assert (data["resumes"]["value"], data["repeated"]["value"]) == (1, 5)
    assert 0.15 < data["lost"]["value"] < data["wall"]["value"]
    assert to_the_end(on(root, rounds=21, training_tokens=200), root).outcome == "failed"


def trained(content: dict[str, Any], *steps: str) -> dict[str, Any]:
    return {**content, "estimates": {step: {"gigaoperations": 7} for step in steps}}


@pytest.mark.usefixtures("beating")
def test_memory_is_the_highest_of_all_attempts_beside_the_formula(root: Path) -> None:
    """The attempt that was killed took the most; of steps that train nothing nothing is said."""
    assert killed_at(on(root), root, 5)
    first = to_the_end(trained(on(root), "grow"), root)
    data = first.reports["apply"]["data"]
    assert data["resumes"]["value"] == 1
    memory = data["steps"]["grow"]["memory"]
    assert memory["host"] == facts.measured(400_000_000, "B")
    assert (memory["device"]["value"], memory["device"]["tag"]) == (None, "unavailable")
    assert memory["estimated"] == facts.estimated(320_000_000, "B", by="formula")
    assert memory["before"] == facts.measured(80_000_000, "B")
    assert memory["error"] == facts.measured(0.2, "1")
    assert data["memory_error"] == facts.measured(0.2, "1", n=1)
    assert [name for name, step in data["steps"].items() if "memory" in step] == ["grow"]
    again = to_the_end(trained(on(root), "grow"), root)
    assert again.reports["apply"] == first.reports["apply"], "a result that is reused took what it took"
    assert "memory_error" not in to_the_end(on(root), root).reports["apply"]["data"], "nothing was trained"


def test_memory_of_which_nothing_was_said_is_unavailable(root: Path) -> None:
    """One training that did not measure makes the error of all unavailable; so does one that is not done."""
    data = to_the_end(trained(on(root), "make", "grow"), root).reports["apply"]["data"]
    assert data["steps"]["grow"]["memory"]["error"]["value"] == 0.2
    assert {one["tag"] for one in data["steps"]["make"]["memory"].values()} == {"unavailable"}
    assert data["memory_error"]["tag"] == "unavailable"
    assert data["memory_error"]["reason"].startswith("make: memory was not measured")
    part = to_the_end(trained(on(root, rounds=21), "grow"), root, only=["make"]).reports["apply"]["data"]
    assert part["memory_error"]["reason"] == "no committed result of grow"


@pytest.mark.parametrize(
    ("peak", "error"),
    [
        ({"before": 100, "host": 500, "estimated": 400}, 0.2),
        ({"before": 0, "host": 300, "estimated": 400}, 0.25),
        ({"before": None, "host": 1, "device": 410, "at": "device", "estimated": 400}, 0.025),
        ({"before": 900, "host": 1, "device": 500, "at": "device", "estimated": 400}, 0.25),
        ({"before": None, "host": 400, "estimated": 400}, None),
        ({"before": -1, "host": 400, "estimated": 400}, None),
        ({"host": 0, "estimated": 400}, None),
        ({"host": -5, "estimated": 400}, None),
        ({"host": None, "estimated": 400}, None),
        ({"host": 400, "estimated": 0}, None),
        ({"host": 400, "estimated": -400}, None),
        ({"host": 400, "at": "device", "estimated": 400}, None),
    ],
)
def test_no_memory_is_no_measurement(peak: dict[str, Any], error: float | None) -> None:
    """A training takes memory: zero bytes, or a formula that gives none, say that something was not measured."""
    mb = {name: value if name == "at" or value is None else value * 1_000_000 for name, value in peak.items()}
    record = {"lost_attempts": 0, "memory": {"before": 0, "device": None, "at": "host", **mb}}
    assert off(record) == error
    assert off({**record, "lost_attempts": 1}) is None
    assert off({"lost_attempts": 0}) is None


def test_less_than_the_libraries_is_measured_by_the_libraries() -> None:
    """A card of which a small training holds little: a difference of megabytes is none of the formula."""
    held = {"before": None, "host": None, "device": 32_000_000, "at": "device", "estimated": 8_000_000}
    assert off({"lost_attempts": 0, "memory": held}) == 0.25


@pytest.mark.usefixtures("beating")
@longer
def test_a_report_lists_where_work_was_taken_up(root: Path) -> None:
    assert killed_at(on(root), root, 5)
    assert killed_at(on(root), root, 9)
    run = to_the_end(on(root), root)
    grow = run.reports["apply"]["data"]["steps"]["grow"]
    told = [(one["attempt"]["value"], one["at"]["value"], one["repeated"]["value"]) for one in grow["resumes"]]
    assert told == [(2, 5, 0), (3, 9, 0)]
    assert (grow["attempts"]["value"], grow["lost_attempts"]["value"]) == (3, 0)
    (root / "calm").mkdir()
    calm = to_the_end(on(root / "calm"), root / "calm")
    assert run.digests == calm.digests
    assert calm.reports["apply"]["data"]["steps"]["grow"]["resumes"] == []


@pytest.mark.usefixtures("beating")
def test_a_report_lists_which_budgets_were_changed_meanwhile(root: Path) -> None:
    assert killed_at(on(root, wall_s=50.0), root, 5)
    run = to_the_end(on(root, wall_s=49.5), root)
    (taken_up,) = run.reports["apply"]["data"]["steps"]["grow"]["resumes"]
    assert taken_up["changed"] == ["budgets.wall_s: 50 → 49.5"]


@pytest.mark.usefixtures("holding")
@pytest.mark.parametrize("look", ["another form", "collect"])
def test_what_a_killed_attempt_took_is_not_forgotten_by_what_comes_next(root: Path, look: str) -> None:
    """Not when the spec is edited so that the attempt is never taken up, and not when its folder is collected."""
    assert killed_at(on(root), root, 5)
    if look == "collect":
        collect(root, [])
        assert not list((root / ".kcompiler/scratch").iterdir())
    else:
        assert to_the_end(on(root, rounds=6, pause_s=0.0), root).outcome == "done"
    (killed,) = [line["data"] for line in claims(root) if line["type"] == "step_killed"]
    assert killed["step"] == "grow"
    assert killed["gpu_s"] > 0.15
    assert (killed["began"], killed["done"], killed["kept"]) == (0, 5, 5)
    assert to_the_end(on(root, rounds=7, gpu_hours=0.15 / 3600), root).outcome == "failed"


@pytest.mark.usefixtures("beating")
def test_killing_in_a_loop_gives_no_time(root: Path) -> None:
    """Each attempt saves what it did, and is killed: the wall clock still runs out, at the time of one long attempt."""
    kills = 0
    while killed_at(on(root, rounds=100, wall_s=1.0), root, 2 * (kills + 1)):
        kills += 1
        assert kills < 8, "0.15 s each and more"
    assert kills > 0
    run = to_the_end(on(root, rounds=100, wall_s=1.0), root)
    assert [step.error.place for step in run.steps if isinstance(step.error, Refusal)] == ["budgets.wall_s"]


def test_steps_that_come_later_count_when_an_earlier_one_begins(root: Path) -> None:
    """`grow` is slow and already done when `make` is to run again for another reason: its time is spent."""
    first = lock(root, [step("one", "toy_make", params={"text": "a"}), slow("two", "one")])
    assert to_the_end(first, root).outcome == "done"
    # a new first step without any bearing on the one that is done
    both = lock(root, [step("zero", "toy_make", params={"text": "new"}), *first["steps"]])
    both["budgets"] = {**BOUNDS, "wall_s": 0.2}
    run = to_the_end(both, root)
    status = {one.step: one.status for one in run.steps}
    assert status == {"zero": "failed", "one": "reused", "two": "reused"}
    both["budgets"] = {**BOUNDS, "wall_s": 60.0}
    assert to_the_end(both, root).outcome == "done"


def slow(name: str, of: str) -> dict[str, Any]:
    return step(name, "toy_grow", takes={"dataset": f"step:{of}#dataset"}, params={"rounds": 30, "pause_s": 0.01})


def test_a_step_that_fails_has_taken_its_time(root: Path) -> None:
    """One that is refused in its midst counts for those that could go on without it."""
    content = lock(
        root,
        [
            step("one", "toy_make", params={"text": "a"}),
            step(
                "two",
                "toy_grow",
                takes={"dataset": "step:one#dataset"},
                params={"rounds": 30, "pause_s": 0.01, "careless": True},
            ),
            step("three", "toy_make", params={"text": "b"}),
        ],
    )
    content["budgets"] = {**BOUNDS, "wall_s": 0.2}
    run = to_the_end(content, root)
    status = {one.step: (one.status, one.reason) for one in run.steps}
    assert status["two"][0] == "failed"
    assert status["three"] == ("blocked", "over_budget")


def test_a_clock_that_jumps_changes_no_sum(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what people read is told by the clock of the wall, which may be set back by a year in mid-run."""
    jumps = iter(range(10**9, 0, -86_400))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    run = to_the_end(on(root), root, now=lambda: float(next(jumps)))
    assert run.outcome == "done"
    assert 0.2 <= total_of(run, "wall") < 10.0
    stamps = [line["ts"] for line in claims(root)]
    assert stamps == sorted(stamps, reverse=True), "the clock went backwards"
    assert [line["seq"] for line in claims(root)] == list(range(1, len(stamps) + 1))
    again = to_the_end(on(root, rounds=100, wall_s=0.3), root, now=lambda: float(next(jumps)))
    assert again.outcome == "failed"


def test_a_state_of_another_form_is_named_with_what_differs(root: Path) -> None:
    """It lies there, at its step, and would not lead to the same bytes."""
    polls = iter(range(12))
    to_the_end(on(root), root, stop_requested=lambda: next(polls, None) is None)
    ((action, _),) = unfinished(root).items()
    saved_at(root / ".kcompiler/scratch" / action.removeprefix("sha256:") / "work/training", 3)
    watch = Watched()
    assert to_the_end(on(root, rounds=21), root, watch=watch).outcome == "done"
    said = [event["message"] for event in watch.events if event["event"] == "said"]
    assert said == ["the state saved at step 3 is not used, it would not lead to the same result: rounds: 20 → 21"]


def saved_at(folder: Path, at: int) -> None:
    folder.mkdir(parents=True)
    (folder / saved.name_of(at, "bin")).write_bytes(b"state")
    text = saved.index(course={}, step=at, file=saved.name_of(at, "bin"), file_digest="d", record={})
    (folder / saved.name_of(at)).write_bytes(text)


def test_what_was_estimated_stands_beside_what_was_measured(root: Path) -> None:
    """First nothing is known; then what was recorded, for as many operations as there are now."""

    def estimated(rounds: int, **more: float) -> dict[str, Any]:
        return {**on(root, rounds=rounds), "estimates": {"grow": {"gigaoperations": rounds, **more}}}

    data = to_the_end(estimated(20, wall_s=0.8), root).reports["apply"]["data"]
    assert data["steps"]["make"]["estimated"]["tag"] == "unavailable"
    first = data["steps"]["grow"]
    assert (first["estimated"]["value"], first["estimated"]["by"]) == (0.8, "arithmetic")
    took = first["wall"]["value"]
    assert first["estimate_error"]["value"] == pytest.approx(abs(took - 0.8) / took, rel=1e-4)
    assert data["estimate_error"]["tag"] == "unavailable", "of the other steps nothing was known"
    second = to_the_end(estimated(40), root).reports["apply"]["data"]["steps"]["grow"]
    assert second["estimated"]["by"] == "recorded"
    assert second["estimated"]["value"] == pytest.approx(2 * took, rel=1e-4)
    measured = second["wall"]["value"]
    assert second["estimate_error"]["value"] == pytest.approx(abs(measured - 2 * took) / measured, rel=1e-3, abs=1e-6)
    whole = to_the_end(estimated(40), root, force=["make", "grow", "join", "aside"]).reports["apply"]["data"]
    assert whole["estimate_error"]["tag"] == "measured"
    assert whole["estimated"]["value"] == pytest.approx(
        sum(one["estimated"]["value"] for one in whole["steps"].values()), rel=1e-4
    )
