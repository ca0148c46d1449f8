from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.machine.durable import DISK, Disk, StorageFailed, erase, protect, sweep, write
from tests.unit.runtime.machinery import environ


class Failing(Disk):
    """Fails the n-th elementary operation (from 1), or all from there on, with an error number."""

    def __init__(self, at: int, number: int, *, onwards: bool = False) -> None:
        self.at, self.number, self.onwards, self.count = at, number, onwards, 0

    def boundary(self, operation: str, path: Path) -> None:
        del operation
        self.count += 1
        if self.count == self.at or (self.onwards and self.count > self.at):
            raise OSError(self.number, os.strerror(self.number), str(path))


@pytest.mark.parametrize("onwards", [False, True])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_failed_write_is_reported_and_leaves_one_of_the_two_contents(
    tmp_path: Path, at: int, number: int, onwards: bool
) -> None:
    path = tmp_path / "file"
    write(path, "old")
    with pytest.raises(StorageFailed, match="file") as caught:
        Failing(at, number, onwards=onwards).write(path, b"new")
    assert caught.value.errno == number
    # The fourth operation is the folder's sync: the rename before it is visible, only not yet known to be durable.
    assert path.read_text() == ("new" if at == 4 else "old")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    write(path, "new")
    assert path.read_text() == "new"


def test_a_write_has_exactly_the_operations_that_durability_needs(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    class Noting(Disk):
        def boundary(self, operation: str, path: Path) -> None:
            seen.append((operation, path.name))

    Noting().write(tmp_path / "file", b"text")
    (first, temporary), *rest = seen
    assert first == "create"
    assert temporary != "file"
    assert rest == [("sync", temporary), ("rename", "file"), ("sync", tmp_path.name)]


@pytest.mark.parametrize("at", [1, 2])
def test_a_failed_append_cuts_the_file_back(tmp_path: Path, at: int) -> None:
    path = tmp_path / "log"
    path.write_text("one\n")
    with pytest.raises(StorageFailed):
        Failing(at, errno.ENOSPC).append(path, b"two\n")
    assert path.read_text() == "one\n"


def test_a_partial_append_is_cut_back(tmp_path: Path) -> None:
    class Partial(Disk):
        def extend(self, path: Path, data: bytes) -> None:
            super().extend(path, data[:2])
            raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "log"
    path.write_text("one\n")
    with pytest.raises(StorageFailed, match="4 bytes"):
        Partial().append(path, b"two\n")
    assert path.read_text() == "one\n"


@pytest.mark.parametrize(
    "act",
    [lambda path: DISK.write(path, b"x" * 5000), lambda path: DISK.append(path, b"x" * 5000)],
    ids=["write", "append"],
)
def test_a_real_size_limit_gives_a_message_with_path_and_bytes(tmp_path: Path, act: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageFailed, match="5000 bytes") as caught:
            act(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_sweep_removes_what_a_killed_writer_left_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from runtime.machine.durable import Disk\n"
        "class Dying(Disk):\n"
        "    def boundary(self, operation, path):\n"
        "        if operation == 'rename': os.kill(os.getpid(), 9)\n"
        "Dying().write(pathlib.Path(sys.argv[1]), b'new')\n"
    )
    path = tmp_path / "file"
    write(path, "old")
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=environ())
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2
    assert len(sweep(tmp_path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_protected_folders_refuse_writes_and_can_be_erased(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("x")
    protect(folder, writable=False)
    assert (folder / "inner" / "file").stat().st_mode & 0o222 == 0
    assert (folder / "inner").stat().st_mode & 0o222 == 0
    erase(folder)
    assert not folder.exists()
    erase(folder)
