from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime import catalog
from runtime.contract import BrokenEvidence, Unavailable
from runtime.contract.chain import read, unseal
from runtime.machine.apply import Locked, Refusal, Run, Stale, apply, forecast, look
from runtime.machine.lease import Lease
from runtime.machine.run import blocks
from tests.longer import longer
from tests.unit.runtime import machinery
from tests.unit.runtime.machinery import Watched, approve, chain, lock, step

STEPS = ["make", "grow", "join", "aside"]


def go(root: Path, content: Mapping[str, Any], **options: Any) -> Run:
    return apply(content, root=root, **{"judge": approve, **options})


def statuses(run: Run) -> dict[str, tuple[str, str]]:
    return {result.step: (result.status, result.reason) for result in run.steps}


def journal(root: Path) -> list[tuple[str, Any]]:
    lines = read((root / ".kcompiler" / "journal.jsonl").read_bytes()).lines
    return [(line.type, line.data.get("step")) for line in lines]


def corrupt(root: Path, digest: str) -> None:
    place = root / ".kcompiler" / "store" / "sha256" / digest[7:9] / digest[7:]
    path = next(path for path in sorted(place.rglob("*")) if path.is_file())
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_every_step_runs_once_in_order_and_leaves_artifacts_and_journal(root: Path) -> None:
    watch = Watched()
    run = go(root, chain(root), watch=watch)
    assert (run.outcome, run.counts) == ("done", {"committed": 4})
    assert watch.of("step_started", "step_committed") == [
        (event, name) for name in STEPS for event in ("step_started", "step_committed")
    ]
    assert sorted(run.digests) == [
        "aside#dataset", "aside#report", "grow#checkpoint", "grow#report", "join#program", "join#report",
        "join#second", "make#dataset", "make#report",
    ]  # fmt: skip
    store = look(root)[1]
    assert all(store.present(digest) is True for digest in run.digests.values())
    each = [(kind, name) for name in STEPS for kind in ("step_claimed", "step_staged", "step_committed")]
    assert journal(root) == [("run_opened", None), *each, ("gate_evaluated", ""), ("run_closed", None)]
    assert list((root / ".kcompiler" / "scratch").iterdir()) == []


def test_a_second_apply_does_nothing_and_says_why(root: Path) -> None:
    first = go(root, chain(root))
    before = snapshot(root / "generated")
    watch = Watched()
    second = go(root, chain(root), watch=watch)
    assert second.counts == {"reused": 4}
    assert {event["reason"] for event in watch.events if event["event"] == "step_reused"} == {"unchanged"}
    assert second.digests == first.digests
    # Not a byte of the evidence is written again: it speaks of the artifacts, not of the apply.
    assert snapshot(root / "generated") == before


def test_equal_projects_give_equal_artifacts(root: Path) -> None:
    (root / "a").mkdir()
    (root / "other place ü").mkdir()
    one, other = (go(root / name, chain(root / name)).digests for name in ("a", "other place ü"))
    assert one == other


def test_a_changed_parameter_runs_its_step_and_what_follows(root: Path) -> None:
    go(root, chain(root))
    run = go(root, chain(root, rounds=6))
    assert statuses(run) == {
        "make": ("reused", "unchanged"),
        "grow": ("committed", "param_changed"),
        "join": ("committed", "upstream_changed"),
        "aside": ("reused", "unchanged"),
    }
    assert next(result.detail for result in run.steps if result.step == "grow") == "rounds: 5 → 6"


def test_early_cut_off_equal_output_stops_the_change(root: Path) -> None:
    """The `extra` note is appended to the text: another way to write the same data."""
    note = lock(
        root, [step("make", "toy_make", params={"text": "he", "extra": {"note": "llo"}}), *chain(root)["steps"][1:]]
    )
    go(root, chain(root))
    assert [one.action for one in forecast(note, root=root)] == ["run", "run", "run", "reuse"]
    run = go(root, note)
    assert [status for status, _ in statuses(run).values()] == ["committed", "reused", "reused", "reused"]


