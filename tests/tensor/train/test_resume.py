"""A training that is killed continues bit for bit; a state that is not its own is never continued."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from runtime import contract, digest
from runtime.machine import durable, saved
from runtime.models.pouring import laid_out
from runtime.train import linear, loop
from runtime.train.checkpointing import State, Store
from runtime.train.distill import train
from tests.longer import also, longer
from tests.tensor.train import world
from tests.tensor.train.world import Stage

CHECKPOINT, REPORT = "checkpoint", "report/report.json"


class Stopped(BaseException):
    """Stands for the end of the process."""


class Interrupted(Stage):
    """A Context whose run ends after three steps."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        if done == 3:
            raise Stopped


class Asked(Stage):
    """A Context whose run is asked to stop, or has used up its budget, after three steps."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        if done == 3:
            raise contract.Stopped


def test_a_stop_keeps_what_was_trained_and_the_next_run_goes_on_from_there(
    base: dict[str, Path], tmp_path: Path
) -> None:
    """Long before the next state is due."""
    params = world.params(checkpoint_every=100)
    whole, asked, again = Stage(tmp_path / "whole", base), Asked(tmp_path / "asked", base), Stage(tmp_path / "b", base)
    train(base, params, whole)
    with pytest.raises(contract.Stopped):
        train(base, params, asked)
    assert saved.step_of(asked.scratch) == 3
    assert asked.kept_at == [0, 3]
    again.scratch = asked.scratch
    # how often to save may differ: the key does not hold it, and neither does the course
    train(base, world.params(checkpoint_every=1), again)
    assert again.kept_at == [3, 4, 5, 6]
    assert digest.of_folder(again.root / CHECKPOINT) == digest.of_folder(whole.root / CHECKPOINT)
    assert (again.root / REPORT).read_bytes() == (whole.root / REPORT).read_bytes()
    tokens = whole.reports["report"]["data"]["tokens_seen"]["value"]
    assert whole.used_up == {"training_tokens": tokens}
    assert asked.used_up["training_tokens"] + again.used_up["training_tokens"] == tokens


def test_a_run_goes_on_with_the_products_that_it_was_begun_with(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the processor is another one now, whose products sum in another order."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available():
        pytest.skip("this processor has one kind of products")
    monkeypatch.setattr(linear, "gains", lambda: True)
    whole, asked, again = Stage(tmp_path / "whole", base), Asked(tmp_path / "asked", base), Stage(tmp_path / "b", base)
    train(base, world.params(), whole)
    assert whole.reports["report"]["data"]["products"] == "oneDNN"
    with pytest.raises(contract.Stopped):
        train(base, world.params(), asked)
    monkeypatch.setattr(linear, "gains", lambda: False)
    again.scratch = asked.scratch
    train(base, world.params(), again)
    assert again.kept_at[0] == 3
    assert digest.of_folder(again.root / CHECKPOINT) == digest.of_folder(whole.root / CHECKPOINT)
    assert (again.root / REPORT).read_bytes() == (whole.root / REPORT).read_bytes()
    other = Stage(tmp_path / "other", base)
    train(base, world.params(), other)
    assert other.reports["report"]["data"]["products"] == "torch"


class Impatient(Stage):
    """A Context whose run is asked to stop before any step is done."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        self.said.append(note)
        raise contract.Stopped


def test_a_run_can_be_stopped_while_its_teacher_reads(taught: dict[str, Path], tmp_path: Path) -> None:
    stage = Impatient(tmp_path, taught)
    with pytest.raises(contract.Stopped):
        train(taught, world.params(losses=world.terms(kl=1.0), needs_teacher=True), stage)
    assert stage.said[-1].startswith("the teacher reads rows: 0 of ")
    assert stage.kept_at == []
    assert saved.step_of(stage.scratch) is None


@pytest.mark.parametrize(
    "forget", ["optimizer.exp_avg.", *map(also, ("optimizer.exp_avg_sq.", "optimizer.step.", "model."))]
)
@longer
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


