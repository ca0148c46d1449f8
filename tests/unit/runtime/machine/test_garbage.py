"""What no lock needs goes; what an apply, an audit or a wallet needs stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import catalog
from runtime.contract import BrokenEvidence
from runtime.machine.apply import Locked, Refusal, Run, Stale, apply, collect, forecast, garbage, look
from runtime.machine.durable import erase
from runtime.machine.lease import Lease
from tests.unit.runtime.machinery import approve, chain, lock, step


def stopped_at(root: Path, content: dict[str, object], polls: int) -> Run:
    """An apply that is asked to stop at its so-manieth safe point."""
    left = iter(range(polls))
    return apply(content, root=root, judge=approve, stop_requested=lambda: next(left, None) is None)


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_artifacts_that_no_lock_would_reuse_go_and_the_rest_is_reused(root: Path) -> None:
    first = apply(chain(root), root=root, judge=approve)
    wanted = chain(root, rounds=6)
    second = apply(wanted, root=root, judge=approve)
    old = set(first.digests.values()) - set(second.digests.values())
    assert len(old) >= 2
    before = snapshot(root)
    shown = garbage(root, [wanted])
    assert {item.digest for item in shown.artifacts} == old
    assert snapshot(root) == before, "a look changes nothing"
    names = {(item.spec, item.name) for item in shown.artifacts}
    assert ("toy", "grow#checkpoint") in names
    assert shown.size_bytes == sum(item.size_bytes for item in shown.artifacts) > 0
    journal = (root / ".kcompiler/journal.jsonl").read_bytes()
    assert collect(root, [wanted]) == shown
    assert set(look(root)[1].digests()) == set(second.digests.values())
    assert shown.kept_artifacts == len(set(second.digests.values()))
    assert (root / ".kcompiler/journal.jsonl").read_bytes() == journal
    assert apply(wanted, root=root, judge=approve).counts == {"reused": 4}
    assert [one.reason for one in forecast(chain(root), root=root)][1] == "artifact_missing"
    assert collect(root, [wanted]).artifacts == []


def test_each_of_several_locks_keeps_its_own(root: Path) -> None:
    one, two = chain(root), {**chain(root, rounds=6), "asked": {"spec": "specs/two.yaml", "name": "two"}}
    for content in (one, two):
        apply(content, root=root, judge=approve)
    assert collect(root, [one, two]).artifacts == []
    for content in (one, two):
        assert apply(content, root=root, judge=approve).counts == {"reused": 4}


def test_what_the_evidence_names_stays_for_the_audit(root: Path) -> None:
    """The lock was planned anew and not applied yet: what is audited is still the run before."""
    before = apply(chain(root), root=root, judge=approve)
    found = collect(root, [chain(root, rounds=6)])
    assert found.artifacts == []
    assert set(look(root)[1].digests()) == set(before.digests.values())
    evidence = root / "generated/toy/evidence/journal.jsonl"
    evidence.write_bytes(evidence.read_bytes().replace(b"toy", b"boy", 1))
    with pytest.raises(BrokenEvidence):
        collect(root, [chain(root, rounds=6)])


def test_work_that_a_lock_goes_on_with_stays_and_other_work_goes(root: Path) -> None:
    wanted = chain(root, rounds=40)
    assert stopped_at(root, wanted, 20).outcome == "interrupted"
    (scratch,) = (root / ".kcompiler/scratch").iterdir()
    paid = root / ".kcompiler/paid/answers/one.json"
    paid.parent.mkdir(parents=True)
    paid.write_bytes(b"{}")
    assert collect(root, [wanted]).scratch == []
    assert scratch.is_dir()
    # another text: of `grow` it is not known what it will take, so that its work may still be wanted
    assert collect(root, [chain(root, rounds=40, text="other")]).scratch == []
    (gone,) = collect(root, [chain(root, rounds=41)]).scratch
    assert (gone.digest, gone.spec, gone.name) == (f"sha256:{scratch.name}", "toy", "grow")
    assert gone.size_bytes > 0
    assert not scratch.exists()
    assert paid.read_bytes() == b"{}"
    assert apply(wanted, root=root, judge=approve).outcome == "done"


def test_what_waits_for_a_step_that_must_run_again_stays(root: Path) -> None:
    """`make` is lost: made again it is the same, and then all after it is reused."""
    wanted = chain(root)
    run = apply(wanted, root=root, judge=approve)
    erase(root / "generated")
    store = look(root)[1]
    erase(store.path(run.digests["make#dataset"]))
    # of what is made again, no half is of use
    assert [item.name for item in collect(root, [wanted]).artifacts] == ["make#report"]
    assert apply(wanted, root=root, judge=approve).counts == {"committed": 1, "reused": 3}


def test_scratch_that_nobody_knows_goes(root: Path) -> None:
    apply(chain(root), root=root, judge=approve)
    stray = root / ".kcompiler/scratch" / ("0" * 64)
    stray.mkdir()
    (item,) = collect(root, [chain(root)]).scratch
    assert (item.name, item.size_bytes) == ("", 0)
    assert not stray.exists()


def test_while_an_apply_is_at_work_nothing_is_removed(root: Path) -> None:
    apply(chain(root), root=root, judge=approve)
    lease = Lease(root / ".kcompiler")
    try:
        with pytest.raises(Locked):
            collect(root, [chain(root, rounds=6)])
    finally:
        lease.release()


def test_a_lock_that_cannot_be_understood_stops_it(root: Path) -> None:
    run = apply(chain(root), root=root, judge=approve)
    content = lock(root, [step("make", "toy_make", params={"text": "x"})])
    with pytest.raises(Refusal):
        collect(root, [{**content, "steps": "none"}])
    strange = {**content["steps"][0], "backend": "nowhere"}
    with pytest.raises(Stale):
        collect(root, [{**content, "steps": [strange]}])
    assert set(look(root)[1].digests()) == set(run.digests.values())
    assert catalog.load("backends", "toy")
