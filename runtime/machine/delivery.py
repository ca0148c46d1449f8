"""Named files → a folder that is there whole or not at all, and never over somebody else's.

All of it is written into a hidden folder beside the target, made durable, hashed again and renamed. A kill leaves that
hidden folder, which the next delivery to the same place removes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.contract import BrokenEvidence, MachineError
from runtime.contract.delivery import SUMS, Item
from runtime.digest import manifest
from runtime.machine.durable import DISK, Disk, StorageFailed, erase, is_storage_trouble


class Occupied(MachineError):
    """Something stands where the delivery should, or another delivery to that place is under way."""


def describe(packages: Path, variants: Sequence[str]) -> dict[str, Any]:
    """What the saved packages of an artifact declare; see `runtime.mil.describe`, which is imported here and now."""
    found: dict[str, Any] = importlib.import_module("runtime.mil.describe").described(packages, variants)
    return found


def check(target: Path) -> None:
    """Raises Occupied unless a delivery can be put there: nothing, or an empty folder that is no link."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Occupied(f"{target}: a file or link stands there")
    if target.is_dir() and any(target.iterdir()):
        raise Occupied(f"{target}: the folder is not empty, and nothing in it is overwritten")


def unchanged(folder: Path) -> None:
    """Raises BrokenEvidence unless the files of a delivery are those of its SHA256SUMS, each as it says."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise BrokenEvidence("it cannot be read", subject=SUMS) from None
    stated = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    try:
        found = {one["path"]: one["digest"].removeprefix("sha256:") for one in manifest(folder)}
    except ValueError as strange:
        raise BrokenEvidence(str(strange), subject=SUMS) from None
    found.pop(SUMS, None)
    for name in sorted({*stated, *found}):
        if name not in found:
            raise BrokenEvidence("it is not there", subject=name)
        if name not in stated:
            raise BrokenEvidence(f"{SUMS} does not name it", subject=name)
        if stated[name] != found[name]:
            raise BrokenEvidence(f"it is not as {SUMS} says", subject=name)


def put(target: Path, files: Mapping[str, Item], disk: Disk = DISK) -> None:
    """Write every file below `target`. Raises Occupied, StorageFailed, OSError for a place that no folder can have, or
    BrokenEvidence for a copy that is not what was promised; there is no `target` then, or the empty folder that was."""
    check(target)
    target = target.parent.resolve() / target.name
    try:
        disk.ensure(target.parent)
        with _beside(target, disk) as folder:
            for name, item in sorted(files.items()):
                _write(folder / name, item, disk)
            disk.settle(folder)
            for name, item in sorted(files.items()):
                _verify(folder, name, item)
            _rename(folder, target, disk)
            disk.sync(target.parent)
    except OSError as error:
        if is_storage_trouble(error):
            raise StorageFailed("write", target, error) from error
        raise


@contextlib.contextmanager
def _beside(target: Path, disk: Disk) -> Iterator[Path]:
    """An empty folder of ours, locked as long as it is being filled and gone afterwards; a killed one is emptied."""
    folder = target.with_name(f".kc-tmp-{target.name}")
    if not folder.is_dir():
        disk.mkdir(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(descriptor), folder.stat())
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            raise Occupied(f"{target}: another delivery to this place is under way")
        for left in sorted(folder.iterdir()):
            erase(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield folder
        except BaseException:
            # what stopped us is told; that a broken disk cannot be tidied is not
            with contextlib.suppress(OSError):
                erase(folder)
            raise
    finally:
        os.close(descriptor)


def _write(path: Path, item: Item, disk: Disk) -> None:
    for parent in reversed(path.parents):
        if not parent.is_dir():
            disk.mkdir(parent)
    if isinstance(item.source, bytes):
        disk.create(path, item.source)
    elif item.source.is_file():
        disk.duplicate(item.source, path)
    else:
        raise BrokenEvidence("the artifact went away while it was copied", subject=str(item.source))


def _verify(folder: Path, name: str, item: Item) -> None:
    with (folder / name).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != item.sha256:
        raise BrokenEvidence("it changed while it was copied", subject=name)


def _rename(folder: Path, target: Path, disk: Disk) -> None:
    try:
        disk.rename(folder, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise Occupied(f"{target}: something was put there meanwhile") from None
        raise
