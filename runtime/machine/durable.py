"""Bytes → a file that a power cut leaves either as it was or as it should be. The one durable write primitive.

Every change the machine must find again goes through a `Disk`. Each elementary operation (mkdir, create, extend,
truncate, sync, rename) is announced to `boundary` first: there a process can be killed, a call can fail, power can
go, and a test's subclass can stand between any two of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from runtime.contract import MachineError

#: how the name of a file begins that is not whole yet
TEMPORARY = ".kc-tmp-"
_WORDS = {
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than this process may write",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the device reports an input/output error",
    errno.EXDEV: "the two places are on different file systems",
}


class StorageFailed(MachineError):
    """The file system refused an operation. Nothing that stood before is changed; the same command may be repeated."""

    def __init__(
        self,
        operation: str,
        path: Path,
        error: OSError,
        *,
        size_bytes: int | None = None,
        free_bytes: int | None = None,
    ) -> None:
        size = "" if size_bytes is None else f" ({size_bytes} bytes)"
        reason = _WORDS.get(error.errno or 0, error.strerror or str(error))
        free = "" if free_bytes is None else f"; {free_bytes} bytes are free"
        super().__init__(f"could not {operation} {path}{size}: {reason}{free}")
        self.message, self.operation, self.path, self.errno = str(self), operation, path, error.errno


def is_storage_trouble(error: OSError) -> bool:
    """Whether an OSError speaks of the disk (full, quota, read-only, broken) and not of a wrong path."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def _flush(descriptor: int) -> None:
    # macOS: fsync leaves the data in the drive's own cache; F_FULLFSYNC does not.
    full: int | None = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, full)


