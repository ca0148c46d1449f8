from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import BrokenEvidence
from runtime.contract.chain import read
from runtime.machine.apply import Refusal, Run, StepCrashed, StorageFailed, apply, forecast
from runtime.machine.durable import Disk
from tests.longer import longer
from tests.unit.runtime.machinery import Watched, approve, chain, lock, step


def one(root: Path, **params: Any) -> dict[str, Any]:
    return lock(root, [step("make", "toy_make", params={"text": "x", **params})])


def go(root: Path, content: Mapping[str, Any], **options: Any) -> Run:
    return apply(content, root=root, **{"judge": approve, **options})


def closed(root: Path) -> list[tuple[str, str]]:
    lines = read((root / ".kcompiler" / "journal.jsonl").read_bytes()).lines
    return [(line.type, line.data.get("outcome", "")) for line in lines]


def failed_by(watch: Watched) -> list[str]:
    return [event["code"] for event in watch.events if event["event"] == "step_failed"]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("empty", "output port `dataset` was left empty"),
        ("zero_bytes", "output port `dataset` was left empty"),
        ("link", "symbolic link"),
        ("no_report", "report port `report` was not filled"),
        ("own_report", "report port `report` was not filled through"),
        ("leaks_path", "contains a path of this machine"),
    ],
)
def test_a_step_that_breaks_its_promise_fails_and_leaves_nothing(root: Path, mode: str, message: str) -> None:
    watch = Watched()
    run = go(root, one(root, mode=mode), watch=watch)
    assert run.outcome == "failed"
    assert message in run.steps[0].detail
    assert failed_by(watch) == ["KR0105"]
    assert list((root / ".kcompiler" / "store" / "sha256").iterdir()) == []
    assert closed(root)[-1] == ("run_closed", "failed")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("crash", "step `make` crashed: ZeroDivisionError: division by zero"),
        ("exit", "tried to end the process"),
        ("undeclared", "declares no output `somewhere`"),
        ("nan", "Out of range float values"),
    ],
)
def test_anything_else_is_a_defect_with_the_step_named(root: Path, mode: str, message: str) -> None:
    with pytest.raises(StepCrashed, match=message) as caught:
        go(root, one(root, mode=mode))
    assert caught.value.step == "make"
    assert caught.value.__cause__ is not None
    assert closed(root)[-2:] == [("step_failed", ""), ("run_closed", "crashed")]


@pytest.mark.parametrize(
    ("mode", "message", "action"),
    [
        ("no_memory", "there is not enough memory for step `make`", "; or take smaller models or fewer rows"),
        (
            "no_memory_within",
            "(DefaultCPUAllocator: can't allocate memory: you",
            "; or take smaller models or fewer rows",
        ),
        ("advised", "there is not enough memory", "set less"),
    ],
)
def test_want_of_memory_is_a_refusal_in_every_step(root: Path, mode: str, message: str, action: str) -> None:
    watch = Watched()
    run = go(root, one(root, mode=mode), watch=watch)
    assert run.outcome == "failed"
    assert message in run.steps[0].detail
    assert failed_by(watch) == ["KR0133"]
    error = run.steps[0].error
    assert isinstance(error, Refusal)
    assert action in error.action
    assert error.__context__ is error.__cause__ is None, "what the step held is let go"
    assert closed(root)[-1] == ("run_closed", "failed")


def test_a_full_disk_in_a_step_is_no_defect(root: Path) -> None:
    with pytest.raises(StorageFailed, match=r"carry out step make: no space is left"):
        go(root, one(root, mode="full"))


def test_a_step_that_changes_directory_changes_it_for_itself_only(root: Path) -> None:
    before = Path.cwd()
    assert go(root, one(root, mode="elsewhere")).outcome == "done"
    assert Path.cwd() == before


def test_a_parameter_nobody_reads_is_refused_by_name(root: Path) -> None:
    watch = Watched()
    run = go(root, one(root, mode="ignores_extra", extra={"note": "important"}), watch=watch)
    assert run.outcome == "failed"
    assert failed_by(watch) == ["KR0106"]
    assert run.steps[0].detail == "step `make` (toy_make) never read: extra"


def test_a_parameter_read_by_the_declaration_counts_as_read(root: Path) -> None:
    """`reads_file` decides the ports; the operation itself looks only at what it takes."""
    assert go(root, one(root)).outcome == "done"


