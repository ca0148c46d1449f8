"""Apply under kill -9, failing disks, signals and rivals: the end is what an undisturbed run gives.

Each experiment runs in a forked child (the machine is imported once). A kill loses no bytes that were written, so the
child's disk skips the real fsync; what a power cut may lose is proven in tests/property/test_machine_powerloss.py.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.contract.chain import Line, read
from runtime.machine.apply import Locked, Run, StorageFailed, apply, look, stoppable
from runtime.machine.durable import Disk
from runtime.machine.lease import Lease
from runtime.machine.meter import INTERVAL_S
from tests.longer import also, longer
from tests.unit.runtime import machinery
from tests.unit.runtime.machinery import Watched, approve, chain, lock, quick_folder

FAILED, INTERRUPTED = 6, 130
#: audit events of Python that stand before a change of the file system
CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}


class Quick(Disk):
    """No real fsync."""

    def sync(self, path: Path) -> None:
        self.boundary("sync", path)


class Killing(Quick):
    """SIGKILL before the n-th elementary operation (from 1)."""

    def __init__(self, at: int) -> None:
        self.left = at

    def boundary(self, operation: str, path: Path) -> None:
        del operation, path
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Failing(Quick):
    """The n-th elementary operation fails, or all from there on."""

    def __init__(self, at: int, number: int, *, onwards: bool) -> None:
        self.left, self.number, self.onwards = at, number, onwards

    def boundary(self, operation: str, path: Path) -> None:
        del operation
        self.left -= 1
        if self.left == 0 or (self.onwards and self.left < 0):
            raise OSError(self.number, os.strerror(self.number), str(path))


@pytest.fixture(autouse=True, scope="module")
def _toy() -> Iterator[None]:
    machinery.install()
    yield
    machinery.remove()


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


def short(root: Path) -> dict[str, Any]:
    """Two steps: a dataset, and work with checkpoints of its own."""
    return lock(root, chain(root, rounds=3)["steps"][:2])


def go(root: Path, content: Mapping[str, Any], **options: Any) -> Run:
    return apply(content, root=root, **{"judge": approve, "disk": Quick(), **options})


def undisturbed(folder: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, str]:
    root = folder / "undisturbed"
    root.mkdir()
    return dict(go(root, make(root)).digests)


def start_child(act: Callable[..., int], *arguments: Any) -> int:
    """Run in a forked child; its process id."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = act(*arguments)
        finally:
            os._exit(code)
    return child


def end_of(child: int) -> int:
    """Exit code of a child, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(act: Callable[..., int], *arguments: Any) -> int:
    return end_of(start_child(act, *arguments))


def applied(root: Path, content: Mapping[str, Any], disk: Disk) -> int:
    go(root, content, disk=disk)
    return 0


def killed_at_change(root: Path, content: Mapping[str, Any], at: int) -> int:
    left = at

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in CHANGES and (event != "open" or str(root) in str(arguments[0])):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return applied(root, content, Quick())


def limited(root: Path, content: Mapping[str, Any], size_bytes: int) -> int:
    """Apply while no file may become larger than so."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))
    try:
        go(root, content)
    except StorageFailed:
        return FAILED
    return 0


def lines(root: Path) -> list[Line]:
    path = root / ".kcompiler" / "journal.jsonl"
    return list(read(path.read_bytes()).lines) if path.exists() else []


def commits(root: Path) -> list[str]:
    return [line.data["action"] for line in lines(root) if line.type == "step_committed"]


def check_recovered(root: Path, content: Mapping[str, Any], expected: Mapping[str, str]) -> None:
    """Apply again: same digests, nothing acknowledged is lost or done twice, evidence and store are sound."""
    before = commits(root)
    run = go(root, content)
    assert run.outcome == "done"
    assert dict(run.digests) == expected
    after = commits(root)
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) == len(content["steps"])
    store = look(root)[1]
    assert all(store.present(digest) is True for digest in expected.values())
    assert list((root / ".kcompiler" / "scratch").iterdir()) == []
    assert json.loads((run.evidence / "run.json").read_text()) == run.reports["apply"]
    again = go(root, content)
    assert again.counts == {"reused": len(content["steps"])}


#: of the operations of a run, every 17th; each one with KCOMPILER_CRASH=1 (tests/README.md)
STRIDE = 1 if "KCOMPILER_CRASH" in os.environ else 17


def test_kill_9_at_every_durable_operation(folder: Path) -> None:
    expected = undisturbed(folder, short)
    at = 1 - STRIDE
    while True:
        at += STRIDE
        root = folder / str(at)
        root.mkdir()
        content = short(root)
        code = in_child(applied, root, content, Killing(at))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        check_recovered(root, content, expected)
    assert at > 100