def test_forecast_says_what_apply_then_does_and_changes_nothing(root: Path) -> None:
    assert [one.reason for one in forecast(chain(root), root=root)] == ["never_run"] * 4
    assert not (root / ".kcompiler").exists()
    go(root, chain(root))
    changed = chain(root, text="other")
    predicted = forecast(changed, root=root)
    assert [(one.action, one.reason) for one in predicted] == [
        ("run", "param_changed"), ("run", "upstream_changed"), ("run", "upstream_changed"), ("reuse", "unchanged"),
    ]  # fmt: skip
    assert predicted == forecast(changed, root=root, verify=False)
    done = go(root, changed)
    assert [one.status for one in done.steps] == ["committed", "committed", "committed", "reused"]


def test_only_and_force(root: Path) -> None:
    partial = go(root, chain(root), only=["grow"])
    assert statuses(partial) == {
        "make": ("committed", "never_run"),
        "grow": ("committed", "never_run"),
        "join": ("skipped", "not_selected"),
        "aside": ("skipped", "not_selected"),
    }
    assert partial.outcome == "done"
    go(root, chain(root))
    watch = Watched()
    forced = go(root, chain(root), force=["make"], watch=watch)
    assert [status for status, _ in statuses(forced).values()] == ["committed", "reused", "reused", "reused"]
    assert watch.of("not_reproduced") == []
    # What is there already is used even when it was not asked for, so that the evidence stays whole.
    again = go(root, chain(root), only=["make"])
    assert again.counts == {"reused": 4}
    for options in ({"only": ["nothing"]}, {"force": ["nothing"]}):
        with pytest.raises(Refusal, match="`nothing`, which is no step") as caught:
            go(root, chain(root), **options)
        assert caught.value.code == "KR0102"


def test_a_corrupt_artifact_is_quarantined_and_made_again(root: Path) -> None:
    first = go(root, chain(root))
    corrupt(root, first.digests["grow#checkpoint"])
    assert [one.reason for one in forecast(chain(root), root=root)][1] == "artifact_corrupt"
    watch = Watched()
    run = go(root, chain(root), watch=watch)
    assert statuses(run)["grow"] == ("committed", "artifact_corrupt")
    assert statuses(run)["join"] == ("reused", "unchanged")
    assert watch.of("quarantined", "not_reproduced") == [("quarantined", "grow")]
    assert run.digests == first.digests
    assert [path.name for path in (root / ".kcompiler" / "quarantine").iterdir()] == [
        first.digests["grow#checkpoint"][7:] + "-1"
    ]
    assert ("artifact_quarantined", "grow") in journal(root)


def test_a_missing_artifact_is_made_again(root: Path) -> None:
    first = go(root, chain(root))
    place = look(root)[1].path(first.digests["make#dataset"])
    place.chmod(0o755)
    shutil.rmtree(place)
    run = go(root, chain(root))
    assert statuses(run)["make"] == ("committed", "artifact_missing")
    assert run.counts == {"committed": 1, "reused": 3}


def refuse_on(where: str, rule: str = "r1", **more: Any) -> Any:
    def judge(reports: Mapping[str, bytes], steps: Collection[str] | None) -> list[dict[str, Any]]:
        del steps
        bad = {"rule": rule, "step": where, "outcome": "fail", "blocking": True, **more}
        return [*approve(reports), *([bad] if where in reports else [])]

    return judge


def test_a_blocking_failure_stops_what_follows_and_what_only_comes_after(root: Path) -> None:
    content = lock(root, [*chain(root)["steps"], step("free", "toy_make", params={"text": "independent"})])
    watch = Watched()
    run = go(root, content, judge=refuse_on("grow"), watch=watch)
    assert run.outcome == "blocked"
    assert statuses(run) == {
        "make": ("committed", "never_run"),
        "grow": ("committed", "never_run"),
        "join": ("blocked", "gate_blocked"),
        "aside": ("blocked", "gate_blocked"),
        "free": ("committed", "never_run"),
    }
    assert ("gate_evaluated", "grow") in journal(root)
    assert watch.of("blocked") == [("blocked", "join"), ("blocked", "aside")]
    # The threshold is changed: no step before the gate runs again, what was blocked does.
    after = go(root, content)
    assert [status for status, _ in statuses(after).values()] == [
        "reused",
        "reused",
        "committed",
        "committed",
        "reused",
    ]
    # And back: results that are there do not pass a gate either.
    assert statuses(go(root, content, judge=refuse_on("grow")))["join"] == ("blocked", "gate_blocked")


