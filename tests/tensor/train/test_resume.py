"""A training that is killed continues bit for bit; a state that is not its own is never continued."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from runtime import digest
from runtime.machine import durable
from runtime.machine.saved import INDEX
from runtime.train import loop
from runtime.train.checkpointing import State, Store
from runtime.train.distill import train
from tests.tensor.train import killed, world
from tests.tensor.train.world import Stage

CHECKPOINT, REPORT = "checkpoint", "report/report.json"


@dataclass
class Run:
    """A training in a process of its own. The processes are forked from one that has imported torch and run nothing."""

    takes: dict[str, Path]
    scratch: Path
    out: Path

    def __enter__(self) -> Run:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.tensor.train.killed"])
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=killed.run, args=(self.takes, self.scratch, self.out, theirs))
        self.process.start()
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.join()
        self.pipe.close()
        self.process.close()

    def kill_after(self, steps: int, pause_s: float) -> bool:
        """SIGKILL when so many steps are done and a moment has passed. False when the run was over before."""
        for _ in range(steps):
            self.pipe.recv()
        time.sleep(pause_s)
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL


def test_killed_at_random_moments_the_bytes_are_those_of_an_undisturbed_run(
    taught: dict[str, Path], tmp_path: Path
) -> None:
    """The undisturbed run is that of another process, so that nothing of a process can leak into the bytes."""
    killed.run(taught, tmp_path / "quiet-scratch", tmp_path / "quiet", None)

    moments = random.Random(20)
    kills = 0
    for steps in (1, 5, 11, 7, 9, 6):
        with Run(taught, tmp_path / "scratch", tmp_path / "out") as run:
            kills += run.kill_after(steps, moments.uniform(0.0, 0.02))
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert kills == 6
    assert 39 <= json.loads((tmp_path / "scratch/training" / INDEX).read_text())["step"] < 60
    with Run(taught, tmp_path / "scratch", tmp_path / "out") as run:
        run.process.join()
        assert run.process.exitcode == 0

    assert digest.of_folder(tmp_path / "out" / CHECKPOINT) == digest.of_folder(tmp_path / "quiet" / CHECKPOINT)
    assert (tmp_path / "out" / REPORT).read_bytes() == (tmp_path / "quiet" / REPORT).read_bytes()


class Stopped(BaseException):
    """Stands for the end of the process."""


class Interrupted(Stage):
    """A Context whose run ends after three steps."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        if done == 3:
            raise Stopped


@pytest.mark.parametrize("forget", ["optimizer.exp_avg.", "optimizer.exp_avg_sq.", "optimizer.step.", "model."])
def test_a_resume_that_forgets_a_part_gives_other_bytes(
    forget: str, base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the equality of bytes proves that every part of the state is kept."""
    params = world.params(checkpoint_every=1)
    whole, first, second = (Stage(tmp_path / name, base) for name in ("whole", "first", "second"))
    train(base, params, whole)
    cut = Interrupted(tmp_path / "cut", base)
    with pytest.raises(Stopped):
        train(base, params, cut)
    shutil.copytree(cut.scratch, first.scratch)
    shutil.copytree(cut.scratch, second.scratch)
    train(base, params, first)
    restore = loop.restore

    def forgetful(model: nn.Module, optimizer: Optimizer, tensors: dict[str, torch.Tensor]) -> None:
        kept = {name: torch.zeros_like(t) if name.startswith(forget) else t for name, t in tensors.items()}
        restore(model, optimizer, kept)

    monkeypatch.setattr(loop, "restore", forgetful)
    train(base, params, second)
    name = f"{CHECKPOINT}/model.safetensors"
    assert (first.root / name).read_bytes() == (whole.root / name).read_bytes()
    assert (second.root / name).read_bytes() != (whole.root / name).read_bytes()


class Fragile(durable.Disk):
    """Ends the process at one elementary operation of the disk."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def boundary(self, operation: str, path: Path) -> None:
        if self.count == self.at:
            raise Stopped
        self.count += 1


def state(step: int) -> State:
    return State(step, {"weight": torch.full((3,), float(step))}, {"points": [step]})


def test_killed_at_any_operation_of_a_save_the_state_is_the_old_or_the_new(tmp_path: Path) -> None:
    at, done = 0, False
    while not done:
        folder = tmp_path / str(at)
        Store(folder, "mine").save(state(1))
        try:
            Store(folder, "mine", Fragile(at)).save(state(2))
            done = True
        except Stopped:
            pass
        found, _ = Store(folder, "mine").load()
        assert found is not None
        assert found.step in (1, 2)
        assert float(found.tensors["weight"][0]) == found.step
        assert found.record == {"points": [found.step]}
        at += 1
    assert at > 6
    assert found.step == 2
    assert sorted(path.name for path in folder.iterdir()) == ["state-00000002.safetensors", INDEX]


def test_a_torn_temporary_file_is_swept_away(tmp_path: Path) -> None:
    Store(tmp_path, "mine").save(state(1))
    torn = tmp_path / ".kc-tmp-1-state.json"
    torn.write_bytes(b'{"step":')
    Store(tmp_path, "mine")
    assert not torn.exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: flip(folder / "state-00000003.safetensors"), "tensors were changed"),
        (lambda folder: (folder / "state-00000003.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / INDEX).write_text("{"), "cannot be read"),
        (lambda folder: (folder / INDEX).write_text("[]"), "cannot be read"),
        (lambda folder: (folder / INDEX).unlink(), "no saved state"),
        (
            lambda folder: (folder / INDEX).write_text((folder / INDEX).read_text().replace('"step": 3', '"step": 4')),
            "index was changed",
        ),
    ],
)
def test_a_spoiled_state_is_not_continued(spoil: Any, reason: str, tmp_path: Path) -> None:
    Store(tmp_path, "mine").save(state(3))
    spoil(tmp_path)
    found, why = Store(tmp_path, "mine").load()
    assert found is None
    assert reason in why


def test_a_state_of_other_parameters_is_not_continued(base: dict[str, Path], tmp_path: Path) -> None:
    """The run says so and gives the bytes of a run that found nothing."""
    first = Stage(tmp_path / "first", base)
    first.scratch = tmp_path / "scratch"
    train(base, world.params(steps=4), first)

    changed = world.params(steps=4, batch_size=7)
    second, fresh = Stage(tmp_path / "second", base), Stage(tmp_path / "fresh", base)
    second.scratch = tmp_path / "scratch"
    train(base, changed, second)
    train(base, changed, fresh)
    assert any("starting over" in line for line in second.said)
    assert digest.of_folder(second.root / CHECKPOINT) == digest.of_folder(fresh.root / CHECKPOINT)


def test_a_finished_run_is_not_trained_again(base: dict[str, Path], tmp_path: Path) -> None:
    """A kill between the last step and the artifact costs no training."""
    first, second = Stage(tmp_path / "first", base), Stage(tmp_path / "second", base)
    second.scratch = first.scratch
    train(base, world.params(), first)
    train(base, world.params(), second)
    assert "continuing at step 6 of 6" in second.said
    assert digest.of_folder(second.root / CHECKPOINT) == digest.of_folder(first.root / CHECKPOINT)


def test_nothing_in_the_scratch_folder_is_pickled(base: dict[str, Path], tmp_path: Path) -> None:
    stage = Stage(tmp_path, base)
    train(base, world.params(), stage)
    names = sorted(path.name for path in (stage.scratch / "training").iterdir())
    assert names == ["state-00000006.safetensors", "state.json"]