@longer
def test_kill_9_at_every_other_change_of_a_file(folder: Path) -> None:
    """What does not go through the disk: modes, removal of scratch, the step's own files."""
    expected = undisturbed(folder, short)
    at = 0
    while True:
        at += STRIDE if STRIDE == 1 else 19
        root = folder / str(at)
        root.mkdir()
        content = short(root)
        if in_child(killed_at_change, root, content, at) == 0:
            break
        check_recovered(root, content, expected)
    assert at > 100


def test_kill_9_again_and_again_while_recovering(folder: Path) -> None:
    expected = undisturbed(folder, short)
    chance = random.Random(1337)
    for turn in range(12 if STRIDE == 1 else 3):
        root = folder / str(turn)
        root.mkdir()
        content = short(root)
        kills = 0
        while in_child(applied, root, content, Killing(chance.randrange(1, 140))) != 0:
            kills += 1
            assert kills < 200
            before = commits(root)
            assert len(set(before)) == len(before)
        check_recovered(root, content, expected)


def test_kill_9_at_random_moments_also_inside_steps(folder: Path) -> None:
    def slow(root: Path) -> dict[str, Any]:
        return chain(root, rounds=12, pause_s=0.005)

    expected = undisturbed(folder, slow)
    chance = random.Random(20261120)
    resumed = 0
    for turn in range(30 if STRIDE == 1 else 12):
        root = folder / str(turn)
        root.mkdir()
        content = slow(root)
        child = start_child(applied, root, content, Quick())
        if turn % 2:
            # on a machine that is busy, too, some of the moments are within the long step
            wait_for(root, "step_claimed")
            time.sleep(chance.uniform(0.0, 0.08))
        else:
            time.sleep(chance.uniform(0.0, 0.16))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        watch = Watched()
        run = go(root, content, watch=watch)
        assert (run.outcome, dict(run.digests)) == ("done", expected)
        assert len(set(commits(root))) == len(commits(root)) == 4
        resumed += bool(watch.of("said"))
    # The moments are not all before or after the long step: some attempts did go on from a checkpoint.
    assert resumed > 0


@pytest.mark.parametrize("onwards", [False, also(True)], ids=["this one fails", "all from here on fail"])
def test_a_failing_disk_at_every_operation_gives_a_clean_error_and_keeps_what_was_there(
    folder: Path, onwards: bool
) -> None:
    expected = undisturbed(folder, short)
    # the two ways to fail begin at different operations, and end beyond the last one
    at = 2 + onwards - STRIDE if STRIDE > 1 else 0
    late = 0
    while True:
        at += STRIDE
        root = folder / str(at)
        root.mkdir()
        content = short(root)
        disk, message = Failing(at, errno.ENOSPC, onwards=onwards), ""
        try:
            run = go(root, content, disk=disk)
        except StorageFailed as error:
            message = str(error)
        if not message and disk.left > 0:
            break
        if message:
            assert "no space is left" in message
            assert str(root) in message
        else:
            # all is kept and acknowledged: what failed is the note that tells other machines who is gone
            assert (run.outcome, dict(run.digests)) == ("done", expected)
            late += 1
        check_recovered(root, content, expected)
    assert at > 100
    assert late <= 6


@pytest.mark.parametrize("number", [also(errno.EIO), errno.EROFS, also(errno.EXDEV)])
def test_a_disk_that_fails_in_another_way_says_so_and_keeps_what_was_there(folder: Path, number: int) -> None:
    """What it says of each is its own; where it may fail is asked above."""
    expected = undisturbed(folder, short)
    for at in range(3, 130, 31):
        root = folder / str(at)
        root.mkdir()
        content = short(root)
        with pytest.raises(StorageFailed) as failed:
            go(root, content, disk=Failing(at, number, onwards=False))
        assert failed.value.errno == number
        assert re.search("input/output error|read-only|different file systems", str(failed.value))
        check_recovered(root, content, expected)


@longer
def test_a_real_limit_on_file_size_anywhere_gives_a_clean_error(folder: Path) -> None:
    """RLIMIT_FSIZE from nothing to enough: the step's own writes and the machine's journal meet it."""
    expected = undisturbed(folder, lambda root: lock(root, chain(root)["steps"][:3]))
    codes = []
    for limit in range(0, 40_000, 1_600 if STRIDE == 1 else 8_000):
        root = folder / str(limit)
        root.mkdir()
        content = lock(root, chain(root)["steps"][:3])
        codes.append(in_child(limited, root, content, limit))
        check_recovered(root, content, expected)
    assert set(codes) == {FAILED, 0}
    assert codes == sorted(codes, reverse=True)


def interruptible(root: Path, content: Mapping[str, Any]) -> int:
    with stoppable() as stop:
        try:
            go(root, content, stop_requested=stop)
        except KeyboardInterrupt:
            return INTERRUPTED
    return 128 + stop.signal if stop.signal else 0


