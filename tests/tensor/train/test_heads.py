"""A training whose student has a head of its own: what is given, continued and left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from runtime import contract, digest
from runtime.contract import Refusal
from runtime.contract.heads import FILE
from runtime.train.distill import train
from tests.longer import longer
from tests.tensor.train import world
from tests.tensor.train.test_resume import Asked
from tests.tensor.train.world import Stage

CHECKPOINT, REPORT = "checkpoint", "report/report.json"
HEADED = world.params(losses=world.terms(ce_truth=0.8, halt=0.2), heads=["halt"], steps=8)


def test_it_learns_where_answers_end_and_goes_on_from_a_stop_bit_for_bit(base: dict[str, Path], tmp_path: Path) -> None:
    whole, asked, again = Stage(tmp_path / "whole", base), Asked(tmp_path / "asked", base), Stage(tmp_path / "b", base)
    train(base, HEADED, whole)
    told = whole.reports["report"]["data"]["terms"]["halt"]
    assert told["curve"][-1]["value"]["value"] < told["curve"][0]["value"]["value"]
    assert sorted(load_file(whole.root / CHECKPOINT / FILE)) == ["heads.halt.bias", "heads.halt.weight"]
    with pytest.raises(contract.Stopped):
        train(base, HEADED, asked)
    again.scratch = asked.scratch
    train(base, HEADED, again)
    assert digest.of_folder(again.root / CHECKPOINT) == digest.of_folder(whole.root / CHECKPOINT)
    assert (again.root / REPORT).read_bytes() == (whole.root / REPORT).read_bytes()


@longer
def test_parts_of_a_batch_train_the_same_head(base: dict[str, Path], tmp_path: Path) -> None:
    whole, parts = Stage(tmp_path / "whole", base), Stage(tmp_path / "parts", base)
    train(base, HEADED, whole)
    train(base, HEADED.model_copy(update={"micro_batch": 3}), parts)
    one, other = (load_file(stage.root / CHECKPOINT / FILE) for stage in (whole, parts))
    assert all(float((one[name] - other[name]).abs().max()) < 1e-5 for name in one)


def test_a_later_stage_begins_with_the_head_that_an_earlier_one_trained(base: dict[str, Path], tmp_path: Path) -> None:
    first = Stage(tmp_path / "first", base)
    train(base, HEADED, first)
    takes = {**base, "from": first.root / CHECKPOINT}
    second = Stage(tmp_path / "second", takes)
    # a rate so small that nothing moves
    still = HEADED.optimizer.model_copy(update={"learning_rate": 1e-30, "weight_decay": 0.0})
    train(takes, HEADED.model_copy(update={"init": "checkpoint", "optimizer": still}), second)
    one, other = (load_file(stage.root / CHECKPOINT / FILE) for stage in (first, second))
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_a_head_that_the_student_is_not_to_have_is_left_out_and_said(base: dict[str, Path], tmp_path: Path) -> None:
    first = Stage(tmp_path / "first", base)
    train(base, HEADED, first)
    takes = {**base, "from": first.root / CHECKPOINT}
    second = Stage(tmp_path / "second", takes)
    train(takes, world.params(init="checkpoint", steps=2), second)
    assert not (second.root / CHECKPOINT / FILE).exists()
    assert any("head `halt` is left out: student.heads does not name it" in one for one in second.said)


def test_a_term_without_its_head_is_refused(base: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="trains the head `halt`, and the student has none"):
        train(base, HEADED.model_copy(update={"heads": []}), Stage(tmp_path, base))
