"""Everything in the state folder is hashed again: what is damaged is named, what a kill left is no damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.contract import BrokenEvidence
from runtime.machine.apply import Locked, Run, apply
from runtime.machine.durable import erase, protect
from runtime.machine.lease import Lease
from runtime.machine.store import Store
from runtime.machine.verify import Fault, repair, verify
from tests.unit.runtime.machinery import approve, chain


@pytest.fixture
def run(root: Path) -> Run:
    return apply(chain(root), root=root, judge=approve)


def flip(path: Path, at: int = 0) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def faults(root: Path, *, damage: bool = True) -> list[Fault]:
    return [one for one in verify(root).faults if one.damage == damage]


def snapshot(root: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in (root / ".kcompiler").rglob("*")}


def test_a_sound_state_is_sound_and_a_look_changes_nothing(root: Path, run: Run) -> None:
    before = snapshot(root)
    found = verify(root)
    assert found.faults == []
    assert found.artifacts == len(set(run.digests.values()))
    assert found.lines > 8
    assert found.size_bytes > 0
    assert snapshot(root) == before
    with Lease(root / ".kcompiler"):
        assert verify(root).faults == []


def test_every_damaged_artifact_is_named_put_aside_and_made_again(root: Path, run: Run) -> None:
    store = Store(root / ".kcompiler")
    hit = [
        run.digests["make#dataset"],
        run.digests["join#table"] if "join#table" in run.digests else max(run.digests.values()),
    ]
    for digest in hit:
        flip(next(path for path in store.path(digest).rglob("*") if path.is_file()))
    assert [one.digest for one in faults(root)] == sorted(set(hit), key=lambda one: store.path(one))
    assert all((root / one.subject).is_dir() and one.room == "store" for one in faults(root))
    mended = repair(root)
    assert {one.digest for one in mended.faults if one.mended} == set(hit)
    for one in mended.faults:
        if one.mended:
            assert (root / one.mended.removeprefix("moved to ")).is_dir()
    # what the evidence names is gone now, until it is made again
    assert {one.message.partition(",")[0] for one in faults(root)} == {"gone"}
    assert apply(chain(root), root=root, judge=approve).outcome == "done"
    assert faults(root) == []
    assert [one.message for one in faults(root, damage=False)] == [f"{len(set(hit))} put aside, which nothing uses"]


def test_an_artifact_that_evidence_names_and_that_is_gone_is_damage(root: Path, run: Run) -> None:
    folder = Store(root / ".kcompiler").path(run.digests["grow#checkpoint"])
    protect(folder, writable=True)
    erase(folder)
    (one,) = faults(root)
    assert (one.message, one.subject) == (
        "gone, though the evidence of toy names it",
        folder.relative_to(root).as_posix(),
    )
    assert apply(chain(root), root=root, judge=approve).outcome == "done"
    assert faults(root) == []


def test_a_damaged_journal_is_named_by_its_line_and_nothing_repairs_it(root: Path, run: Run) -> None:
    del run
    journal = root / ".kcompiler/journal.jsonl"
    flip(journal, journal.read_bytes().index(b"\n") + 20)
    (one,) = faults(root)
    assert (one.room, one.subject) == ("journal", ".kcompiler/journal.jsonl:2")
    before = journal.read_bytes()
    with pytest.raises(BrokenEvidence):
        repair(root)
    assert journal.read_bytes() == before


def test_what_a_kill_left_is_told_and_no_damage(root: Path, run: Run) -> None:
    del run
    state = root / ".kcompiler"
    with (state / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"data":{')
    (state / ".kc-tmp-1-head").write_bytes(b"")
    (state / "store/sha256/gone-1").mkdir()
    (state / "store/sha256/ab").mkdir(exist_ok=True)
    (state / "store/sha256/ab/stray").mkdir()
    (state / "scratch" / ("a" * 64)).mkdir()
    assert faults(root) == []
    told = {one.subject.removeprefix(".kcompiler/").partition(":")[0] for one in faults(root, damage=False)}
    assert told == {
        "journal.jsonl",
        ".kc-tmp-1-head",
        "store/sha256/gone-1",
        "store/sha256/ab/stray",
        f"scratch/{'a' * 64}",
    }
    assert apply(chain(root), root=root, judge=approve).counts == {"reused": 4}
    left = {one.subject.removeprefix(".kcompiler/") for one in faults(root, damage=False)}
    assert left == {"store/sha256/ab/stray", f"scratch/{'a' * 64}"}


def test_repair_waits_for_nobody(root: Path, run: Run) -> None:
    digest = run.digests["make#dataset"]
    flip(next(path for path in Store(root / ".kcompiler").path(digest).rglob("*") if path.is_file()))
    with Lease(root / ".kcompiler"), pytest.raises(Locked):
        repair(root)
    assert [one.digest for one in faults(root)] == [digest]
