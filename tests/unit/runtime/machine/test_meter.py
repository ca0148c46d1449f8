"""Work is counted by the wall clock, processors and accelerators, and what a kill leaves of it can be read."""

from __future__ import annotations

import json
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from runtime.machine import meter
from runtime.machine.durable import DISK, Disk, StorageFailed
from runtime.machine.meter import FILE, INTERVAL_S, LATEST, Meter, Spent, Way, accelerators, left_behind, way_of


def test_waiting_costs_no_processor_and_work_in_a_thread_does(tmp_path: Path) -> None:
    running = Meter(tmp_path, 1, DISK)
    time.sleep(0.3)
    idle = running.spent()
    assert idle.wall_s >= 0.3
    assert idle.cpu_s < 0.15
    until = time.thread_time

    def work() -> None:
        while until() < 0.2:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert running.close().cpu_s >= idle.cpu_s + 0.15


def test_what_a_killed_attempt_spent_is_known_to_within_an_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "INTERVAL_S", 0.05)
    running = Meter(tmp_path, 3, DISK)
    assert left_behind(tmp_path, 3) is not None, "the first sign is there before any work"
    time.sleep(0.4)
    found = left_behind(tmp_path, 3)
    spent = running.close()
    assert found is not None
    assert 0.2 < found["wall_s"] < spent.wall_s + 2 * 0.05


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"attempt": 2}', '{"attempt": 1, "wall_s": "x"}', '{"attempt": 1, "wall_s": null}']
)
def test_a_sign_that_cannot_be_read_or_is_of_another_attempt_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert left_behind(tmp_path, 1) is None
    assert left_behind(tmp_path / "nowhere", 1) is None


def test_the_interval_of_the_kill_counts_as_worked(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"attempt": 1, "wall_s": 5.0, "cpu_s": 2.0, "gpu_s": 0.0}))
    assert left_behind(tmp_path, 1) == Spent(wall_s=5.0 + INTERVAL_S, cpu_s=2.0 + INTERVAL_S).data()
    (tmp_path / FILE).write_text(json.dumps({"attempt": 1, "wall_s": 5.0, "cpu_s": 2.0, "gpu_s": 1.0}))
    with_gpu = Spent(wall_s=5.0 + INTERVAL_S, cpu_s=2.0 + INTERVAL_S, gpu_s=1.0 + INTERVAL_S)
    assert left_behind(tmp_path, 1) == with_gpu.data()


def test_tokens_of_the_interval_of_the_kill_count_as_fast_as_before(tmp_path: Path) -> None:
    sign = {"attempt": 1, "wall_s": 4.0, "cpu_s": 0, "gpu_s": 0, "training_tokens": 1000, "teacher_tokens": 1}
    (tmp_path / FILE).write_text(json.dumps(sign))
    found = left_behind(tmp_path, 1)
    assert found is not None
    assert (found["training_tokens"], found["teacher_tokens"]) == (1250, 2)
    (tmp_path / FILE).write_text(json.dumps({**sign, "wall_s": 0}))
    found = left_behind(tmp_path, 1)
    assert found is not None
    assert (found["training_tokens"], found["teacher_tokens"]) == (1000, 1)


