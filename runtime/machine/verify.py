"""State folder → everything in it hashed again, and what is not as the journal says; repair puts the damaged aside.

What was acknowledged and is not there any more, or is not what it was, is damage. What a killed command left half done
is none: the next writer sees to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from runtime.contract import BrokenEvidence
from runtime.contract.chain import Chain
from runtime.machine.durable import DISK, TEMPORARY, Disk
from runtime.machine.inventory import named_by_evidence
from runtime.machine.journal import JOURNAL, Past, load
from runtime.machine.stale import digest_of
from runtime.machine.state import FOLDER, State, scratch_of
from runtime.machine.store import Store

Room = Literal["journal", "store", "scratch", "state"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is not as it should be. `subject` is a path below the project, where a line is meant with
    `:line`; `mended` says what repair made of it. Not `damage`: a note."""

    room: Room
    subject: str
    message: str
    damage: bool = True
    mended: str = ""
    #: of an artifact that repair can put aside
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was looked at, and what was found, in the order of the rooms."""

    lines: int
    artifacts: int
    size_bytes: int
    faults: Sequence[Fault]


def verify(root: Path) -> Verified:
    """Hash everything again. Changes nothing and needs no lease."""
    folder = root / FOLDER
    faults: list[Fault] = []
    known: tuple[Chain, Past] | None = None
    try:
        known = load(folder)
    except BrokenEvidence as broken:
        faults.append(Fault(room="journal", subject=f"{FOLDER}/{broken.subject}", message=broken.message))
    if known is not None and known[0].torn:
        place = f"{FOLDER}/{JOURNAL}:{len(known[0].lines) + 1}"
        faults.append(_left("journal", place, "an incomplete last line, never acknowledged: the next apply cuts it"))
    store = Store(folder)
    faults += _stored(root, folder, store)
    if known is not None:
        faults += _gone(root, known[1], store)
        faults += _begun(folder, known[1], store)
    faults += _rest(folder)
    standing = store.digests()
    return Verified(
        lines=0 if known is None else len(known[0].lines),
        artifacts=len(standing),
        size_bytes=sum(file.lstat().st_size for one in standing for file in store.path(one).rglob("*")),
        faults=faults,
    )


def repair(root: Path, disk: Disk = DISK) -> Verified:
    """Verify, and move every damaged artifact to quarantine, with a line in the journal: apply makes it again. What
    evidence names of them is damage until then.

    Raises Locked while an apply is at work, BrokenEvidence for a damaged journal, which nobody can mend, StorageFailed.
    """
    with State(root, disk=disk) as state:
        found = verify(root)
        makers = {
            give["digest"]: str(record["step"])
            for record in state.journal.past.records
            for give in record["gives"].values()
        }
        mended = []
        for fault in found.faults:
            if not fault.digest:
                mended.append(fault)
                continue
            place = state.store.quarantine(fault.digest)
            data = {"step": makers.get(fault.digest, ""), "digest": fault.digest, "place": place.name}
            state.journal.append("artifact_quarantined", data)
            mended.append(replace(fault, mended=f"moved to {FOLDER}/quarantine/{place.name}"))
        # what evidence names and was put aside is not there until it is made again
        known = {fault.subject for fault in found.faults if not fault.digest}
        gone = [one for one in _gone(root, state.journal.past, state.store) if one.subject not in known]
        return replace(found, faults=[*mended, *gone])


def _left(room: Room, subject: str, message: str) -> Fault:
    return Fault(room=room, subject=subject, message=message, damage=False)


def _stored(root: Path, folder: Path, store: Store) -> Iterator[Fault]:
    standing = {store.path(digest): digest for digest in store.digests()}
    for path, digest in standing.items():
        if store.present(digest) is not True:
            subject = path.relative_to(root).as_posix()
            yield Fault(
                room="store", subject=subject, message="the artifact does not have its digest any more", digest=digest
            )
    for path in sorted((folder / "store" / "sha256").glob("*")):
        if path.name.startswith("gone-"):
            yield _left("store", path.relative_to(root).as_posix(), "left by a `state gc` that was killed")
            continue
        for inner in sorted(path.iterdir()) if path.is_dir() else [path]:
            if inner not in standing:
                yield _left("store", inner.relative_to(root).as_posix(), "no artifact has this name: nothing uses it")


def _gone(root: Path, past: Past, store: Store) -> Iterator[Fault]:
    """Artifacts that evidence names, that were committed here, and that do not stand here."""
    committed = {give["digest"] for record in past.records for give in record["gives"].values()}
    try:
        named = sorted(set(named_by_evidence(root)))
    except BrokenEvidence as broken:
        yield _left("state", f"generated/*/evidence/{broken.subject}", f"{broken.message}: see kcompiler audit")
        return
    for spec, digest in named:
        if digest in committed and not store.stands(digest):
            subject = store.path(digest).relative_to(root).as_posix()
            yield Fault(room="store", subject=subject, message=f"gone, though the evidence of {spec} names it")


def _begun(folder: Path, past: Past, store: Store) -> Iterator[Fault]:
    """Work that was begun: what was finished but for its commit, and folders that no attempt has."""
    for action, known in past.attempts.items():
        for port, give in (known.staged["gives"] if known.staged else {}).items():
            made = scratch_of(folder, action) / "out" / port
            if store.present(give["digest"]) is not True and digest_of(made, "folder") != give["digest"]:
                place = f"{FOLDER}/{made.relative_to(folder).as_posix()}"
                yield _left("scratch", place, f"step `{known.of[1]}` had finished this; apply makes it again")
    for left in sorted((folder / "scratch").glob("*")):
        if f"sha256:{left.name}" not in past.attempts:
            subject = f"{FOLDER}/scratch/{left.name}"
            yield _left("scratch", subject, "no unfinished attempt has it: `state gc` takes it")


def _rest(folder: Path) -> Iterator[Fault]:
    aside = list((folder / "quarantine").glob("*"))
    if aside:
        yield _left("state", f"{FOLDER}/quarantine", f"{len(aside)} put aside, which nothing uses")
    for path in sorted(folder.glob(f"{TEMPORARY}*")):
        yield _left("state", f"{FOLDER}/{path.name}", "left by a command that was killed: the next apply removes it")