MINE = {"seed": "7", "rates": "sha256:0"}
FIRST, SECOND = saved.name_of(1), saved.name_of(2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def both(step: int) -> list[str]:
    return [saved.name_of(step), saved.name_of(step, "safetensors")]


def test_killed_at_any_operation_of_a_save_the_state_is_the_old_or_the_new(tmp_path: Path) -> None:
    """Also of one that removes the state before the last."""
    at, done = 0, False
    while not done:
        folder = tmp_path / str(at)
        Store(folder, MINE).save(state(1))
        Store(folder, MINE).save(state(2))
        try:
            Store(folder, MINE, Fragile(at)).save(state(3))
            done = True
        except Stopped:
            pass
        found = Store(folder, MINE).load()
        assert found.said == []
        assert found.state is not None
        assert found.state.step in (2, 3)
        assert float(found.state.tensors["weight"][0]) == found.state.step
        assert found.state.record == {"points": [found.state.step]}
        # what a kill left lying is gone with the next save
        Store(folder, MINE).save(state(4))
        assert names(folder) == [*both(found.state.step), *both(4)]
        at += 1
    assert at > 9
    assert found.state.step == 3


def test_a_torn_temporary_file_is_swept_away(tmp_path: Path) -> None:
    Store(tmp_path, MINE).save(state(1))
    torn = tmp_path / ".kc-tmp-1-state-00000002.json"
    torn.write_bytes(b'{"step":')
    Store(tmp_path, MINE)
    assert not torn.exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


SPOILED = [
    (lambda path: flip(path.with_suffix(".safetensors")), "its tensors were changed"),
    (lambda path: truncate(path.with_suffix(".safetensors")), "its tensors were changed"),
    (lambda path: path.with_suffix(".safetensors").unlink(), "its tensors are gone"),
    (lambda path: path.write_text("{"), "its index cannot be read"),
    (lambda path: path.write_text("[]"), "its index cannot be read"),
    (lambda path: path.write_text(path.read_text().replace('"step": 2', '"step": 3')), "its index was changed"),
    (lambda path: path.write_text(path.read_text().replace('"seed": "7"', '"seed": "8"')), "its index was changed"),
]


@pytest.mark.parametrize(("spoil", "reason"), SPOILED)
def test_of_a_spoiled_state_the_one_before_it_is_used_and_that_is_said(spoil: Any, reason: str, tmp_path: Path) -> None:
    Store(tmp_path, MINE).save(state(1))
    Store(tmp_path, MINE).save(state(2))
    spoil(tmp_path / SECOND)
    found = Store(tmp_path, MINE).load()
    assert found.state is not None
    assert (found.state.step, float(found.state.tensors["weight"][0])) == (1, 1.0)
    assert found.said[0].startswith(f"the state of step 2 is not used: {reason}")
    assert found.said[1:] == ["the state before it is used, of step 1"]
    assert names(tmp_path) == both(1), "what is spoiled does not count as one of the two that are kept"


@pytest.mark.parametrize(("spoil", "reason"), SPOILED[:4])
def test_when_both_are_spoiled_the_run_starts_over_and_says_so(spoil: Any, reason: str, tmp_path: Path) -> None:
    for step in (1, 2):
        Store(tmp_path, MINE).save(state(step))
    for name in (FIRST, SECOND):
        spoil(tmp_path / name)
    found = Store(tmp_path, MINE).load()
    assert found.state is None
    assert [line.split(":")[0] for line in found.said] == [
        "the state of step 2 is not used",
        "the state of step 1 is not used",
        "starting over",
    ]
    assert reason in found.said[0]
    assert Store(tmp_path, MINE).load().said == [], "a run without a state says nothing"


def test_a_state_of_another_course_is_not_used_and_each_part_that_differs_is_named(tmp_path: Path) -> None:
    Store(tmp_path, MINE).save(state(1))
    found = Store(tmp_path, {"seed": "8", "rates": "sha256:1", "device": '"cuda"'}).load()
    assert found.state is None
    assert found.said == [
        'the state of step 1 is not used: it is of another course, by device (nothing → "cuda"), '
        "rates (not what it was), seed (7 → 8)",
        "starting over",
    ]


class Small(durable.Disk):
    """A disk with so many bytes left; the writing of tensors may fail in its midst all the same."""

    def __init__(self, free: int, *, tears: bool = False, gives: bool = True) -> None:
        self.left, self.tears, self.gives = free, tears, gives

    def free(self, folder: Path) -> int:
        return self.left

    def fill(self, path: Path, pieces: Any) -> None:
        super().fill(path, itertools.islice(pieces, 1) if self.tears else pieces)
        if self.tears:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def unlink(self, path: Path) -> None:
        if path.exists() and self.gives:
            self.left += path.stat().st_size
        super().unlink(path)


def test_without_room_nothing_is_written_and_the_newest_state_stays(tmp_path: Path) -> None:
    for step in (1, 2):
        Store(tmp_path, MINE).save(state(step))
    size, _ = laid_out(state(3).tensors)
    full = rf"00000003\.safetensors \({size} bytes\): no space is left on the device; 9 bytes are free"
    with pytest.raises(durable.StorageFailed, match=full):
        Store(tmp_path, MINE, Small(9, gives=False)).save(state(3))
    assert names(tmp_path) == both(2), "the state before the last made room, and that was not enough"
    found = Store(tmp_path, MINE).load()
    assert found.state is not None
    assert found.state.step == 2


def test_the_state_before_the_last_gives_its_room_to_the_next(tmp_path: Path) -> None:
    for step in (1, 2):
        Store(tmp_path, MINE).save(state(step))
    Store(tmp_path, MINE, Small(0)).save(state(3))
    assert names(tmp_path) == [*both(2), *both(3)]


def test_a_disk_that_is_full_in_the_midst_of_a_state_keeps_the_last(tmp_path: Path) -> None:
    Store(tmp_path, MINE).save(state(1))
    with pytest.raises(durable.StorageFailed, match=r"00000002\.safetensors"):
        Store(tmp_path, MINE, Small(10**9, tears=True)).save(state(2))
    assert names(tmp_path) == both(1), "and nothing half written lies beside it"


@pytest.mark.parametrize(("free", "fits"), [(2400, True), (2399, False)])
def test_a_run_whose_states_have_no_room_does_not_begin(free: int, fits: bool, tmp_path: Path) -> None:
    """Two states of 100 float32 weights with their moments; what lies there counts."""
    store = Store(tmp_path, MINE, Small(free))
    if fits:
        store.require(100)
    else:
        with pytest.raises(durable.StorageFailed, match=r"2400 bytes.*2399 bytes are free"):
            store.require(100)
    Store(tmp_path, MINE).save(state(1))
    Store(tmp_path, MINE, Small(2399)).require(100)


@longer
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
    (said,) = [line for line in second.said if "not used" in line]
    assert said.endswith("by batch_size (8 → 7); starting over")
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
    assert names == [*both(4), *both(6)]
