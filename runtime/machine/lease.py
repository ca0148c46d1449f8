"""One writer per state folder: an flock that dies with its process, a note that says whose it is, a fence that grows.

The lock is an flock on `.kcompiler/lease`. The note beside it (`lease.json`) is for people and carries the fence: each
holder takes the next integer and writes it into every journal line, so that a writer that lost its lease without
noticing is refused.

An flock may hold within one kernel only. Of a writer on another machine, which has mounted the same folder, the note
tells: it is touched every `BEAT_S` seconds and says when it was given back. While it is fresh nobody else may write;
after `SILENT_S` without a touch its writer counts as dead. Both times are those of the file system itself, so that two
clocks need not agree. What cannot be decided is not decided here: `break_lease` is for somebody who knows better.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runtime.contract import BrokenEvidence, MachineError, strict_json
from runtime.machine.durable import DISK, TEMPORARY, Disk, StorageFailed

LEASE, NOTE = "lease", "lease.json"
#: seconds from one sign of life to the next, and without any until a writer elsewhere counts as dead
BEAT_S, SILENT_S = 30.0, 120.0
#: seconds that somebody who only looks may hold the lock
_LOOKED_S = 0.05
_held: weakref.WeakSet[Lease] = weakref.WeakSet()


class Locked(MachineError):
    """Somebody else writes here. `owner` is their note: id, pid, host, boot, taken (UTC), fence; empty if unreadable.
    `silent_s`: for a writer on another machine, the seconds since its last sign of life; None for one of this."""

    def __init__(self, owner: Mapping[str, Any], silent_s: float | None = None) -> None:
        said = f"another apply is at work here: {words(owner)}"
        if silent_s is not None:
            said += f", another machine, whose last sign of life {age(silent_s)}"
        super().__init__(said)
        self.message, self.owner, self.silent_s = str(self), dict(owner), silent_s


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lease, as far as one who only looks can know.

    `state`: "free" (nobody), "lives" (a process of this machine), "left" (a process of this machine that is gone
    without giving it back: the next writer takes it), "elsewhere" (another machine, which gave a sign of life within
    SILENT_S, or in what the file system calls the future), "silent" (another machine, without one: the next writer
    takes it). `silent_s` is None but for other machines.
    """

    state: Literal["free", "lives", "left", "elsewhere", "silent"]
    note: Mapping[str, Any]
    silent_s: float | None = None

    @property
    def id(self) -> str:
        """What names this holding of the lease."""
        return identity(self.note)

    @property
    def held(self) -> bool:
        """Whether a writer that comes now is refused."""
        return self.state in ("lives", "elsewhere")