def test_tokens_and_steps_are_known_to_the_last_one_when_the_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the durable sign knows: most of an attempt may be imports, and then tokens come fast."""
    monkeypatch.setattr(meter, "INTERVAL_S", 60.0)
    running = Meter(tmp_path, 2, DISK)
    running.keep(40)
    for done in range(41, 53):
        running.use("training_tokens", 1565)
        running.did(done)
    running.keep(50)
    running.use("teacher_tokens", 70)
    found = left_behind(tmp_path, 2)
    running.close()
    assert found is not None
    # and the step that was at work counts as whole
    assert (found["training_tokens"], found["teacher_tokens"]) == (13 * 1565, 2 * 70)
    assert (found["began"], found["done"], found["kept"]) == (40, 52, 50)
    assert 59.0 < found["lost_s"] <= found["wall_s"]


def test_requests_that_are_under_way_when_it_is_killed_count_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "INTERVAL_S", 60.0)
    running = Meter(tmp_path, 2, DISK)
    running.expect("teacher_tokens", 900)
    found = left_behind(tmp_path, 2)
    running.use("teacher_tokens", 70)
    running.expect("teacher_tokens", 600)
    later = left_behind(tmp_path, 2)
    running.expect("teacher_tokens", 0)
    quiet = left_behind(tmp_path, 2)
    assert running.close().teacher_tokens == 70
    assert found is not None
    assert later is not None
    assert quiet is not None
    assert [one["teacher_tokens"] for one in (found, later, quiet)] == [900, 670, 140]


@pytest.mark.parametrize("text", ["", "{", '{"attempt": 1, "wall_s": 99}', '{"attempt": 2, "wall_s": 1.0}'])
def test_what_was_counted_last_may_be_torn_or_old_and_the_durable_sign_stands(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(json.dumps({"attempt": 2, "wall_s": 4.0, "training_tokens": 1000}))
    alone = left_behind(tmp_path, 2)
    (tmp_path / LATEST).write_text(text)
    assert left_behind(tmp_path, 2) == alone is not None


def test_time_that_was_counted_after_the_durable_sign_is_time(tmp_path: Path) -> None:
    """A full disk keeps the durable sign as it was."""
    (tmp_path / FILE).write_text(json.dumps({"attempt": 2, "wall_s": 4.0, "cpu_s": 4.0, "gpu_s": 8.0}))
    (tmp_path / LATEST).write_text(json.dumps({"attempt": 2, "wall_s": 14.0, "training_tokens": 7}))
    assert left_behind(tmp_path, 2) == Spent(wall_s=14.0, cpu_s=14.0, gpu_s=28.0, training_tokens=7).data()


@pytest.mark.parametrize("name", ["wall_s", "cpu_s", "gpu_s", "training_tokens", "teacher_tokens"])
def test_a_sign_that_would_give_back_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / FILE).write_text(json.dumps({"attempt": 1, "wall_s": 5.0, name: -1}))
    assert left_behind(tmp_path, 1) is None
    (tmp_path / FILE).write_text(
        json.dumps({"attempt": 1, "wall_s": 5.0, "began": 0, "done": 0, "kept": -1, "lost_s": 0})
    )
    assert left_behind(tmp_path, 1) is None


def test_how_far_an_attempt_came_is_told_with_what_was_not_kept(tmp_path: Path) -> None:
    running = Meter(tmp_path, 1, DISK)
    running.did(3)
    assert running.way() is None, "nothing was said to be kept"
    assert "began" not in running.data()
    running.keep(40)
    assert running.way() == Way(began=40, done=40, kept=40, lost_s=0.0)
    running.did(41)
    running.did(42)
    time.sleep(0.05)
    way = running.way()
    assert way is not None
    assert (way.began, way.done, way.kept) == (40, 42, 40)
    assert 0.05 <= way.lost_s < 1.0
    running.keep(42)
    assert running.way() == Way(began=40, done=42, kept=42, lost_s=0.0)
    running.use("training_tokens", 7)
    running.use("training_tokens", 5)
    assert running.close().training_tokens == 12
    assert way_of(running.data()) == running.way()


def test_no_work_begins_without_a_first_sign(tmp_path: Path) -> None:
    class Full(Disk):
        def create(self, path: Path, data: bytes) -> None:
            raise OSError(28, "full")

    before = threading.active_count()
    with pytest.raises(StorageFailed):
        Meter(tmp_path, 1, Full())
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("initialized", "reserved", "count"),
    [(True, [5, 0, 7], 2), (True, [5, 6, 7], 3), (True, [0, 0, 0], 1), (False, [5, 5, 5], 0)],
)
def test_accelerators_count_while_the_process_holds_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, initialized: bool, reserved: list[int], count: int
) -> None:
    cuda = types.SimpleNamespace(
        is_initialized=lambda: initialized,
        device_count=lambda: len(reserved),
        memory_reserved=lambda number: reserved[number],
    )
    mps = types.SimpleNamespace(is_available=lambda: False)
    torch = types.SimpleNamespace(cuda=cuda, backends=types.SimpleNamespace(mps=mps))
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert accelerators() == count
    running = Meter(tmp_path, 1, DISK)
    time.sleep(0.05)
    spent = running.close()
    assert spent.gpu_s == pytest.approx(count * spent.wall_s, rel=0.01)


def test_the_moment_of_a_kill_counts_for_every_card(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"attempt": 1, "wall_s": 10.0, "cpu_s": 2.0, "gpu_s": 25.0}))
    found = left_behind(tmp_path, 1)
    assert found is not None
    assert found["gpu_s"] == 25.0 + 2.5 * INTERVAL_S


def test_without_a_tensor_library_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert accelerators() == 0
    assert "torch" not in sys.modules
