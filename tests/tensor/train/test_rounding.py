"""A teacher whose weights take 8 or 4 bits: each layer is what it was but for rounding, what is lost is measured, and
what cannot be held so is refused."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import MixtralConfig, MixtralForCausalLM

from kcompiler.policy import evidence
from runtime.contract import Refusal
from runtime.contract.rounding import Rounded, held
from runtime.models import build, tokenizer
from runtime.steps.record_signals import RecordSignalsParams
from runtime.steps.round_teacher import RoundTeacherParams
from runtime.train import memory, rounding
from runtime.train.bootstrap import fit
from runtime.train.distill import train
from runtime.train.recording import record_signals
from tests.tensor.train import world
from tests.tensor.train.world import Stage

pytest.importorskip("torchao", reason="needs pip install '.[torchao]'")

CPU = torch.device("cpu")
MODEL = "checkpoint/model.safetensors"
KINDS: list[Rounded] = ["int8", "int4"]


@pytest.fixture(scope="module")
def wide(base: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher whose widths are multiples of 32, kept in bfloat16, and rows to validate by."""
    stage = Stage(tmp_path_factory.mktemp("wide"), base)
    shape = world.architecture(hidden_size=64, intermediate_size=96, num_hidden_layers=2)
    fit(base, world.params(architecture=shape, steps=40), stage, made_by="bootstrap")
    folder = tmp_path_factory.mktemp("kept") / "teacher"
    build.save(build.load(stage.root / "checkpoint"), folder, torch.bfloat16)
    return {**base, "teacher": folder}


def measured(takes: dict[str, Path], weights: Rounded, folder: Path) -> dict[str, Any]:
    stage = Stage(folder, takes)
    rounding.round_teacher(takes, RoundTeacherParams(weights=weights, max_length=96), stage)
    whole = {**stage.reports["report"], "kind": "teacher.rounding", "subject": {}}
    whole["environment"] = {"backend": "torchao", "forged": False, "versions": {}}
    assert evidence.read(whole).problem == ""
    data: dict[str, Any] = json.loads((stage.root / "report/report.json").read_text())["data"]
    return data


@pytest.mark.parametrize("weights", KINDS)
def test_what_is_lost_is_that_of_the_models_compared_by_hand(
    wide: dict[str, Path], weights: Rounded, tmp_path: Path
) -> None:
    data = measured(wide, weights, tmp_path)
    words = tokenizer.load(wide["tokenizer"])
    corpus, split = rounding._corpus(wide["dataset"], words, 96)
    assert (split, data["split"]) == ("validation", "validation")
    plain = build.load(wide["teacher"])
    other = rounding.teacher(wide["teacher"], weights, CPU)
    total, same, count = 0.0, 0, 0
    for ids_T, places in zip(corpus.ids, map(corpus.before, range(len(corpus))), strict=True):
        with torch.no_grad():
            one = plain(input_ids=ids_T[None]).logits[0, places].log_softmax(-1)
            hidden = other.base_model(input_ids=ids_T[None], use_cache=False).last_hidden_state[0, places]
            two = (hidden.float() @ other.get_output_embeddings().weight.float().T).log_softmax(-1)
        total += float((one.exp() * (one - two)).sum())
        same += int((one.argmax(-1) == two.argmax(-1)).sum())
        count += len(places)
    assert data["tokens"]["value"] == data["agreement"]["n"] == count
    assert data["divergence"]["value"] == pytest.approx(total / count, rel=0.05)
    assert abs(data["agreement"]["k"] - same) <= 1
    assert data["divergence"]["value"] > 0
    assert (
        data["bytes"]["value"] == sum(memory.size_of(one) for one in other.parameters()) < data["bytes_plain"]["value"]
    )


def test_fewer_bits_lose_more_and_take_less(wide: dict[str, Path], tmp_path: Path) -> None:
    eight, four = (measured(wide, weights, tmp_path / weights) for weights in KINDS)
    assert eight["divergence"]["value"] < four["divergence"]["value"]
    assert eight["largest_error"]["value"] < four["largest_error"]["value"] < rounding.BOUND["int4"]
    assert four["bytes"]["value"] < eight["bytes"]["value"]


def test_eight_bits_are_within_a_step_of_what_was_there() -> None:
    """A step is the largest number of a row / 127.5; at half a step the library rounds in bfloat16."""
    layer = nn.Linear(64, 32, bias=False, dtype=torch.bfloat16)
    weight_OI = layer.weight.detach().float()
    rounding._recipe("int8", CPU)(layer)
    step_O1 = weight_OI.abs().amax(1, keepdim=True) / 127.5
    with torch.no_grad():
        found_OI = layer(torch.eye(64, dtype=torch.bfloat16)).float().T
    apart_OI = (found_OI - weight_OI).abs() / step_O1
    assert 0.1 < float(apart_OI.mean()) < 0.4
    assert float(apart_OI.max()) < 1.1


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the kernel says what is mapped on Linux alone")
def test_nothing_of_the_file_in_bfloat16_is_kept(wide: dict[str, Path]) -> None:
    """Its pages would count as the process' own as long as one tensor lies in it."""
    file = str(wide["teacher"] / "model.safetensors")
    plain = build.load(wide["teacher"], dtype=torch.bfloat16)
    assert file in Path("/proc/self/maps").read_text()
    del plain
    model = rounding.teacher(wide["teacher"], "int8", CPU)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    gc.collect()
    assert file not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("weights", KINDS)