class Lease:
    """The right to write. Free again when released, closed, or when the process ends in whatever way."""

    def __init__(self, state: Path, disk: Disk = DISK) -> None:
        """Take the lock at once or raise Locked. Nothing may be written before `sign`."""
        self._path, self._note, self._disk = state / LEASE, state / NOTE, disk
        self.fence, self.id = 0, ""
        self._end = threading.Event()
        self._descriptor: int | None = _lock(self._path)
        if self._descriptor is None:
            raise Locked(read_note(self._note))
        #: the note of a writer on another machine that counts as dead; else empty
        self.before: Mapping[str, Any] = {}
        try:
            found = _by_note(state)
        except BaseException:
            self.drop()
            raise
        if found.held:
            self.drop()
            raise Locked(found.note, found.silent_s)
        if found.state == "silent":
            self.before = found.note
        _held.add(self)

    def sign(self, at_least: int, taken: str = "") -> int:
        """Write the note; the new fence, greater than `at_least` (the journal's) and than any in a note before."""
        before = read_note(self._note).get("fence")
        self.fence, self.id = max(before if type(before) is int else 0, at_least) + 1, secrets.token_hex(6)
        self._write({"pid": os.getpid(), "boot": boot_id(), "host": socket.gethostname(), "taken": taken})
        threading.Thread(target=_beat, args=(self._note, self.id, self._end), name="lease", daemon=True).start()
        return self.fence

    def _write(self, note: Mapping[str, Any]) -> None:
        text = json.dumps({**note, "id": self.id, "fence": self.fence}, sort_keys=True)
        self._disk.write(self._note, f"{text}\n".encode())

    def confirm(self) -> None:
        """Raises BrokenEvidence unless this process still is the one writer (file replaced, note of a later fence)."""
        if self._descriptor is None:
            raise BrokenEvidence("the lease was given back", subject=str(self._path))
        if not _is(self._descriptor, self._path) or read_note(self._note).get("fence") != self.fence:
            raise BrokenEvidence("the lease was taken away while work was going on", subject=str(self._path))

    def release(self) -> None:
        """Give the lease back. Harmless when done already."""
        if self._descriptor is None:
            return
        note = read_note(self._note)
        if self.id and note.get("id") == self.id and _is(self._descriptor, self._path):
            # a note that still names a writer frees nothing later and keeps nobody of this machine out
            with contextlib.suppress(StorageFailed):
                self._write({**note, "given_back": True})
        self._end.set()
        self.drop()

    def drop(self) -> None:
        """Let go of the lock without a word, as a forked child does: the lease stays its parent's."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(state: Path) -> Holder:
    """Who holds the lease of a state folder. Takes nothing but, for a moment, the right to look."""
    path = state / LEASE
    if not path.exists():
        return _by_note(state)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Holder(state="lives", note=read_note(state / NOTE))
    finally:
        os.close(descriptor)
    return _by_note(state)


def break_lease(state: Path, named: str, disk: Disk = DISK) -> None:
    """Take the lease away from the holder of that id: its next line in the journal is refused, and the lock is free.

    Raises Locked when somebody else holds it by now.
    """
    note = read_note(state / NOTE)
    if identity(note) != named:
        raise Locked(note)
    disk.write(state / NOTE, f"{json.dumps({**note, 'given_back': True, 'broken': True}, sort_keys=True)}\n".encode())
    # who has it open keeps a lock on a file that has no name any more
    disk.remove(state / LEASE)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None when somebody else does."""
    until = time.monotonic() + _LOOKED_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() > until:
                return None
            time.sleep(_LOOKED_S / 10)
            continue
        if _is(descriptor, path):
            return descriptor
        # it was taken away between the two calls
        os.close(descriptor)


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _by_note(state: Path) -> Holder:
    """What the note says where no process of this kernel holds the lock."""
    note = read_note(state / NOTE)
    if not isinstance(note.get("host"), str) or note.get("given_back"):
        return Holder(state="free", note={})
    boot, host = boot_id(), socket.gethostname()
    # one kernel: the lock itself says that the process is gone; one name and another kernel: it was started again
    if (boot and note.get("boot") == boot) or note.get("host") == host:
        return Holder(state="left", note=note)
    silent_s = _silent_s(state)
    return Holder(state="silent" if silent_s >= SILENT_S else "elsewhere", note=note, silent_s=silent_s)


def _silent_s(state: Path) -> float:
    """Seconds since the note was touched, by the file system's own clock; negative when that was set back."""
    now, probe = time.time(), state / f"{TEMPORARY}{os.getpid()}-clock"
    # who may not write here has only the clock of its own
    with contextlib.suppress(OSError):
        DISK.create(probe, b"")
        now = probe.stat().st_mtime
        probe.unlink()
    try:
        return now - (state / NOTE).stat().st_mtime
    except OSError as error:
        raise StorageFailed("look at", state / NOTE, error) from error


def _beat(note: Path, identity: str, end: threading.Event) -> None:
    """Touch the note until the lease is given back or taken away."""
    while not end.wait(BEAT_S):
        if read_note(note).get("id") != identity:
            return
        with contextlib.suppress(OSError):
            os.utime(note)


def identity(note: Mapping[str, Any]) -> str:
    """What names one holding of the lease; notes of versions before there was an id have their fence."""
    return str(note.get("id") or note.get("fence") or "unknown")


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
        owner.get("given_back")
        or not isinstance(process, int)
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


def words(owner: Mapping[str, Any]) -> str:
    """Whose a note is."""
    if not owner:
        return "its note is not readable"
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')} since {owner.get('taken', '?')}"


def age(silent_s: float) -> str:
    """How long ago something was, for the end of a sentence."""
    # file systems keep time in steps
    if silent_s < -1:
        return f"lies {-silent_s:.0f} s in the future: a clock was set back"
    return f"was {max(0.0, silent_s):.0f} s ago"


def _drop_in_child() -> None:
    # An flock belongs to the open file, which a forked worker shares: it would keep the lock beyond our death.
    for lease in list(_held):
        lease.drop()


os.register_at_fork(after_in_child=_drop_in_child)
