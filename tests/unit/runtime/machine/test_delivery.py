"""A delivery is there whole or not at all, whenever its writer is killed and whatever the disk refuses."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
from pathlib import Path

import pytest

from runtime.contract import BrokenEvidence
from runtime.contract.delivery import Item
from runtime.machine.delivery import Occupied, check, put
from runtime.machine.durable import Disk, StorageFailed


class Quick(Disk):
    """No real fsync; counts what is done."""

    def __init__(self) -> None:
        self.done = 0

    def boundary(self, operation: str, path: Path) -> None:
        self.done += 1

    def sync(self, path: Path) -> None:
        self.boundary("sync", path)


class Killing(Quick):
    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def boundary(self, operation: str, path: Path) -> None:
        super().boundary(operation, path)
        if self.done == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class Failing(Killing):
    def boundary(self, operation: str, path: Path) -> None:
        self.done += 1
        if self.done >= self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def item(content: bytes | Path) -> Item:
    data = content.read_bytes() if isinstance(content, Path) else content
    return Item(source=content, sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Item]:
    stored = tmp_path / "stored"
    stored.write_bytes(b"weights" * 1000)
    stored.chmod(0o444)
    return {"a/b/weights": item(stored), "contract.json": item(b"{}"), "a/c": item(b"")}


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole(files: dict[str, Item]) -> dict[str, bytes]:
    return {
        name: one.source if isinstance(one.source, bytes) else one.source.read_bytes() for name, one in files.items()
    }


@pytest.mark.parametrize("there", [False, True])
def test_a_kill_at_any_operation_leaves_nothing_or_everything_and_the_next_delivery_is_whole(tmp_path, files, there):
    counted = Quick()
    if there:
        (tmp_path / "counted" / "out").mkdir(parents=True)
    put(tmp_path / "counted" / "out", files, counted)
    assert counted.done > 12
    seen = set()
    for at in range(1, counted.done + 1):
        target = tmp_path / f"at-{at}" / "out"
        if there:
            target.mkdir(parents=True)
        child = os.fork()
        if child == 0:
            put(target, files, Killing(at))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        found = content(target) if target.exists() else {}
        assert found in ({}, whole(files))
        seen.add(bool(found))
        if not found:
            put(target, files, Quick())
        assert content(target) == whole(files)
        assert [path.name for path in target.parent.iterdir()] == ["out"]
    assert seen == {False, True}


def test_a_full_disk_at_any_operation_leaves_what_was_there(tmp_path, files):
    counted = Quick()
    put(tmp_path / "counted" / "out", files, counted)
    # the very last operation makes the rename durable: the delivery is there, and may be lost with the power
    for at in range(1, counted.done):
        target = tmp_path / f"at-{at}" / "out"
        with pytest.raises(StorageFailed, match="no space is left"):
            put(target, files, Failing(at))
        assert not target.exists()
        if target.parent.exists():
            assert list(target.parent.iterdir()) == []


def test_nothing_of_anybody_is_overwritten(tmp_path, files):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "full", "link"):
        with pytest.raises(Occupied):
            check(tmp_path / name)
        with pytest.raises(Occupied):
            put(tmp_path / name, files, Quick())
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "mine").read_text() == "mine"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_put_there_meanwhile_stays(tmp_path, files):
    class Rival(Quick):
        def rename(self, source: Path, target: Path) -> None:
            target.mkdir()
            (target / "theirs").write_text("theirs")
            super().rename(source, target)

    with pytest.raises(Occupied, match="meanwhile"):
        put(tmp_path / "out", files, Rival())
    assert content(tmp_path / "out") == {"theirs": b"theirs"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "stored"]


def test_two_deliveries_to_one_place_do_not_mix(tmp_path, files):
    hidden = tmp_path / ".kc-tmp-out"
    hidden.mkdir()
    other = os.open(hidden, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Occupied, match="under way"):
            put(tmp_path / "out", files, Quick())
    finally:
        os.close(other)
    put(tmp_path / "out", files, Quick())
    assert content(tmp_path / "out") == whole(files)


def test_a_copy_that_is_not_what_was_promised_is_not_delivered(tmp_path, files):
    for name, wrong in (
        ("a/b/weights", Item(source=tmp_path / "stored", sha256="0" * 64)),
        ("a/b/weights", Item(source=tmp_path / "gone", sha256="0" * 64)),
        ("contract.json", Item(source=b"{ }", sha256=files["contract.json"].sha256)),
    ):
        with pytest.raises(BrokenEvidence):
            put(tmp_path / "out", {**files, name: wrong}, Quick())
        assert not (tmp_path / "out").exists()