class Disk:
    """Durable operations on one file system. Every method raises StorageFailed and then has changed nothing."""

    def boundary(self, operation: str, path: Path) -> None:
        """Called before each elementary operation. Does nothing; tests override it."""

    def write(self, path: Path, data: bytes) -> None:
        """Replace or create `path` with `data`: temporary file beside it, fsync, rename, fsync of the folder."""
        self._replace(path, lambda temporary: self.create(temporary, data), len(data))

    def pour(self, path: Path, pieces: Iterable[bytes | memoryview], size_bytes: int) -> None:
        """As `write`, with bytes that come piece by piece, `size_bytes` in all, and are not held together in memory."""
        self._replace(path, lambda temporary: self.fill(temporary, pieces), size_bytes)

    def made(self, path: Path, make: Callable[[BinaryIO], None]) -> None:
        """As `write`, with what `make` writes into the file that it is given, raising OSError."""

        def fill(temporary: Path) -> None:
            self.boundary("create", temporary)
            with temporary.open("wb") as file:
                make(file)

        self._replace(path, fill, 0)

    def require(self, path: Path, size_bytes: int) -> None:
        """Raises StorageFailed when a new file of `size_bytes` at `path` has no room: before anything is written."""
        free = self.free(path.parent)
        if size_bytes > free:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise StorageFailed("write", path, full, size_bytes=size_bytes, free_bytes=free)

    def free(self, folder: Path) -> int:
        """Bytes that this process may still write on the file system of `folder`."""
        try:
            return shutil.disk_usage(folder).free
        except OSError as error:
            raise StorageFailed("look at", folder, error) from error

    def remove(self, path: Path) -> None:
        """Unlink a file; one that is gone already stays gone. Not durable: it may come back after a power cut."""
        try:
            self.unlink(path)
        except OSError as error:
            raise StorageFailed("remove", path, error) from error

    def copy(self, source: Path, path: Path) -> None:
        """As `write`, with the bytes of another file, which are not held in memory."""
        self._replace(path, lambda temporary: self.duplicate(source, temporary), source.stat().st_size)

    def _replace(self, path: Path, fill: Callable[[Path], None], size_bytes: int) -> None:
        temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
        try:
            self.ensure(path.parent)
            fill(temporary)
            self.sync(temporary)
            self.rename(temporary, path)
        except OSError as error:
            _unlink(temporary)
            raise StorageFailed("write", path, error, size_bytes=size_bytes) from error
        try:
            self.sync(path.parent)
        except OSError as error:
            raise StorageFailed("make durable", path, error, size_bytes=size_bytes) from error

    def append(self, path: Path, data: bytes) -> None:
        """Add `data` to the end of `path` and fsync. When that fails the file is cut back to its former length."""
        known = path.exists()
        size = path.stat().st_size if known else 0
        try:
            self.extend(path, data)
            self.sync(path)
            if not known:
                self.sync(path.parent)
        except OSError as error:
            _shorten(path, size)
            raise StorageFailed("append to", path, error, size_bytes=len(data)) from error

    def cut(self, path: Path, size_bytes: int) -> None:
        """Shorten `path` to its first `size_bytes`, durably."""
        try:
            self.truncate(path, size_bytes)
            self.sync(path)
        except OSError as error:
            raise StorageFailed("cut", path, error, size_bytes=size_bytes) from error

    def folder(self, path: Path) -> None:
        """Make a folder and its parents, durably; one that is there already stays."""
        try:
            self.ensure(path)
        except OSError as error:
            raise StorageFailed("create folder", path, error) from error

    def settle(self, folder: Path) -> None:
        """Make every file and folder below `folder` durable, deepest first, then `folder` itself."""
        try:
            for root, _, files in os.walk(folder, topdown=False):
                for name in sorted(files):
                    self.sync(Path(root) / name)
                self.sync(Path(root))
        except OSError as error:
            raise StorageFailed("make durable", folder, error) from error

    def move(self, source: Path, target: Path) -> None:
        """Rename a file or folder on one file system; both parents are made durable."""
        try:
            self.ensure(target.parent)
            self.rename(source, target)
            self.sync(target.parent)
            self.sync(source.parent)
        except OSError as error:
            raise StorageFailed("move", source, error) from error

    def ensure(self, folder: Path) -> None:
        """As `folder`, raising the bare OSError."""
        if not folder.is_dir():
            self.ensure(folder.parent)
            self.mkdir(folder)
            self.sync(folder.parent)

    def mkdir(self, path: Path) -> None:
        """Elementary: a new folder, not yet durable."""
        self.boundary("mkdir", path)
        path.mkdir(exist_ok=True)

    def create(self, path: Path, data: bytes) -> None:
        """Elementary: a new file with `data`, not yet durable."""
        self.boundary("create", path)
        path.write_bytes(data)

    def fill(self, path: Path, pieces: Iterable[bytes | memoryview]) -> None:
        """Elementary: a new file with the pieces one after the other, not yet durable."""
        self.boundary("create", path)
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece)

    def unlink(self, path: Path) -> None:
        """Elementary: a name less, not yet durable."""
        self.boundary("unlink", path)
        path.unlink(missing_ok=True)

    def duplicate(self, source: Path, path: Path) -> None:
        """Elementary: a new file with the bytes of another, not yet durable."""
        self.boundary("create", path)
        shutil.copyfile(source, path)

    def extend(self, path: Path, data: bytes) -> None:
        """Elementary: `data` at the end of a file, not yet durable."""
        self.boundary("extend", path)
        with path.open("ab") as file:
            file.write(data)

    def truncate(self, path: Path, size_bytes: int) -> None:
        """Elementary: a shorter file, not yet durable."""
        self.boundary("truncate", path)
        os.truncate(path, size_bytes)

    def sync(self, path: Path) -> None:
        """Elementary: what `path` (a file's bytes, a folder's names) holds now survives a power cut."""
        self.boundary("sync", path)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            _flush(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Elementary: rename, replacing a file of that name."""
        self.boundary("rename", target)
        source.replace(target)


#: the disk of this machine
DISK = Disk()


def write(path: Path, data: bytes | str) -> None:
    """Write a file durably; text is UTF-8. Raises StorageFailed and then leaves the former content."""
    DISK.write(path, data.encode() if isinstance(data, str) else data)


def pour(path: Path, pieces: Iterable[bytes | memoryview], size_bytes: int) -> None:
    """Write a file durably, piece by piece. Raises StorageFailed and then leaves the former content."""
    DISK.pour(path, pieces, size_bytes)


def made(path: Path, make: Callable[[BinaryIO], None]) -> None:
    """Write durably what `make` writes into the file that it is given. Raises StorageFailed and then leaves the former
    content."""
    DISK.made(path, make)


def copy(source: Path, path: Path) -> None:
    """Copy a file durably. Raises StorageFailed and then leaves what stood at `path`."""
    DISK.copy(source, path)


def sweep(folder: Path) -> list[str]:
    """Remove temporary files that a killed writer left directly in `folder`; their names, sorted."""
    found = sorted(path.name for path in folder.glob(f"{TEMPORARY}*"))
    for name in found:
        _unlink(folder / name)
    return found


def protect(folder: Path, *, writable: bool) -> None:
    """Take away (or give back) the permission to write below `folder`, for everything in it and itself."""
    for root, _, files in os.walk(folder):
        for name in files:
            (Path(root) / name).chmod(0o644 if writable else 0o444)
        Path(root).chmod(0o755 if writable else 0o555)


def erase(folder: Path) -> None:
    """Remove a folder and all below it, protected or not. Not durable: what is erased may come back after a cut."""
    if not folder.exists():
        return
    for root, _, _ in os.walk(folder):
        mode = Path(root).stat().st_mode
        if not mode & stat.S_IWUSR:
            Path(root).chmod(0o755)
    shutil.rmtree(folder)


# A broken file system cannot be tidied; the failure that is being reported matters more than a second one.


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _shorten(path: Path, size_bytes: int) -> None:
    with contextlib.suppress(OSError):
        os.truncate(path, size_bytes)