def test_what_waits_names_where_it_began_and_only_the_first_says_why(root: Path) -> None:
    steps = [
        step("make", "toy_make", params={"text": "x", "mode": "refuse"}),
        step("grow", "toy_grow", takes={"dataset": "step:make#dataset"}),
        step("more", "toy_make", params={"text": "y"}, after=["grow"]),
        step("last", "toy_make", params={"text": "z"}, after=["more"]),
    ]
    run = go(root, lock(root, steps))
    failed = run.steps[0]
    assert (failed.status, bool(failed.detail)) == ("failed", True)
    why = [f"make has no result: {failed.detail}", "make has no result", "make has no result"]
    assert [one.detail for one in run.steps[1:]] == why
    # behind a gate the step that waits first is where it began
    run = go(root, chain(root), judge=refuse_on("make"))
    assert {one.step: one.detail for one in run.steps}["aside"].startswith("grow has no result: make: ")


def test_a_block_reaches_further_than_the_next_step(root: Path) -> None:
    run = go(root, chain(root), judge=refuse_on("make"))
    assert statuses(run) == {
        "make": ("committed", "never_run"),
        "grow": ("blocked", "gate_blocked"),
        "join": ("blocked", "gate_blocked"),
        "aside": ("blocked", "upstream_failed"),
    }


@pytest.mark.parametrize(
    "outcome", ["fail", "inconclusive", "not_evaluated", "skipped", "error", "waived", "unheard of"]
)
def test_every_outcome_but_pass_blocks(root: Path, outcome: str) -> None:
    assert go(root, chain(root), judge=refuse_on("grow", outcome=outcome)).outcome == "blocked"
    assert not blocks({"blocking": False, "outcome": outcome})


@pytest.mark.parametrize("more", [{"blocking": False}, {"outcome": "pass"}])
def test_what_does_not_block_lets_everything_through(root: Path, more: dict[str, Any]) -> None:
    assert go(root, chain(root), judge=refuse_on("grow", **more)).outcome == "done"


def test_a_rule_about_a_second_report_blocks_its_step_too(root: Path) -> None:
    content = lock(root, [*chain(root)["steps"], step("late", "toy_make", params={"text": "x"}, after=["join"])])
    assert statuses(go(root, content, judge=refuse_on("join.second")))["late"] == ("blocked", "gate_blocked")


def test_the_judge_sees_the_runs_own_report_last(root: Path) -> None:
    seen: list[list[str]] = []
    asked: list[list[str] | None] = []

    def judge(reports: Mapping[str, bytes], steps: Collection[str] | None) -> Sequence[dict[str, Any]]:
        seen.append(sorted(reports))
        asked.append(None if steps is None else sorted(steps))
        return refuse_on("apply")(reports, steps)  # type: ignore[no-any-return]

    run = go(root, chain(root), judge=judge)
    assert seen[-1] == ["apply", "aside", "grow", "join", "join.second", "make"]
    assert all("apply" not in keys for keys in seen[:-1])
    assert asked == [["make"], ["grow"], ["join", "join.second"], ["aside"], None]
    assert run.outcome == "blocked"
    own = run.reports["apply"]
    assert own["kind"] == "run"
    assert own["environment"]["forged"] is False
    assert own["data"]["done"]["k"] == own["data"]["done"]["n"] == 4
    total = sum(one["wall"]["value"] for one in own["data"]["steps"].values())
    assert own["data"]["wall"]["value"] == pytest.approx(total)
    assert own["subject"]["join.program"] == run.digests["join#program"]


