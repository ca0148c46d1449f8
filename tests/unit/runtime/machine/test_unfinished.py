"""What became of work that was begun and not committed, told without a tensor and without a lease."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runtime.machine import saved
from runtime.machine.apply import Unfinished, apply, unfinished
from runtime.machine.journal import JOURNAL, Attempts, Ended
from runtime.machine.lease import alive
from runtime.machine.meter import FILE, Spent, Way
from runtime.machine.state import unfinished_of
from tests.unit.runtime.machinery import approve, chain


def left(**more: object) -> Unfinished:
    return Unfinished(**({"staged": False, "step": None, "failed": ""} | more))


@pytest.mark.parametrize(
    ("found", "total", "words"),
    [
        (left(step=500), 3000, "interrupted at step 500 of 3000, apply goes on from there"),
        (left(), 3000, "interrupted before it had saved a state, apply starts it anew"),
        (left(), None, "interrupted, apply runs it again"),
        (left(staged=True, step=9), 9, "interrupted when all was made, apply stores it"),
        (left(failed="no disk", step=5), 9, "failed: no disk; apply goes on from step 5 of 9"),
        (left(failed="no disk"), 9, "failed: no disk; apply runs it again"),
        (
            left(failed="2 USD are spent", mended_by="raise it"),
            9,
            "failed: 2 USD are spent; raise it, then apply runs it again",
        ),
        (left(step=5, process=12), 9, "process 12 is at work on it"),
        (left(step=0), 9, "interrupted at step 0 of 9, apply goes on from there"),
        (left(keeps=True), None, "interrupted, apply goes on from what it has kept"),
        (left(keeps=True), 9, "interrupted before it had saved a state, apply starts it anew"),
        (left(keeps=True, failed="no disk"), None, "failed: no disk; apply goes on from what it has kept"),
        (left(keeps=True, step=5), 9, "interrupted at step 5 of 9, apply goes on from there"),
    ],
)
def test_words(found: Unfinished, total: int | None, words: str) -> None:
    assert found.words(total) == words


def index(folder: Path, step: int = 7, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / saved.name_of(step, "bin")
    file.write_bytes(b"state")
    text = saved.index(course={"seed": "1"}, step=step, file=file.name, file_digest="d", record={})
    (folder / saved.name_of(step)).write_bytes(json.dumps(json.loads(text) | changes).encode())
    return folder


def test_an_index_is_read_as_it_was_written_and_in_no_other_form(tmp_path: Path) -> None:
    assert saved.step_of(tmp_path) is None
    folder = index(tmp_path / "training")
    path = folder / saved.name_of(7)
    assert saved.step_of(tmp_path) == 7
    assert saved.read(path)[0] is not None
    index(folder, record={"loss": 0})
    assert saved.read(path) == (None, "its index was changed after it was written")
    assert saved.step_of(tmp_path) is None
    path.write_bytes(b"[]")
    assert saved.read(path) == (None, "its index cannot be read (TypeError)")
    path.write_bytes(b'{"self": "')
    assert saved.read(path)[0] is None
    (index(folder) / saved.name_of(7, "bin")).unlink()
    assert saved.step_of(tmp_path) is None, "an index without its state is none"
    index(folder).joinpath(saved.name_of(7)).rename(folder / saved.name_of(9))
    assert saved.read(folder / saved.name_of(9)) == (None, "its index is that of another step")


def test_of_two_states_the_newer_counts_and_of_a_spoiled_one_the_one_before_it(tmp_path: Path) -> None:
    folder = index(tmp_path / "training", step=99_999_999)
    index(folder, step=100_000_000)
    assert [step for step, _ in saved.indices(folder)] == [100_000_000, 99_999_999]
    assert saved.step_of(tmp_path) == 100_000_000
    (folder / saved.name_of(100_000_000)).write_bytes(b"{}")
    assert saved.step_of(tmp_path) == 99_999_999


def test_an_attempt_that_was_stopped_or_failed_is_told_and_a_finished_one_is_not(root: Path) -> None:
    assert unfinished(root) == {}
    polls = iter(range(20))
    content = chain(root, rounds=40)
    run = apply(content, root=root, judge=approve, stop_requested=lambda: next(polls, None) is None)
    (grow,) = [one for one in run.steps if one.status == "interrupted"]
    assert grow.detail == "interrupted, apply goes on from what it has kept"
    ((action, found),) = unfinished(root).items()
    assert found == left(keeps=True)
    index(root / ".kcompiler/scratch" / action.removeprefix("sha256:") / "work/training", step=3)
    assert unfinished(root)[action].step == 3
    (root / ".kcompiler/scratch" / action.removeprefix("sha256:") / "read").unlink()
    assert unfinished(root)[action] == left(), "apply starts work anew that has no record of what it read"
    assert apply(content, root=root, judge=approve).outcome == "done"
    assert unfinished(root) == {}


def test_what_a_killed_attempt_kept_is_told_before_any_writer_comes_by(root: Path) -> None:
    assert apply(chain(root, rounds=2), root=root, judge=approve).outcome == "done"
    folder, action = root / ".kcompiler", "sha256:" + "a" * 64
    scratch = folder / "scratch" / ("a" * 64)
    (scratch / "work").mkdir(parents=True)
    (scratch / "read").write_text("")
    known = Attempts(claimed=1)
    assert not unfinished_of(folder, action, known).keeps
    sign = {"attempt": 1, "wall_s": 3.0, "began": 0, "done": 9, "kept": 0, "lost_s": 3.0}
    (scratch / FILE).write_text(json.dumps(sign))
    assert not unfinished_of(folder, action, known).keeps
    (scratch / FILE).write_text(json.dumps({**sign, "kept": 8}))
    assert unfinished_of(folder, action, known).keeps
    # killed again before it went on: what the first had kept is there
    known = Attempts(claimed=2, ended=1, ended_at={1: Ended(Spent(), Way(began=0, done=9, kept=8, lost_s=0.0))})
    assert unfinished_of(folder, action, known).keeps


def kept(path: Path) -> None:
    """As if the lease had not been given back."""
    note = json.loads(path.read_bytes())
    del note["given_back"]
    path.write_text(json.dumps(note))


def test_a_killed_writer_is_not_at_work_and_a_living_one_is(root: Path) -> None:
    polls = iter(range(20))
    apply(chain(root, rounds=40), root=root, judge=approve, stop_requested=lambda: next(polls, None) is None)
    state = root / ".kcompiler"
    lines = (state / JOURNAL).read_bytes().splitlines(keepends=True)
    claimed = [number for number, line in enumerate(lines, 1) if b"step_claimed" in line][-1]
    (state / JOURNAL).write_bytes(b"".join(lines[:claimed]))
    (state / "head").unlink()
    newest = json.loads(lines[claimed - 1])
    from runtime.contract.chain import head_text

    (state / "head").write_bytes(head_text(newest["seq"], newest["hash"]))
    kept(state / "lease.json")
    assert [one.process for one in unfinished(root).values()] == [os.getpid()]
    note = json.loads((state / "lease.json").read_bytes())
    (state / "lease.json").write_text(json.dumps({**note, "boot": "another"}))
    assert [one.process for one in unfinished(root).values()] == [0]


@pytest.mark.parametrize(
    "change", [{"pid": 0}, {"pid": -1}, {"pid": "1"}, {"pid": 2**40}, {"host": "elsewhere"}, {"boot": "earlier"}]
)
def test_a_note_of_nobody_who_lives_here_names_nobody(root: Path, change: dict[str, object]) -> None:
    apply(chain(root), root=root, judge=approve)
    path = root / ".kcompiler/lease.json"
    assert alive(path) == 0, "it was given back"
    kept(path)
    assert alive(path) == os.getpid()
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    assert alive(path) == 0
