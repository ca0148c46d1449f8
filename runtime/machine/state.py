"""Project root → its `.kcompiler` folder: store, journal and lease, opened for one writer or looked at by anybody.

.kcompiler/
  lease, lease.json    who writes
  journal.jsonl, head  what happened, and the anchor of its newest line
  store/               committed artifacts
  scratch/<action>/    work (survives a kill, for resuming), read (parameters), out (emptied at each attempt)
  paid/                what was bought: answers of hosted teachers and the record of what was spent, never collected
  quarantine/          artifacts that no longer had their digest
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from pathlib import Path

from runtime.contract import Refusal
from runtime.contract.keys import History
from runtime.machine.durable import DISK, Disk, StorageFailed, erase, sweep
from runtime.machine.journal import Journal, load
from runtime.machine.lease import Lease
from runtime.machine.store import Store

FOLDER = ".kcompiler"
_ROOMS = ("store/sha256", "scratch", "quarantine")


class State:
    """The state of a project, held by this process alone until `close`."""

    def __init__(self, root: Path, *, disk: Disk = DISK, now: Callable[[], float] = time.time) -> None:
        """Raises Locked, BrokenEvidence, StorageFailed, Refusal (rooms on different file systems)."""
        self.folder, self.disk = root / FOLDER, disk
        self.paid = self.folder / "paid"
        _prepare(self.folder, disk)
        self.lease = Lease(self.folder, disk)
        try:
            sweep(self.folder)
            if not (self.folder / ".gitignore").exists():
                # The folder holds weights and machine-local state; a checkout must not offer it for committing.
                disk.write(self.folder / ".gitignore", b"*\n")
            self.journal = Journal(
                self.folder,
                sign=lambda newest: self.lease.sign(newest, taken=_utc(now())),
                confirm=self.lease.confirm,
                disk=disk,
                now=now,
            )
            self.store = Store(self.folder, disk)
            self.store.sweep()
            self.history = History(self.journal.past.records)
            self._sweep_scratch()
        except BaseException:
            self.lease.release()
            raise

    def scratch(self, action: str) -> Path:
        """The scratch folder of an action key."""
        return self.folder / "scratch" / action.removeprefix("sha256:")

    def _sweep_scratch(self) -> None:
        """Remove the scratch of actions that were committed by a writer killed right after."""
        for folder in (self.folder / "scratch").iterdir():
            action = f"sha256:{folder.name}"
            if self.history.of_key(action) and action not in self.journal.past.attempts:
                erase(folder)

    def close(self) -> None:
        self.lease.release()

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def look(root: Path) -> tuple[History, Store]:
    """Committed records and store, for reading only: takes no lease, creates and repairs nothing.

    Raises BrokenEvidence when the journal is damaged.
    """
    folder = root / FOLDER
    _, past = load(folder)
    return History(past.records), Store(folder)


def collect(root: Path, *, keep: Set[str] | None = None) -> list[str]:
    """Remove the artifacts that are not in `keep` (None: that no committed record names) and all scratch.

    Returns the digests removed. Raises Locked while an apply is at work.
    """
    with State(root) as state:
        for folder in (state.folder / "scratch").iterdir():
            erase(folder)
        return state.store.gc(state.history.digests() if keep is None else keep)


def _prepare(folder: Path, disk: Disk) -> None:
    for room in _ROOMS:
        disk.folder(folder / room)
    try:
        devices = {(folder / room).stat().st_dev for room in (".", *_ROOMS)}
    except OSError as error:
        raise StorageFailed("look at", folder, error) from error
    if len(devices) > 1:
        raise Refusal(
            "the rooms of the state folder lie on different file systems, so nothing can be renamed into the store",
            place=FOLDER,
            action="make .kcompiler one folder of one file system (link the whole of it if it must be elsewhere)",
            code="KR0110",
        )


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