def _grown(root: Path, **params: Any) -> dict[str, Any]:
    grow = step("grow", "toy_grow", takes={"dataset": "step:make#dataset"}, params={"rounds": 20, **params})
    return lock(root, [step("make", "toy_make", params={"text": "x"}), grow])


@longer
def test_an_attempt_that_goes_on_is_held_to_what_was_read_before_and_now(root: Path) -> None:
    """The round's pause is read while there are rounds to do, the label at the start: both count after a stop."""
    for stopped_after in range(1, 24):
        stops = iter([False] * stopped_after + [True])
        (home := root / str(stopped_after)).mkdir()
        go(home, _grown(home), stop_requested=lambda stops=stops: next(stops, False))
        watch = Watched()
        assert go(home, _grown(home), watch=watch).outcome == "done", failed_by(watch)


def test_a_parameter_nobody_reads_is_refused_however_often_the_step_goes_on(root: Path) -> None:
    stops = iter([False] * 12 + [True])
    first = go(root, _grown(root, careless=True), stop_requested=lambda: next(stops, False))
    assert first.outcome == "interrupted"
    for _ in range(3):
        watch = Watched()
        run = go(root, _grown(root, careless=True), watch=watch)
        assert watch.of("said") == [("said", "grow")], "it went on from the work that is there"
        assert failed_by(watch) == ["KR0106"]
        assert run.steps[1].detail == "step `grow` (toy_grow) never read: label"


def test_work_of_which_nobody_knows_what_was_read_starts_anew(root: Path) -> None:
    stops = iter([False] * 12 + [True])
    go(root, _grown(root), stop_requested=lambda: next(stops, False))
    (read,) = (root / ".kcompiler" / "scratch").glob("*/read")
    read.unlink()
    watch = Watched()
    assert go(root, _grown(root), watch=watch).outcome == "done"
    assert watch.of("said") == []


def test_a_step_that_writes_into_what_it_takes_fails_and_the_artifact_is_made_again(root: Path) -> None:
    content = lock(
        root,
        [
            step("make", "toy_make", params={"text": "x"}),
            step("grow", "toy_grow", takes={"dataset": "step:make#dataset"}, params={"vandal": True}),
        ],
    )
    watch = Watched()
    run = go(root, content, watch=watch)
    assert "the artifact on port `dataset` was changed while the step ran" in run.steps[1].detail
    assert failed_by(watch) == ["KR0107"]
    watch = Watched()
    good = go(root, chain(root, text="x"), watch=watch)
    assert good.outcome == "done"
    assert watch.of("quarantined") == [("quarantined", "make")]


def test_an_input_of_the_project_that_changes_meanwhile_is_noticed(root: Path) -> None:
    (root / "rows.txt").write_text("rows")
    content = lock(
        root,
        [step("make", "toy_make", params={"text": "x", "reads_file": True}, takes={"file": "input:rows"})],
        inputs={"rows": "rows.txt"},
    )

    def meddle(event: Mapping[str, Any]) -> None:
        if event["event"] == "step_started":
            (root / "rows.txt").write_text("changed")

    run = go(root, content, watch=meddle)
    assert "input `rows.txt` changed while the step ran" in run.steps[0].detail
    (root / "rows.txt").write_text("rows")
    assert go(root, content).outcome == "done"


def test_params_that_do_not_fit_the_step_are_refused_before_anything_runs(root: Path) -> None:
    content = one(root)
    content["steps"][0]["params"]["text"] = 5
    with pytest.raises(Refusal, match="step `make`: parameter `text` of the lock does not fit") as caught:
        go(root, content)
    assert caught.value.code == "KR0104"
    assert not (root / ".kcompiler" / "journal.jsonl").exists()


def test_outputs_and_ports_that_do_not_fit_the_step_are_refused(root: Path) -> None:
    content = one(root)
    content["steps"][0]["gives"]["report"]["report"] = "probes"
    assert "not what the step declares" in go(root, content).steps[0].detail
    (root / "rows.txt").write_text("rows")
    content = lock(
        root,
        [step("make", "toy_make", params={"text": "x"}, takes={"file": "input:rows"})],
        inputs={"rows": "rows.txt"},
    )
    assert "do not fit what the step takes" in go(root, content).steps[0].detail


