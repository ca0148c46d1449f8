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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract import Refusal
from runtime.contract.keys import History
from runtime.machine.durable import DISK, Disk, StorageFailed, erase, sweep
from runtime.machine.journal import Attempts, Journal, load
from runtime.machine.lease import Lease, alive
from runtime.machine.meter import left_behind, way_of
from runtime.machine.saved import step_of
from runtime.machine.store import Store

FOLDER = ".kcompiler"
#: in a scratch folder, beside `work` and `out`: the parameters that were read, a line each
READ = "read"
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
            if self.lease.before:
                self.journal.append("lease_taken", taken_over(self.lease.before, "silence"))
            self.store = Store(self.folder, disk)
            self.store.sweep()
            self.history = History(self.journal.past.records)
            for action in list(self.journal.past.attempts):
                self.count_killed(action)
            self._sweep_scratch()
        except BaseException:
            self.lease.release()
            raise

    def scratch(self, action: str) -> Path:
        """The scratch folder of an action key."""
        return scratch_of(self.folder, action)

    def count_killed(self, action: str, *, staged: bool = False) -> None:
        """Write down what an attempt without an end in the journal had spent, as far as it left a sign. Done whenever
        a writer opens the state, so that no other form of a spec and no collection makes it forgotten. What one took
        that had `staged` all it made is known already, and it is counted only when that is not what it was."""
        known = self.journal.past.attempts.get(action, Attempts())
        if known.claimed == known.ended or (known.staged is not None and not staged):
            return
        left = left_behind(self.scratch(action), known.claimed)
        if left is not None:
            spec, step = known.of
            line = {"spec": spec, "step": step, "action": action, "attempt": known.claimed}
            self.journal.append("step_killed", {**line, **left})

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


def taken_over(owner: Mapping[str, Any], by: str) -> dict[str, Any]:
    """The data of a `lease_taken` line: whose lease it was, and whether "silence" or a "hand" ended it."""
    return {"of": {name: owner.get(name) for name in ("id", "pid", "host", "taken", "fence")}, "by": by}


def look(root: Path) -> tuple[History, Store]:
    """Committed records and store, for reading only: takes no lease, creates and repairs nothing.

    Raises BrokenEvidence when the journal is damaged.
    """
    folder = root / FOLDER
    _, past = load(folder)
    return History(past.records), Store(folder)


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """Work on an action that began and was not committed, as it lies in its scratch folder."""

    #: every output is there and durable: only the commit is missing
    staged: bool
    #: the step that is next by the state it has saved; None when it has saved none, or does not save states
    step: int | None
    #: what its newest attempt failed with; "" when it was interrupted
    failed: str
    #: what mends that; "" where the refusal says nothing
    mended_by: str = ""
    #: the process that is at work on it now; 0 for none
    process: int = 0
    #: whether its attempts have told of anything that need not be made again
    keeps: bool = False

    def words(self, total: int | None) -> str:
        """What became of it, and what the next apply does. `total`: how many steps it has, if it has steps."""
        if self.process:
            return f"process {self.process} is at work on it"
        if self.staged:
            return "interrupted when all was made, apply stores it"
        at = "" if self.step is None else f"step {self.step}" + ("" if total is None else f" of {total}")
        if not at and total is None and self.keeps:
            # of work that does not go step by step the number says nothing to who reads it
            at = "what it has kept"
        if self.failed:
            then = f"apply {f'goes on from {at}' if at else 'runs it again'}"
            return f"failed: {self.failed}; {f'{self.mended_by}, then ' if self.mended_by else ''}{then}"
        if self.step is None and at:
            return f"interrupted, apply goes on from {at}"
        if at:
            return f"interrupted at {at}, apply goes on from there"
        if total is not None:
            return "interrupted before it had saved a state, apply starts it anew"
        return "interrupted, apply runs it again"


def unfinished(root: Path) -> dict[str, Unfinished]:
    """Action key → work that was begun and not committed. Looks only. Raises BrokenEvidence for a damaged journal."""
    folder = root / FOLDER
    chain, past = load(folder)
    newest = chain.lines[-1] if chain.lines else None
    # an apply that ended has said so; one that was killed left no process
    process = 0 if newest is None or newest.type == "run_closed" else alive(folder / "lease.json")
    return {
        action: unfinished_of(folder, action, known, process if known.fence == past.fence else 0)
        for action, known in past.attempts.items()
        if scratch_of(folder, action).is_dir()
    }


def unfinished_of(folder: Path, action: str, known: Attempts, process: int = 0) -> Unfinished:
    """The same for one action. `process`: the writer that lives and has claimed its newest attempt."""
    place = scratch_of(folder, action)
    ways = [known.way_of(number) for number in range(1, known.claimed + 1)]
    if known.claimed > known.ended:
        # killed, and no writer has come by since
        ways.append(way_of(left_behind(place, known.claimed) or {}))
    kept = [way.kept for way in ways if way is not None]
    return Unfinished(
        staged=known.staged is not None,
        # of work without a record of what it read nothing is used
        step=step_of(place / "work") if (place / READ).is_file() else None,
        failed=known.failed,
        mended_by=known.mended_by,
        process=process if known.claimed > known.ended else 0,
        keeps=bool(kept and kept[-1]) and (place / READ).is_file(),
    )


def steps_of(entry: Mapping[str, Any]) -> int | None:
    """How many steps a step of the lock has that goes step by step (a training); None for any other."""
    steps = entry["params"].get("steps")
    return steps if isinstance(steps, int) else None


def scratch_of(folder: Path, action: str) -> Path:
    """The scratch folder of an action key in a state folder."""
    return folder / "scratch" / action.removeprefix("sha256:")


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