def test_what_is_planned_is_what_is_taken(wide: dict[str, Path], weights: Rounded) -> None:
    model = rounding.teacher(wide["teacher"], weights, CPU)
    taken = sum(memory.size_of(one) for one in model.parameters())
    ends = model.get_input_embeddings().weight.numel()
    assert 0.9 * taken <= held(weights, build.count(model), ends) <= taken
    words = tokenizer.load(wide["tokenizer"])
    taught = memory.taught_of(model, rounding._corpus(wide["dataset"], words, 96)[0], [0])
    assert (taught.weights, taught.loaded) == (taken, taken + 2 * build.count(model))


def test_the_head_is_left_as_it_is_and_tied(wide: dict[str, Path]) -> None:
    model = rounding.teacher(wide["teacher"], "int8", CPU)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert type(model.get_output_embeddings().weight) is nn.Parameter
    assert all(type(layer.weight.data) is not torch.Tensor for layer in rounding.layers_of(model).values())


@pytest.mark.parametrize("weights", KINDS)
def test_a_training_by_rounded_weights_is_repeatable_and_another(
    wide: dict[str, Path], weights: Rounded, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"losses": world.terms(kl=1.0), "needs_teacher": True, "steps": 4}
    made: dict[str, bytes] = {}
    for name, kind in (("once", weights), ("again", weights), ("plain", None)):
        stage = Stage(tmp_path / name, wide)
        train(wide, world.params(**common, teacher_weights=kind), stage)
        made[name] = (stage.root / MODEL).read_bytes()
    assert made["once"] == made["again"] != made["plain"]


def test_what_is_stored_of_a_rounded_teacher_is_what_it_says(wide: dict[str, Path], tmp_path: Path) -> None:
    """Recorded and then trained by, as trained by the teacher itself."""
    common: dict[str, Any] = {"losses": world.terms(kl=1.0), "steps": 3}
    asked = {"store": {"form": "hidden"}, "temperatures": [], "max_length": 96, "teacher_weights": "int8"}
    stage = Stage(tmp_path / "signals", wide)
    record_signals(wide, RecordSignalsParams.model_validate(asked), stage)
    assert stage.reports["report"]["data"]["agreeing"]["value"] == 1
    takes = {**wide, "signals": stage.root / "signals"}
    found = Stage(tmp_path / "stored", takes)
    train(takes, world.params(**common, signals="hidden"), found)
    direct = Stage(tmp_path / "direct", wide)
    train(wide, world.params(**common, needs_teacher=True, teacher_weights="int8"), direct)
    one, two = (build.load(each.root / "checkpoint").state_dict() for each in (found, direct))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3


def test_a_layer_that_does_not_fit_is_refused_by_name(taught: dict[str, Path]) -> None:
    """torchao leaves it as it is, and says so to a log."""
    with pytest.raises(Refusal, match=r"layer model\.layers\.0\.self_attn\.q_proj \(48 x 48\).*no multiple of 32"):
        rounding.teacher(taught["teacher"], "int4", CPU)


def _wrong(layer: nn.Module) -> None:
    assert isinstance(layer, nn.Linear)
    rounding_of_eight(layer)
    layer.weight.scale.mul_(1.2)


def _failing(_layer: nn.Module) -> None:
    raise NotImplementedError("no kernel for this card")


rounding_of_eight = rounding._recipe("int8", CPU)


@pytest.mark.parametrize(
    ("recipe", "words"), [(_wrong, "away from what it was"), (_failing, "no kernel for this card")]
)
def test_a_kernel_that_is_wrong_or_absent_is_refused(
    wide: dict[str, Path], monkeypatch: pytest.MonkeyPatch, recipe: Callable[[nn.Module], None], words: str
) -> None:
    monkeypatch.setattr(rounding, "_recipe", lambda _weights, _device: recipe)
    with pytest.raises(Refusal, match=words) as caught:
        rounding.teacher(wide["teacher"], "int8", CPU)
    assert "dtype: bf16" in caught.value.action


def test_experts_in_one_tensor_are_not_rounded_and_it_is_said() -> None:
    """Transformers keeps them so, and torchao rounds linear layers alone."""
    shape = MixtralConfig(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    model = MixtralForCausalLM(shape).to(torch.bfloat16)
    with pytest.raises(Refusal, match="in linear layers, which alone are rounded"):
        rounding.round_layers(model, "int8", CPU)


def test_without_the_library_it_says_what_to_install(wide: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(Refusal) as caught:
        rounding.teacher(wide["teacher"], "int8", CPU)
    assert "pip install 'kcompiler[torchao]'" in caught.value.action
