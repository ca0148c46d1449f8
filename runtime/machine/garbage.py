"""State folder × locks that are there → what none of them needs, and its removal.

Kept is what the next apply of any of the locks would reuse, what their evidence names (so that an audit stays sound),
and the work that the next apply would go on with. Answers that were paid for, the journal and the quarantine stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract.keys import History, predict
from runtime.machine import devices
from runtime.machine.durable import erase
from runtime.machine.inventory import records_of, size_of
from runtime.machine.journal import JOURNAL, Past, load
from runtime.machine.locked import check
from runtime.machine.stale import requirements
from runtime.machine.state import FOLDER, State
from runtime.machine.store import Store

#: spec and name of what the journal does not know
NOBODY = ("", "")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One folder of the state. `digest` is that of an artifact, or the action key of work that was not finished."""

    digest: str
    #: spec and step#port that made it last; "" where the journal knows nothing of it
    spec: str
    name: str
    size_bytes: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """What no lock needs, and how much stays."""

    scratch: Sequence[Item]
    artifacts: Sequence[Item]
    kept_scratch: int
    kept_artifacts: int

    @property
    def size_bytes(self) -> int:
        return sum(item.size_bytes for item in (*self.scratch, *self.artifacts))


def garbage(root: Path, locks: Iterable[Mapping[str, Any]]) -> Garbage:
    """What `collect` would remove now. Looks only. Raises as `collect` does, but for Locked."""
    folder = root / FOLDER
    _, past = load(folder)
    return _garbage(root, folder, past, History(past.records), Store(folder), list(locks))


def collect(root: Path, locks: Iterable[Mapping[str, Any]]) -> Garbage:
    """Remove what none of the locks needs, and return what it was.

    Raises Locked while an apply is at work, BrokenEvidence (journal or evidence damaged), Refusal and Stale (a lock
    that this machine cannot read, or that names a backend it does not have).
    """
    with State(root) as state:
        found = _garbage(root, state.folder, state.journal.past, state.history, state.store, list(locks))
        for item in found.scratch:
            erase(item.path)
        gone = {item.digest for item in found.artifacts}
        state.store.gc([artifact for artifact in state.store.digests() if artifact not in gone])
        return found


def _garbage(
    root: Path, folder: Path, past: Past, history: History, store: Store, locks: Sequence[Mapping[str, Any]]
) -> Garbage:
    records, actions, open_steps = [], set(), set()
    for lock in locks:
        check(lock)
        name = str(lock["asked"]["name"])
        expected = predict(
            lock, requires=requirements(lock), host=devices.words(), history=history, present=store.stands
        )
        for decision in expected:
            if decision.record is not None:
                records.append(decision.record)
            elif decision.key:
                actions.add(decision.key)
            else:
                # its inputs are made first: what they will be decides whether it can be reused or gone on with
                open_steps.add((name, decision.step))
                last = history.last(name, decision.step)
                records += [] if last is None else [last]
        records += records_of(root / "generated" / name / "evidence" / JOURNAL)
    used = {give["digest"] for record in records for give in record["gives"].values()}
    made = {
        give["digest"]: (str(record["spec"]), f"{record['step']}#{port}")
        for record in past.records
        for port, give in record["gives"].items()
    }
    begun = {action: known for action, known in past.attempts.items() if action in actions or known.of in open_steps}
    # what is finished but for its commit stands partly in the store already
    used |= {give["digest"] for known in begun.values() if known.staged for give in known.staged["gives"].values()}
    places = {f"sha256:{path.name}": path for path in sorted((folder / "scratch").glob("*"))}
    of = {action: known.of for action, known in past.attempts.items()}
    scratch = [_item(one, of.get(one, NOBODY), path) for one, path in places.items() if one not in begun]
    stored = store.digests()
    artifacts = [_item(one, made.get(one, NOBODY), store.path(one)) for one in stored if one not in used]
    return Garbage(
        scratch=scratch,
        artifacts=artifacts,
        kept_scratch=len(places) - len(scratch),
        kept_artifacts=len(stored) - len(artifacts),
    )


def _item(digest: str, made: tuple[str, str], path: Path) -> Item:
    return Item(digest=digest, spec=made[0], name=made[1], size_bytes=size_of(path), path=path)
