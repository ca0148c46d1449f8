"""One writer per state folder: an flock that dies with its process, a note that says whose it is, a fence that grows.

The lock is an flock on `.kcompiler/lease`, a file that is never replaced. The note beside it (`lease.json`) is for
people and carries the fence: each holder takes the next integer and writes it into every journal line, so that a writer
that lost its lease without noticing is refused. Local file systems only: an flock over a network may not hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.contract import BrokenEvidence, MachineError, strict_json
from runtime.machine.durable import DISK, Disk

_held: weakref.WeakSet[Lease] = weakref.WeakSet()


class Locked(MachineError):
    """Somebody else writes here. `owner` is their note: pid, host, boot, taken (UTC), fence; empty if unreadable."""

    def __init__(self, owner: Mapping[str, Any]) -> None:
        who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')} since {owner.get('taken', '?')}"
        super().__init__(f"another apply is at work here: {who if owner else 'its note is not readable'}")
        self.message, self.owner = str(self), dict(owner)


class Lease:
    """The right to write. Free again when released, closed, or when the process ends in whatever way."""

    def __init__(self, state: Path, disk: Disk = DISK) -> None:
        """Take the lock at once or raise Locked. Nothing may be written before `sign`."""
        self._path, self._note, self._disk = state / "lease", state / "lease.json", disk
        self.fence = 0
        self._descriptor: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise Locked(read_note(self._note)) from None
        _held.add(self)

    def sign(self, at_least: int, taken: str = "") -> int:
        """Write the note; the new fence, greater than `at_least` (the journal's) and than any in a note before."""
        before = read_note(self._note).get("fence")
        self.fence = max(before if type(before) is int else 0, at_least) + 1
        note = {"pid": os.getpid(), "boot": boot_id(), "host": socket.gethostname(), "taken": taken}
        self._disk.write(self._note, (json.dumps({**note, "fence": self.fence}, sort_keys=True) + "\n").encode())
        return self.fence

    def confirm(self) -> None:
        """Raises BrokenEvidence unless this process still is the one writer (file replaced, note of a later fence)."""
        if self._descriptor is None:
            raise BrokenEvidence("the lease was given back", subject=str(self._path))
        try:
            same = os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            same = False
        if not same or read_note(self._note).get("fence") != self.fence:
            raise BrokenEvidence("the lease was taken away while work was going on", subject=str(self._path))

    def release(self) -> None:
        """Give the lease back. Harmless when done already."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def read_note(path: Path) -> dict[str, Any]:
    """The owner's note, {} when there is none or it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        note = strict_json.loads(path.read_bytes())
        if isinstance(note, dict):
            return note
    return {}


def alive(note: Path) -> int:
    """The process that a note names, when it still lives on this machine; else 0. Takes nothing."""
    owner = read_note(note)
    process = owner.get("pid")
    if (
        not isinstance(process, int)
        or process < 1
        or (owner.get("host"), owner.get("boot")) != (socket.gethostname(), boot_id())
    ):
        return 0
    try:
        os.kill(process, 0)
    except PermissionError:
        return process
    except (OSError, OverflowError):
        return 0
    return process


def boot_id() -> str:
    """The kernel's id of this boot; "" where there is none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _drop_in_child() -> None:
    # An flock belongs to the open file, which a forked worker shares: it would keep the lock beyond our death.
    for lease in list(_held):
        lease.release()


os.register_at_fork(after_in_child=_drop_in_child)
