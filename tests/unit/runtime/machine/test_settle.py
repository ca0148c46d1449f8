"""What somebody says of a lease or an attempt: refused unless it can be so, written down, and the next apply goes on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from runtime.machine.apply import Locked, apply
from runtime.machine.durable import Disk
from runtime.machine.inventory import items
from runtime.machine.journal import JOURNAL, load
from runtime.machine.lease import NOTE, Lease, holder
from runtime.machine.settle import NotSettled, committed, failed, in_doubt, spec_of, unlock
from tests.unit.runtime.machinery import approve, chain, lock


def types(root: Path) -> list[str]:
    return [json.loads(line)["type"] for line in (root / ".kcompiler" / JOURNAL).read_text().splitlines()]


def killed(root: Path, content: dict[str, Any], disk: Disk) -> None:
    child = os.fork()
    if child == 0:
        try:
            apply(content, root=root, judge=approve, disk=disk)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def staged(root: Path) -> dict[str, Any]:
    """A plan whose step `grow` was killed between the line that it is finished and the store."""
    content = lock(root, chain(root)["steps"][:2])
    killed(root, content, AtStaged(root))
    assert types(root)[-1] == "step_staged"
    return content


class AtStaged(Disk):
    """SIGKILL before the first rename after `grow` was staged."""

    def __init__(self, root: Path) -> None:
        self.journal = root / ".kcompiler" / JOURNAL

    def boundary(self, operation: str, path: Path) -> None:
        if operation == "rename" and path.parent.parent.name == "sha256" and self.journal.exists():
            last = json.loads(self.journal.read_text().splitlines()[-1])
            if last["type"] == "step_staged" and last["data"]["step"] == "grow":
                os.kill(os.getpid(), signal.SIGKILL)


def test_nothing_can_be_said_of_an_attempt_whose_end_is_known_or_of_none(root: Path) -> None:
    content = chain(root)
    polls = iter(range(4))
    apply(content, root=root, judge=approve, stop_requested=lambda: next(polls, None) is None)
    assert in_doubt(root) == {}
    with pytest.raises(NotSettled, match="how the newest attempt at step `grow` ended is known: interrupted") as known:
        failed(root, "grow")
    assert known.value.kind == "none"
    with pytest.raises(NotSettled, match="no attempt at a step `nothing` is in doubt; no attempt is in doubt"):
        committed(root, "nothing", content)
    before = types(root)
    assert apply(content, root=root, judge=approve).outcome == "done"
    assert types(root)[: len(before)] == before


def test_what_was_finished_but_for_its_commit_is_committed_by_word_once(root: Path) -> None:
    content = staged(root)
    assert list(in_doubt(root).values()) == [("toy", "grow")]
    assert spec_of(root, "grow") == "toy"
    with pytest.raises(NotSettled, match="in doubt: grow"):
        committed(root, "make", content)
    record = committed(root, "grow", content)
    assert in_doubt(root) == {}
    assert types(root)[-1] == "step_committed"
    run = apply(content, root=root, judge=approve)
    assert run.counts == {"reused": 2}
    assert {port: give["digest"] for port, give in record["gives"].items()} == {
        name.partition("#")[2]: digest for name, digest in run.digests.items() if name.startswith("grow#")
    }
    assert types(root).count("step_committed") == 2
    with pytest.raises(NotSettled):
        committed(root, "grow", content)


def test_what_is_no_more_what_was_staged_is_not_committed(root: Path) -> None:
    content = staged(root)
    (action,) = in_doubt(root)
    (out,) = (root / ".kcompiler/scratch" / action.removeprefix("sha256:") / "out").glob("checkpoint")
    victim = next(path for path in sorted(out.rglob("*")) if path.is_file())
    victim.write_bytes(victim.read_bytes() + b" ")
    with pytest.raises(NotSettled, match="byte for byte") as refused:
        committed(root, "grow", content)
    assert refused.value.kind == "not_whole"
    assert types(root).count("step_committed") == 1
    # the advice, followed
    assert failed(root, "grow") == ("toy", action)
    assert in_doubt(root) == {}
    assert not list((root / ".kcompiler/scratch").iterdir())
    run = apply(content, root=root, judge=approve)
    assert (run.outcome, run.counts) == ("done", {"reused": 1, "committed": 1})


def test_what_was_finished_and_is_said_to_have_failed_is_made_again_and_its_time_counts(root: Path) -> None:
    content = staged(root)
    spent = load(root / ".kcompiler")[1].paid("toy")
    failed(root, "grow", "toy")
    assert load(root / ".kcompiler")[1].paid("toy") == spent
    run = apply(content, root=root, judge=approve)
    assert run.counts == {"reused": 1, "committed": 1}
    record = next(one.record for one in run.steps if one.step == "grow")
    assert record is not None
    assert (record["attempts"], record["lost_attempts"]) == (2, 0)


def test_of_two_specs_one_must_be_named(root: Path) -> None:
    content = staged(root)
    other = {**content, "asked": {"spec": "specs/two.yaml", "name": "two"}}
    other["steps"] = [*content["steps"][:1], {**content["steps"][1], "params": {"rounds": 6, "pause_s": 0.0}}]
    killed(root, other, AtStaged(root))
    with pytest.raises(NotSettled, match="of 2 specs are in doubt: toy, two") as several:
        failed(root, "grow")
    assert several.value.kind == "several"
    assert failed(root, "grow", "two")[0] == "two"
    assert list(in_doubt(root).values()) == [("toy", "grow")]


def test_another_form_of_the_step_is_not_what_was_finished(root: Path) -> None:
    staged(root)
    with pytest.raises(NotSettled, match="another form") as refused:
        committed(root, "grow", lock(root, chain(root, rounds=6)["steps"][:2]))
    assert refused.value.kind == "not_whole"


def test_a_lease_that_nobody_holds_is_free_already(root: Path) -> None:
    apply(chain(root), root=root, judge=approve)
    before = types(root)
    assert unlock(root).state == "free"
    assert types(root) == before


def test_a_lease_whose_holder_lives_is_taken_only_by_its_id_and_says_so(root: Path) -> None:
    content = chain(root)
    apply(content, root=root, judge=approve)
    with Lease(root / ".kcompiler") as lease:
        lease.sign(lease.fence)
        with pytest.raises(Locked, match=f"process {os.getpid()}"):
            unlock(root)
        with pytest.raises(NotSettled, match=f"but under {lease.id}") as other:
            unlock(root, "0" * 12)
        assert other.value.kind == "other"
        lease.confirm()
        assert unlock(root, lease.id).id == lease.id
        line = load(root / ".kcompiler")[0].lines[-1]
        assert (line.type, line.data["by"], line.data["of"]["pid"]) == ("lease_taken", "hand", os.getpid())
    assert holder(root / ".kcompiler").state == "free"
    assert apply(content, root=root, judge=approve).counts == {"reused": 4}


def test_a_silent_writer_of_another_machine_is_succeeded_and_the_journal_says_whose_the_lease_was(root: Path) -> None:
    content = chain(root)
    apply(content, root=root, judge=approve)
    note = root / ".kcompiler" / NOTE
    owner = {"pid": 5, "host": "other", "boot": "x", "taken": "2026-01-01T00:00:00Z", "fence": 99, "id": "beef"}
    note.write_text(json.dumps(owner))
    with pytest.raises(Locked, match="another machine"):
        apply(content, root=root, judge=approve)
    with pytest.raises(Locked):
        unlock(root)
    os.utime(note, (1, 1))
    assert apply(content, root=root, judge=approve).counts == {"reused": 4}
    (line,) = [one for one in load(root / ".kcompiler")[0].lines if one.type == "lease_taken"]
    assert (line.data["by"], line.data["of"]["host"], line.fence) == ("silence", "other", 100)
    note.write_text(json.dumps({**owner, "fence": 200}))
    assert unlock(root, "beef").state == "elsewhere"
    assert apply(content, root=root, judge=approve).counts == {"reused": 4}


def test_the_inventory_names_whose_everything_is_and_who_uses_it(root: Path) -> None:
    content = staged(root)
    found = items(root)
    assert [(one.room, one.newest and one.newest.step) for one in found if one.room == "work"] == [("work", "grow")]
    work = next(one for one in found if one.room == "work")
    assert work.says == "attempt 1: interrupted when all was made, apply stores it"
    run = apply(content, root=root, judge=approve)
    found = items(root)
    assert {one.name for one in found} == set(run.digests.values())
    dataset = next(one for one in found if one.name == run.digests["make#dataset"])
    assert dataset.taken_by == ["toy:grow.dataset"]
    assert dataset.used_by == ["toy"]
    assert dataset.stands
    assert dataset.size_bytes == sum(path.stat().st_size for path in dataset.path.rglob("*") if path.is_file())