@pytest.mark.parametrize(("mode", "kind"), [("refuse", Refusal), ("unavailable", Unavailable)])
def test_a_refusing_step_fails_and_independent_steps_go_on(root: Path, mode: str, kind: type[Exception]) -> None:
    content = lock(
        root,
        [
            step("make", "toy_make", params={"text": "x", "mode": mode}),
            step("grow", "toy_grow", takes={"dataset": "step:make#dataset"}),
            step("free", "toy_make", params={"text": "y"}),
        ],
    )
    watch = Watched()
    run = go(root, content, watch=watch)
    assert run.outcome == "failed"
    assert [one.status for one in run.steps] == ["failed", "blocked", "committed"]
    assert isinstance(run.steps[0].error, kind)
    event = next(event for event in watch.events if event["event"] == "step_failed")
    assert (event["message"], event["action"]) in [
        ("the text is not acceptable", "write another text"), ("no such toolchain", "another machine"),
    ]  # fmt: skip
    assert ("step_failed", "make") in journal(root)
    assert run.reports["apply"]["data"]["wall"]["tag"] == "unavailable"


def test_a_stop_request_ends_the_step_at_a_safe_point_and_the_next_apply_goes_on_there(root: Path) -> None:
    undisturbed = go(root, chain(root, rounds=50)).digests
    other = root / "other"
    other.mkdir()
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 20

    run = go(other, chain(other, rounds=50), stop_requested=stop)
    assert run.outcome == "interrupted"
    assert [(one.status, one.reason) for one in run.steps][2:] == [("skipped", "stopped")] * 2
    assert [kind for kind, _ in journal(other)][-3:] == ["step_interrupted", "gate_evaluated", "run_closed"]
    watch = Watched()
    again = go(other, chain(other, rounds=50), watch=watch)
    assert [event["message"] for event in watch.events if event["event"] == "said"] == ["resumed at 19"]
    assert again.digests == undisturbed
    grow = again.reports["apply"]["data"]["steps"]["grow"]
    assert (grow["attempts"]["value"], grow["lost_attempts"]["value"]) == (2, 0)


def test_the_second_apply_at_once_is_told_who_is_at_work(root: Path) -> None:
    go(root, chain(root))
    before = (root / ".kcompiler" / "journal.jsonl").read_bytes()
    with Lease(root / ".kcompiler") as lease:
        lease.sign(0)
        with pytest.raises(Locked, match="another apply"):
            go(root, chain(root))
    assert (root / ".kcompiler" / "journal.jsonl").read_bytes() == before


