from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.contract import BrokenEvidence
from runtime.machine import saved
from runtime.machine.lease import NOTE, SILENT_S, Lease, Locked, alive, boot_id, break_lease, holder, read_note
from tests.unit.runtime.machinery import environ


def hold(state: Path, seconds: float) -> subprocess.Popen[str]:
    """A process that holds the lease of `state` and says so."""
    program = (
        "import sys, time, pathlib\n"
        "from runtime.machine.lease import Lease\n"
        "lease = Lease(pathlib.Path(sys.argv[1]))\n"
        "print(lease.sign(0, taken='2026-11-20T00:00:00Z'), flush=True)\n"
        "time.sleep(float(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program, str(state), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ())
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    return process


def test_a_second_writer_is_told_who_holds_the_lease_and_gets_it_after_kill_9(tmp_path: Path) -> None:
    with hold(tmp_path, 60) as process:
        with pytest.raises(Locked, match=f"process {process.pid} on .* since 2026-11-20T00:00:00Z") as caught:
            Lease(tmp_path)
        assert (caught.value.owner["pid"], caught.value.owner["boot"]) == (process.pid, boot_id())
        process.send_signal(signal.SIGKILL)
    with Lease(tmp_path) as lease:
        assert lease.sign(0) == 2


def test_the_lease_is_free_after_release_and_the_fence_only_grows(tmp_path: Path) -> None:
    fences = []
    for at_least in (0, 0, 7, 0):
        with Lease(tmp_path) as lease:
            fences.append(lease.sign(at_least))
            with pytest.raises(Locked):
                Lease(tmp_path)
    assert fences == [1, 2, 8, 9]


def test_an_unreadable_note_hides_the_owner_and_frees_nothing(tmp_path: Path) -> None:
    with Lease(tmp_path) as lease:
        lease.sign(0)
        (tmp_path / "lease.json").write_text("{")
        with pytest.raises(Locked, match="not readable"):
            Lease(tmp_path)
    with Lease(tmp_path) as lease:
        assert lease.sign(5) == 6


@pytest.mark.parametrize("note", ["[" * 200_000, "[]", '{"fence": null}', '{"fence": "7"}', '{"fence": [7]}', "\0"])
def test_a_note_of_another_form_is_no_note(tmp_path: Path, note: str) -> None:
    (tmp_path / "lease.json").write_text(note)
    with Lease(tmp_path) as lease:
        assert lease.sign(5) == 6
        lease.confirm()


def test_a_replaced_lock_file_or_a_later_fence_is_noticed_by_the_holder(tmp_path: Path) -> None:
    with Lease(tmp_path) as lease:
        lease.sign(0)
        lease.confirm()
        (tmp_path / "lease").unlink()
        with pytest.raises(BrokenEvidence, match="taken away"):
            lease.confirm()
        with Lease(tmp_path) as thief:
            thief.sign(0)
            thief.confirm()
            with pytest.raises(BrokenEvidence, match="taken away"):
                lease.confirm()
    with pytest.raises(BrokenEvidence, match="given back"):
        lease.confirm()


def test_a_note_of_a_later_fence_is_noticed_by_the_holder(tmp_path: Path) -> None:
    """As after somebody copied the state folder back from elsewhere: the lock file is the same, the fence is not."""
    with Lease(tmp_path) as lease:
        lease.sign(0)
        note = read_note(tmp_path / "lease.json")
        (tmp_path / "lease.json").write_text(json.dumps({**note, "fence": note["fence"] + 1}))
        with pytest.raises(BrokenEvidence, match="taken away"):
            lease.confirm()


def test_a_forked_worker_does_not_keep_the_lease_beyond_its_parent(tmp_path: Path) -> None:
    program = (
        "import os, sys, time, pathlib\n"
        "from runtime.machine.lease import Lease\n"
        "lease = Lease(pathlib.Path(sys.argv[1])); lease.sign(0)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print(os.getpid(), flush=True); time.sleep(60); os._exit(0)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ()) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            with pytest.raises(Locked):
                Lease(tmp_path)
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            os.kill(child, 0)
            Lease(tmp_path).release()
        finally:
            os.kill(child, signal.SIGKILL)


def _contend(state: str, rounds: int, results: str) -> None:
    won = refused = 0
    while won < rounds:
        try:
            lease = Lease(Path(state))
        except Locked:
            refused += 1
            time.sleep(0.0005)
            continue
        fence = lease.sign(0)
        # Only a holder may be here: a second one would lose or repeat a number.
        path = Path(results)
        entries = json.loads(path.read_text())
        entries.append([fence, os.getpid()])
        path.write_text(json.dumps(entries))
        lease.confirm()
        lease.release()
        won += 1


def test_eight_processes_contend_and_only_one_holds_the_lease_at_a_time(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text("[]")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_contend, args=(str(tmp_path), 13, str(results))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    entries = json.loads(results.read_text())
    assert [fence for fence, _ in entries] == list(range(1, 8 * 13 + 1))
    assert len({pid for _, pid in entries}) == 8
    assert read_note(tmp_path / "lease.json")["fence"] == 104


def test_a_saved_state_whose_index_nests_too_deep_is_none(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / saved.name_of(7)
    path.write_text("[" * 200_000)
    assert saved.read(path) == (None, "its index cannot be read (RecursionError)")
    assert saved.step_of(tmp_path) is None


def elsewhere(tmp_path: Path, silent_s: float, **more: object) -> dict[str, object]:
    """The note of a writer on another machine that did not give the lease back, touched so many seconds ago."""
    note = {"pid": 1, "host": "other.example", "boot": "b" * 36, "taken": "2026-11-20T00:00:00Z", "fence": 7}
    note |= {"id": "abcdef012345", **more}
    path = tmp_path / NOTE
    path.write_text(json.dumps(note))
    then = time.time() - silent_s
    os.utime(path, (then, then))
    return note


@pytest.mark.parametrize("silent_s", [0.0, SILENT_S - 30, -3600.0], ids=["now", "within the time", "clock set back"])
def test_a_writer_of_another_machine_keeps_its_lease_while_it_may_live(tmp_path: Path, silent_s: float) -> None:
    """The flock of another machine may not be seen here; its note is."""
    note = elsewhere(tmp_path, silent_s)
    with pytest.raises(
        Locked, match=r"process 1 on other\.example since 2026-11-20T00:00:00Z, another machine"
    ) as caught:
        Lease(tmp_path)
    assert caught.value.owner == note
    assert ("a clock was set back" in str(caught.value)) == (silent_s < 0)
    assert holder(tmp_path).state == "elsewhere"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".kc-tmp-")] == []
    assert read_note(tmp_path / NOTE) == note


def test_a_writer_of_another_machine_that_is_silent_counts_as_dead(tmp_path: Path) -> None:
    note = elsewhere(tmp_path, SILENT_S + 60)
    assert holder(tmp_path).state == "silent"
    with Lease(tmp_path) as lease:
        assert lease.before == note
        assert lease.sign(0) == 8
    assert holder(tmp_path).state == "free"


@pytest.mark.parametrize("more", [{"boot": boot_id()}, {"host": socket.gethostname()}], ids=["same kernel", "rebooted"])
def test_of_this_machine_the_lock_alone_decides(tmp_path: Path, more: dict[str, str]) -> None:
    if "" in more.values():
        pytest.skip("this kernel has no id")
    elsewhere(tmp_path, 0.0, **more)
    assert holder(tmp_path).state == "left"
    with Lease(tmp_path) as lease:
        assert lease.before == {}


def test_what_was_given_back_is_nobodys_wherever_it_was(tmp_path: Path) -> None:
    elsewhere(tmp_path, 0.0, given_back=True)
    assert holder(tmp_path).state == "free"
    Lease(tmp_path).release()


def test_a_holder_gives_signs_of_life_until_it_gives_the_lease_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.machine.lease.BEAT_S", 0.01)
    path = tmp_path / NOTE
    with Lease(tmp_path) as lease:
        lease.sign(0)
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert read_note(path)["given_back"] is True
    os.utime(path, (1, 1))
    time.sleep(0.05)
    assert path.stat().st_mtime == 1


def test_a_broken_lease_is_free_and_its_holder_writes_no_more(tmp_path: Path) -> None:
    with Lease(tmp_path) as lease:
        lease.sign(0)
        found = holder(tmp_path)
        assert (found.state, found.held, found.id) == ("lives", True, lease.id)
        with pytest.raises(Locked):
            break_lease(tmp_path, "0" * 12)
        lease.confirm()
        break_lease(tmp_path, lease.id)
        with pytest.raises(BrokenEvidence, match="taken away"):
            lease.confirm()
        with Lease(tmp_path) as thief:
            assert thief.sign(0) == lease.fence + 1
            lease.release()
            thief.confirm()
    assert read_note(tmp_path / NOTE)["id"] == thief.id


def test_who_only_looks_keeps_nobody_out(tmp_path: Path) -> None:
    Lease(tmp_path).release()
    descriptor = os.open(tmp_path / "lease", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    threading.Timer(0.02, os.close, (descriptor,)).start()
    with Lease(tmp_path) as lease:
        assert lease.sign(0) > 0


def test_a_killed_holder_is_told_from_a_living_one(tmp_path: Path) -> None:
    assert holder(tmp_path).state == "free"
    with hold(tmp_path, 60) as process:
        assert (holder(tmp_path).state, holder(tmp_path).note["pid"]) == ("lives", process.pid)
        process.kill()
    assert (holder(tmp_path).state, holder(tmp_path).note["pid"]) == ("left", process.pid)
    assert alive(tmp_path / NOTE) == 0
