"""State folder → what lies in it, whose it is and who uses it. Looks only; takes no lease and parses no spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.contract import chain
from runtime.machine.journal import JOURNAL, load
from runtime.machine.lease import NOTE, alive
from runtime.machine.state import FOLDER, scratch_of, unfinished_of
from runtime.machine.store import Store

#: the rooms of one item
ARTIFACT, WORK, QUARANTINE = "artifact", "work", "quarantine"


@dataclass(frozen=True, kw_only=True)
class Made:
    """One commit that gave an artifact: `at` is UTC, by the clock of whoever wrote it."""

    spec: str
    step: str
    port: str
    at: str
    run: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing in the state folder.

    `name` is the digest of an artifact, the action key of work that was begun and not committed, or the name of a
    folder in quarantine. `made`: what gave it, oldest first (of work: whose it is, since its newest attempt began);
    `taken_by`: `spec:step.port` of what was made from it; `used_by`: specs whose evidence names it. `stands` is false
    for an artifact that evidence names and that is gone. `says`: what became of work that was begun.
    """

    room: str
    name: str
    kind: str
    size_bytes: int
    path: Path
    made: Sequence[Made] = ()
    taken_by: Sequence[str] = ()
    used_by: Sequence[str] = ()
    stands: bool = True
    says: str = ""

    @property
    def newest(self) -> Made | None:
        return self.made[-1] if self.made else None


@dataclass
class _Known:
    """What the journal says of one digest."""

    kind: str = ""
    size_bytes: int = 0
    made: list[Made] = field(default_factory=list)
    taken_by: set[str] = field(default_factory=set)


def items(root: Path) -> list[Item]:
    """Artifacts, then work, then quarantine, each by spec, step and name. Raises BrokenEvidence (journal, evidence)."""
    folder = root / FOLDER
    written, past = load(folder)
    known: dict[str, _Known] = {}
    began: dict[str, chain.Line] = {}
    for line in written.lines:
        if line.type == "step_committed":
            _note(known, line)
        elif line.type == "step_claimed":
            began[line.data["action"]] = line
    used: dict[str, set[str]] = {}
    for spec, digest in named_by_evidence(root):
        used.setdefault(digest, set()).add(spec)
    store = Store(folder)
    standing = set(store.digests())
    found = [
        _artifact(digest, known.get(digest, _Known()), store.path(digest), used.get(digest, set()), digest in standing)
        for digest in standing | (set(used) & set(known))
    ]
    newest = written.lines[-1] if written.lines else None
    process = 0 if newest is None or newest.type == "run_closed" else alive(folder / NOTE)
    for action, attempts in past.attempts.items():
        place = scratch_of(folder, action)
        if place.is_dir() and action in began:
            line, (spec, step) = began[action], attempts.of
            left = unfinished_of(folder, action, attempts, process if attempts.fence == past.fence else 0)
            since = Made(spec=spec, step=step, port="", at=line.ts, run=line.run)
            kind = str(attempts.components.get("kind", ""))
            found.append(
                Item(
                    room=WORK,
                    name=action,
                    kind=kind,
                    size_bytes=size_of(place),
                    path=place,
                    made=[since],
                    says=f"attempt {attempts.claimed}: {left.words(None)}",
                )
            )
    for place in sorted((folder / "quarantine").glob("*")):
        digest = f"sha256:{place.name.partition('-')[0]}"
        one = known.get(digest, _Known())
        found.append(
            Item(room=QUARANTINE, name=place.name, kind=one.kind, size_bytes=size_of(place), path=place, made=one.made)
        )
    return sorted(found, key=_order)


def named_by_evidence(root: Path) -> Iterator[tuple[str, str]]:
    """(spec, digest) of every artifact that the evidence of a spec consists of. Raises BrokenEvidence."""
    for path in sorted((root / "generated").glob(f"*/evidence/{JOURNAL}")):
        spec = path.parents[1].name
        for record in records_of(path):
            for give in record["gives"].values():
                yield spec, give["digest"]


def records_of(path: Path) -> list[Mapping[str, Any]]:
    """The committed records that the evidence of a spec consists of; none before there is any."""
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [chain.unseal(line, subject=f"{path.name}:{number}").data for number, line in enumerate(lines, 1)]


def size_of(place: Path) -> int:
    """Bytes of the files in a folder, or of a file."""
    if not place.is_dir():
        return place.lstat().st_size
    return sum(file.lstat().st_size for file in place.rglob("*") if not file.is_dir())


def _note(known: dict[str, _Known], line: chain.Line) -> None:
    data = line.data
    spec, step = str(data["spec"]), str(data["step"])
    for port, give in data["gives"].items():
        one = known.setdefault(give["digest"], _Known())
        one.kind, one.size_bytes = str(give["kind"]), int(give["bytes"])
        one.made.append(Made(spec=spec, step=step, port=port, at=line.ts, run=line.run))
    for name, digest in data["components"].items():
        if name.startswith("input."):
            known.setdefault(digest, _Known()).taken_by.add(f"{spec}:{step}.{name.removeprefix('input.')}")


def _artifact(digest: str, one: _Known, path: Path, used_by: set[str], stands: bool) -> Item:
    return Item(
        room=ARTIFACT,
        name=digest,
        kind=one.kind,
        size_bytes=one.size_bytes if one.made else size_of(path),
        path=path,
        made=one.made,
        taken_by=sorted(one.taken_by),
        used_by=sorted(used_by),
        stands=stands,
    )


def _order(item: Item) -> tuple[int, str, str, str]:
    made = item.newest
    return (
        (ARTIFACT, WORK, QUARANTINE).index(item.room),
        made.spec if made else "",
        f"{made.step}#{made.port}" if made else "",
        item.name,
    )