@longer
def test_every_flipped_byte_of_the_journal_stops_apply(root: Path) -> None:
    go(root, chain(root))
    path = root / ".kcompiler" / "journal.jsonl"
    whole = path.read_bytes()
    ends = [position for position, byte in enumerate(whole) if byte == 10]
    # Start, middle and end of every line; every single byte of a journal is flipped in the chain's own test.
    starts = [0, *[end + 1 for end in ends[:-1]]]
    for start, end in zip(starts, ends, strict=True):
        for position in (start, (start + end) // 2, end - 1, end):
            damaged = bytearray(whole)
            damaged[position] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(BrokenEvidence):
                go(root, chain(root))
            with pytest.raises(BrokenEvidence):
                forecast(chain(root), root=root)
            assert path.read_bytes() == damaged
    path.write_bytes(whole)
    assert go(root, chain(root)).counts == {"reused": 4}


def test_a_torn_last_line_is_repaired_and_work_goes_on(root: Path) -> None:
    go(root, chain(root))
    with (root / ".kcompiler" / "journal.jsonl").open("ab") as file:
        file.write(b'{"data":{"action"')
    assert go(root, chain(root)).counts == {"reused": 4}
    assert ("tail_repaired", None) in journal(root)


def test_evidence_holds_reports_run_and_the_lines_in_use(root: Path) -> None:
    go(root, chain(root))
    run = go(root, chain(root, rounds=6))
    assert run.evidence == root / "generated" / "toy" / "evidence"
    names = sorted(path.relative_to(run.evidence).as_posix() for path in run.evidence.rglob("*") if path.is_file())
    assert names == [
        "journal.jsonl", "reports/aside.json", "reports/grow.json", "reports/join.json", "reports/join.second.json",
        "reports/make.json", "run.json",
    ]  # fmt: skip
    store = look(root)[1]
    copied = (run.evidence / "reports" / "grow.json").read_bytes()
    assert copied == (store.read(run.digests["grow#report"]) / "report.json").read_bytes()
    assert json.loads((run.evidence / "run.json").read_text()) == run.reports["apply"]
    lines = [unseal(text, subject="x") for text in (run.evidence / "journal.jsonl").read_bytes().splitlines(True)]
    assert [(line.type, line.data["step"]) for line in lines] == [("step_committed", name) for name in STEPS]
    used = {give["digest"] for line in lines for give in line.data["gives"].values()}
    assert used == set(run.digests.values())
    whole = (root / ".kcompiler" / "journal.jsonl").read_bytes()
    assert all(line.text in whole for line in lines)


def test_reports_of_steps_that_are_gone_are_removed(root: Path) -> None:
    go(root, chain(root))
    run = go(root, lock(root, chain(root)["steps"][:2]))
    assert sorted(path.name for path in (run.evidence / "reports").iterdir()) == ["grow.json", "make.json"]


def test_a_report_names_what_it_is_about_and_where_it_came_from(root: Path) -> None:
    run = go(root, chain(root))
    report = run.reports["grow"]
    assert report["subject"] == {
        "takes.dataset": run.digests["make#dataset"], "gives.checkpoint": run.digests["grow#checkpoint"],
    }  # fmt: skip
    assert (report["kind"], report["step"]) == ("training", "grow")
    around = report["environment"]
    assert (around["backend"], around["forged"], list(around["versions"])) == ("toy", False, ["pydantic"])
    assert str(root) not in json.dumps(run.reports)


def test_stale_worlds_are_refused_with_every_difference_before_anything_is_journaled(root: Path) -> None:
    (root / "rows.txt").write_text("rows")
    (root / "spec.yaml").write_text("spec")
    content = lock(
        root,
        [step("make", "toy_make", params={"text": "x", "reads_file": True}, takes={"file": "input:rows"})],
        inputs={"rows": "rows.txt"},
    )
    content["sources"] = [{"path": "spec.yaml", "bytes": "sha256:" + "0" * 64, "meaning": "sha256:" + "0" * 64}]
    content["plugins"][0]["code"] = "sha256:" + "1" * 64
    content["steps"][0]["code"] = "sha256:" + "2" * 64
    (root / "rows.txt").write_text("other")
    with pytest.raises(Stale) as caught:
        go(root, content)
    assert [(one.kind, one.name) for one in caught.value.differences] == [
        ("source", "spec.yaml"), ("input", "rows"), ("plugin", "steps/toy_make"), ("code", "toy_make"),
    ]  # fmt: skip
    assert not (root / ".kcompiler" / "journal.jsonl").exists()


def test_a_toolchain_is_needed_only_by_what_will_run(root: Path) -> None:
    go(root, chain(root))
    other = chain(root)
    other["toolchain"] = {"pydantic": "1.0"}
    with pytest.raises(Stale) as caught:
        go(root, other)
    here = catalog.load("backends", "toy").requires["pydantic"]
    assert [str(one) for one in caught.value.differences] == [f"toolchain pydantic: locked 1.0, found {here}"]
    assert go(root, chain(root)).counts == {"reused": 4}


def test_twelve_reused_steps_import_no_toolchain(root: Path) -> None:
    """In a process of its own; what it costs is in the README: 0.6 s for the ten steps of a real spec."""
    (root / "go.py").write_text(
        "import sys, pathlib\n"
        "from tests.unit.runtime import machinery as m\n"
        "m.install()\n"
        "from runtime.machine.apply import apply\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "steps = [m.step(f's{n}', 'toy_make', params={'text': str(n)}) for n in range(12)]\n"
        "run = apply(m.lock(root, steps), root=root, judge=m.approve)\n"
        "heavy = {'torch', 'numpy', 'transformers', 'coremltools', 'tokenizers', 'toyplug'} & set(sys.modules)\n"
        "print(run.counts, sorted(heavy))\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, str(root / "go.py"), str(root)],
            env=machinery.environ(), capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert outputs[1] == "{'reused': 12} ['toyplug']\n"


def test_a_state_folder_on_two_file_systems_is_refused(root: Path, tmp_path: Path) -> None:
    if root.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system here")
    (root / ".kcompiler").mkdir(exist_ok=True)
    (root / ".kcompiler" / "scratch").symlink_to(tmp_path)
    with pytest.raises(Refusal, match="different file systems") as caught:
        go(root, chain(root))
    assert caught.value.code == "KR0110"
