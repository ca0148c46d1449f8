from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import BrokenEvidence
from runtime.contract.chain import read
from runtime.machine.durable import DISK, Disk, StorageFailed
from runtime.machine.journal import HEAD, JOURNAL, Journal, load
from runtime.machine.meter import Spent


def confirmed() -> None:
    """The lease is always ours in these tests."""


def open_journal(state: Path, disk: Disk = DISK) -> Journal:
    return Journal(state, sign=lambda newest: newest + 1, confirm=confirmed, disk=disk, now=lambda: 0.0)


def fill(state: Path, count: int) -> Journal:
    journal = open_journal(state)
    for number in range(count):
        journal.append("step_claimed", {"action": f"a{number}"})
    return journal


def test_lines_are_on_disk_when_append_returns(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for number in range(3):
        journal.append("step_claimed", {"action": f"a{number}"})
        chain = read((tmp_path / JOURNAL).read_bytes())
        assert [line.data["action"] for line in chain.lines] == [f"a{n}" for n in range(number + 1)]
        assert chain.head == journal.head


def test_a_journal_goes_on_where_it_ended_with_a_new_run_and_fence(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    fill(tmp_path, 1)
    lines = load(tmp_path)[0].lines
    assert [(line.seq, line.fence, line.run) for line in lines] == [
        (1, 1, "r000001"), (2, 1, "r000001"), (3, 2, "r000002"),
    ]  # fmt: skip


def test_a_torn_last_line_is_cut_and_said_so(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"seq":3,"pre')
    journal = open_journal(tmp_path)
    assert journal.past.attempts.keys() == {"a0", "a1"}
    lines = load(tmp_path)[0].lines
    assert [(line.type, dict(line.data)) for line in lines[2:]] == [("tail_repaired", {"bytes": 13})]


def test_a_reader_leaves_a_torn_line_alone(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b"torn")
    before = (tmp_path / JOURNAL).read_bytes()
    chain, past = load(tmp_path)
    assert (chain.torn, set(past.attempts)) == (b"torn", {"a0"})
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_acknowledged_lines_that_are_gone_are_broken_evidence(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    whole = (tmp_path / JOURNAL).read_bytes()
    lines = whole.splitlines(keepends=True)
    for text in (b"".join(lines[:2]), b"".join(lines[:2]) + lines[2][:-1], b"", lines[0]):
        (tmp_path / JOURNAL).write_bytes(text)
        with pytest.raises(BrokenEvidence, match="missing at the end"):
            open_journal(tmp_path)
    (tmp_path / JOURNAL).unlink()
    with pytest.raises(BrokenEvidence, match="missing at the end"):
        open_journal(tmp_path)


def test_a_removed_anchor_is_broken_evidence(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    (tmp_path / HEAD).unlink()
    with pytest.raises(BrokenEvidence, match="is gone"):
        open_journal(tmp_path)


class FailingOnce(Disk):
    def __init__(self, operation: str, name: str) -> None:
        self.operation, self.name, self.armed = operation, name, False

    def boundary(self, operation: str, path: Path) -> None:
        if self.armed and (operation, path.name) == (self.operation, self.name):
            self.armed = False
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("operation", "name", "kept"),
    [("extend", JOURNAL, 1), ("sync", JOURNAL, 1), ("rename", HEAD, 2)],
)
def test_after_a_failed_append_nothing_is_marked_done_and_the_next_writer_goes_on(
    tmp_path: Path, operation: str, name: str, kept: int
) -> None:
    disk = FailingOnce(operation, name)
    journal = open_journal(tmp_path, disk)
    journal.append("step_claimed", {"action": "a0"})
    disk.armed = True
    with pytest.raises(StorageFailed):
        journal.append("step_claimed", {"action": "a1"})
    with pytest.raises(BrokenEvidence, match="opened again"):
        journal.append("step_claimed", {"action": "a2"})
    again = open_journal(tmp_path)
    again.append("step_claimed", {"action": "a3"})
    lines = load(tmp_path)[0].lines
    assert [line.data["action"] for line in lines] == [*["a0", "a1"][:kept], "a3"]


def test_two_crashes_between_line_and_anchor_are_survived(tmp_path: Path) -> None:
    for _ in range(2):
        disk = FailingOnce("rename", HEAD)
        journal = open_journal(tmp_path, disk)
        disk.armed = True
        with pytest.raises(StorageFailed):
            journal.append("step_claimed", {"action": "a"})
    assert len(load(tmp_path)[0].lines) == 2


def test_a_writer_with_an_old_fence_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(BrokenEvidence, match="fence 1 is not newer"):
        Journal(tmp_path, sign=lambda newest: newest, confirm=confirmed)


def test_a_writer_that_lost_its_lease_writes_nothing(tmp_path: Path) -> None:
    def lost() -> None:
        raise BrokenEvidence("lost", subject="lease")

    journal = Journal(tmp_path, sign=lambda newest: newest + 1, confirm=lost)
    with pytest.raises(BrokenEvidence, match="lost"):
        journal.append("step_claimed", {"action": "a"})
    assert not (tmp_path / JOURNAL).exists()


def test_attempts_are_counted_until_a_commit(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    events: list[tuple[str, dict[str, Any]]] = [
        ("step_claimed", {}),
        ("step_failed", {"wall_s": 1.5}),
        ("step_claimed", {}),
        ("step_claimed", {}),
        ("step_interrupted", {"wall_s": 2.0, "cpu_s": 1.0}),
        ("step_claimed", {}),
        ("step_killed", {"wall_s": 4.0, "cpu_s": 3.0, "gpu_s": 2.0}),
        ("step_claimed", {}),
        ("step_staged", {"gives": {}, "wall_s": 9.0}),
    ]
    for kind, more in events:
        journal.append(kind, {"action": "a", **more})
    known = load(tmp_path)[1].attempts["a"]
    assert (known.claimed, known.ended) == (5, 3)
    assert known.spent == Spent(wall_s=7.5, cpu_s=4.0, gpu_s=2.0)
    assert known.staged is not None
    journal.append("step_claimed", {"action": "a"})
    assert load(tmp_path)[1].attempts["a"].staged is None
    line = journal.append("step_committed", {"action": "a", "step": "s"})
    past = load(tmp_path)[1]
    assert past.attempts == {}
    assert past.line_of(past.records[0]) == line.text


def test_each_attempt_is_paid_by_the_spec_it_was_made_for(tmp_path: Path) -> None:
    """Two specs whose step is the same action: neither takes over what the other has used up of its budget."""
    journal = open_journal(tmp_path)
    step = {"action": "a", "step": "train"}

    def add(kind: str, spec: str, **more: Any) -> None:
        journal.append(kind, {**step, "spec": spec, **more})

    def paid(name: str) -> int:
        # what is read again is what was counted while it was written
        assert journal.past.paid(name) == load(tmp_path)[1].paid(name)
        return journal.past.paid(name).training_tokens

    add("step_claimed", "n1@pilot")
    add("step_interrupted", "n1@pilot", training_tokens=40_291, wall_s=7.0)
    add("step_claimed", "n2")
    assert (paid("n1"), paid("n2")) == (40_291, 0)
    add("step_killed", "n2", training_tokens=1_000, wall_s=1.0)
    add("step_claimed", "n2")
    # a staged line counts all attempts at the action
    add("step_staged", "n2", training_tokens=78_286, wall_s=13.0, gives={})
    assert (paid("n1"), paid("n2")) == (40_291, 78_286 - 40_291)
    # n1's apply finds it staged, and only stores it
    add("step_committed", "n1", training_tokens=78_286, wall_s=13.0)
    assert (paid("n1"), paid("n2")) == (40_291, 78_286 - 40_291)
    assert journal.past.paid("n1") + journal.past.paid("n2") == Spent(training_tokens=78_286, wall_s=13.0)