def wait_for(root: Path, kind: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if any(line.type == kind and line.data.get("step") == "grow" for line in lines(root)):
            return
        time.sleep(0.005)
    raise AssertionError(f"no {kind} of grow")


@pytest.mark.parametrize("number", [also(signal.SIGINT), signal.SIGTERM, also(signal.SIGHUP)])
def test_one_signal_stops_at_a_safe_point_orderly(folder: Path, number: signal.Signals) -> None:
    def slow(root: Path) -> dict[str, Any]:
        return chain(root, rounds=40, pause_s=0.02)

    root = folder / "root"
    root.mkdir()
    content = slow(root)
    child = start_child(interruptible, root, content)
    wait_for(root, "step_claimed")
    os.kill(child, number)
    assert end_of(child) == 128 + number
    kinds = [line.type for line in lines(root)]
    assert kinds[-3:] == ["step_interrupted", "gate_evaluated", "run_closed"]
    assert lines(root)[-1].data["outcome"] == "interrupted"
    Lease(root / ".kcompiler").release()
    watch = Watched()
    assert go(root, content, watch=watch).outcome == "done"
    assert watch.of("said") == [("said", "grow")]


def test_two_signals_stop_at_once_and_still_close_the_run(folder: Path) -> None:
    root = folder / "root"
    root.mkdir()
    content = chain(root, rounds=2, pause_s=3.0)
    child = start_child(interruptible, root, content)
    wait_for(root, "step_claimed")
    began = time.monotonic()
    os.kill(child, signal.SIGINT)
    time.sleep(0.1)
    os.kill(child, signal.SIGINT)
    assert end_of(child) == INTERRUPTED
    assert time.monotonic() - began < 2.5
    last = lines(root)[-1]
    assert (last.type, last.data["outcome"]) == ("run_closed", "interrupted")


def test_two_applies_at_once_one_works_and_the_other_names_it(folder: Path) -> None:
    root = folder / "root"
    root.mkdir()
    content = chain(root, rounds=40, pause_s=0.05)
    child = start_child(applied, root, content, Quick())
    wait_for(root, "step_claimed")
    with pytest.raises(Locked, match=f"process {child} on"):
        go(root, content)
    # Reading needs no lease, also while lines are being written.
    assert look(root)[0].last("toy", "make") is not None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert go(root, content).outcome == "done"


def test_eight_applies_at_once_give_one_result(folder: Path) -> None:
    root = folder / "root"
    root.mkdir()
    content = short(root)
    expected = undisturbed(folder, short)

    def insist() -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                return 0 if dict(go(root, content).digests) == expected else 1
            except Locked:
                time.sleep(0.002)
        return 2

    children = [start_child(insist) for _ in range(8)]
    assert [end_of(child) for child in children] == [0] * 8
    assert len(commits(root)) == 2
    fences = [line.fence for line in lines(root) if line.type == "run_opened"]
    assert len(fences) == 8
    assert fences == sorted(set(fences))


def test_a_real_process_killed_with_real_fsync_goes_on(tmp_path: Path) -> None:
    """Once without any shortcut: another interpreter, the ordinary disk, the file system of the temporary folder."""
    program = (
        "import sys, pathlib\n"
        "from tests.unit.runtime import machinery as m\n"
        "m.install()\n"
        "from runtime.machine.apply import apply\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "run = apply(m.chain(root, rounds=30, pause_s=0.02), root=root, judge=m.approve)\n"
        "print(sorted(run.digests.items()))\n"
    )
    root, calm = tmp_path / "root", tmp_path / "calm"
    root.mkdir()
    calm.mkdir()
    command = [sys.executable, "-c", program]
    with subprocess.Popen([*command, str(root)], env=machinery.environ()) as process:
        wait_for(root, "step_claimed")
        time.sleep(0.2)
        process.kill()
    outputs = [
        subprocess.run(
            [*command, str(place)], env=machinery.environ(), capture_output=True, text=True, check=True
        ).stdout
        for place in (root, calm)
    ]
    assert outputs[0] == outputs[1] != ""
    claims = [line.data for line in lines(root) if line.type == "step_claimed"]
    assert [data["attempt"] for data in claims if data["step"] == "grow"] == [1, 2]
    grow = json.loads((root / "generated" / "toy" / "evidence" / "run.json").read_text())["data"]["steps"]["grow"]
    assert (grow["attempts"]["value"], grow["lost_attempts"]["value"]) == (2, 0)
    killed = [line.data for line in lines(root) if line.type == "step_killed"]
    assert [data["attempt"] for data in killed] == [1]
    assert grow["wall"]["value"] > killed[0]["wall_s"] >= INTERVAL_S