def test_a_lost_attempt_is_counted_and_known_durations_are_added(root: Path) -> None:
    content = one(root, mode="refuse")
    go(root, content)
    go(root, content)
    path = root / ".kcompiler" / "journal.jsonl"
    known = [json.loads(text)["data"] for text in path.read_text().splitlines() if '"step_failed"' in text]
    assert len(known) == 2
    assert all(data["wall_s"] > 0 for data in known)
    claims = [json.loads(text)["data"]["attempt"] for text in path.read_text().splitlines() if '"step_claimed"' in text]
    assert claims == [1, 2]


def test_the_time_of_an_interrupted_attempt_is_part_of_what_the_step_took(root: Path) -> None:
    calls = iter(range(1000))
    run = go(root, chain(root, rounds=30, pause_s=0.005), stop_requested=lambda: next(calls) > 28)
    assert run.outcome == "interrupted"
    lines = read((root / ".kcompiler" / "journal.jsonl").read_bytes()).lines
    interrupted = next(line.data["wall_s"] for line in lines if line.type == "step_interrupted")
    again = go(root, chain(root, rounds=30, pause_s=0.005))
    assert interrupted > 25 * 0.005
    assert again.reports["apply"]["data"]["steps"]["grow"]["wall"]["value"] > interrupted


class Cut(Disk):
    """Raises KeyboardInterrupt before the n-th line is written to the journal: a second signal at the worst moment."""

    def __init__(self, line: int) -> None:
        self.left = line

    def boundary(self, operation: str, path: Path) -> None:
        if operation == "extend" and path.name == "journal.jsonl":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def test_finished_outputs_of_a_killed_attempt_are_committed_without_running_the_step_again(root: Path) -> None:
    content = lock(root, chain(root, rounds=20)["steps"][:2])
    with pytest.raises(KeyboardInterrupt):
        # opened; make claimed, staged, committed; grow claimed, staged, and not committed
        go(root, content, disk=Cut(7))
    assert closed(root)[-1] == ("step_staged", "")
    watch = Watched()
    run = go(root, content, watch=watch)
    assert [one.status for one in run.steps] == ["reused", "committed"]
    assert watch.of("progress", "said") == []
    record = run.steps[1].record or {}
    assert (record["attempts"], record["lost_attempts"]) == (1, 0)
    (root / "calm").mkdir()
    assert run.digests == go(root / "calm", lock(root, chain(root, rounds=20)["steps"][:2])).digests


def test_staged_outputs_that_changed_since_are_made_again(root: Path) -> None:
    content = one(root)
    with pytest.raises(KeyboardInterrupt):
        go(root, content, disk=Cut(4))
    store = root / ".kcompiler" / "store" / "sha256"
    damaged = next(store.rglob("train.jsonl"))
    damaged.chmod(0o644)
    damaged.write_text("something else")
    run = go(root, content)
    assert (run.steps[0].record or {})["attempts"] == 2
    (root / "calm").mkdir()
    assert run.digests == go(root / "calm", content).digests


def test_partial_outputs_of_a_killed_attempt_are_no_part_of_the_artifact(root: Path) -> None:
    expected = go(root, one(root)).digests
    (root / "other").mkdir()
    key = forecast(one(root), root=root / "other")[0].key
    leftover = root / "other" / ".kcompiler" / "scratch" / key[7:] / "out" / "dataset"
    leftover.mkdir(parents=True)
    (leftover / "garbage").write_text("half")
    assert go(root / "other", one(root)).digests == expected


def test_forced_work_starts_from_nothing(root: Path) -> None:
    """Checkpoints of an interrupted attempt are used by the next one, unless the step is forced."""
    stops = iter([False] * 12 + [True] * 100)
    go(root, chain(root, rounds=20), stop_requested=lambda: next(stops))
    (scratch,) = (root / ".kcompiler" / "scratch").iterdir()
    assert (scratch / "work" / "state.json").exists()
    watch = Watched()
    go(root, chain(root, rounds=20), force=["grow"], watch=watch)
    assert watch.of("said") == []


def test_a_replaced_lease_stops_the_writer_before_it_commits(root: Path) -> None:
    def steal(event: Mapping[str, Any]) -> None:
        if event["event"] == "step_started":
            (root / ".kcompiler" / "lease").unlink()

    with pytest.raises(BrokenEvidence, match="taken away"):
        go(root, one(root), watch=steal)
    assert "step_committed" not in (root / ".kcompiler" / "journal.jsonl").read_text()
