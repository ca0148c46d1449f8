"""What calibration chose is measured on what the finished student computes, stands in the package bit for bit, and is
refused where it was not chosen so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.contract import BrokenEvidence, Refusal, rows
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.machine.ledger import Ledger, record
from runtime.mil import gptq, package, readback, stored
from runtime.mil.convert import convert
from runtime.mil.lazy import LazyTensors
from runtime.mil.quantize import Form, Palette, Quantized, quantize, restored
from runtime.mil.verify import verify
from runtime.models import build, calibrating
from runtime.models.calibration import calibrate
from runtime.models.pouring import pour
from runtime.steps.calibrate import CalibrateParams
from runtime.steps.convert import ConvertParams
from runtime.steps.verify import VerifyParams
from tests.tensor.coreml.conftest import COVERING, Converted
from tests.tensor.export.world import Stage, world

RECIPE = Recipe(
    default=Weights(weights="int4", granularity="per_block", block=16),
    rules=[
        Rule(match="*norm*", weights="fp16"),
        Rule(match="*embed_tokens", weights="int8"),
        Rule(match="lm_head", weights="int8"),
        Rule(match="*.o_proj", weights="lut4", granularity="per_tensor"),
        Rule(match="*.1.mlp.up_proj", weights="sparse", granularity="per_tensor", density=0.5),
    ],
)


def params(takes: dict[str, Path], count: int = 12, **changes: Any) -> CalibrateParams:
    source = rows.load(takes["dataset"] / "train.jsonl")[0]["source"]
    return CalibrateParams(**{"recipe": RECIPE, "threads": 1, "sources": {source: count}, **changes})


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("phi", {}),
        ("gemma3_text", {"sliding_window": 4, "sliding_window_pattern": 2}),
        ("llama", {"tie_word_embeddings": False}),
    ],
)
def test_what_is_lost_is_lost_in_the_finished_student(
    family: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inputs of each matrix are those that the rounded layers before it give, to the last layer and the head."""
    takes = world(tmp_path, family, **{"num_hidden_layers": 2, **changes})
    original, ids = build.load(takes["checkpoint"]), [[5, 9, 3, 77, 12, 40], [8, 2, 61, 30]]
    model = build.load(takes["checkpoint"])
    matrices = calibrating.multiplied(model)
    asked = Weights(weights="int4")
    told: list[int] = []
    plan = {f"{name}.weight": asked for name in matrices}
    made = calibrating.calibrated(model, ids, plan, told.append).forms
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert told == [1, 2]
    assert ("lm_head.weight" in made) != tied
    assert made.keys() == {f"{name}.weight" for name in matrices}
    read: dict[str, list[torch.Tensor]] = {name: [] for name in matrices}
    for name, module in matrices.items():
        module.register_forward_pre_hook(lambda _, args, name=name: read[name].append(args[0].flatten(0, -2)))
    with torch.inference_mode():
        for row in ids:
            model(input_ids=torch.tensor([row]))
    for name, module in matrices.items():
        read_TI = torch.cat(read[name]).double().numpy()
        item, there = made[f"{name}.weight"], original.get_parameter(f"{name}.weight").detach().numpy()
        assert np.array_equal(module.weight.detach().numpy(), restored(item.stored))
        due = gptq.lost(there, item.stored, read_TI.T @ read_TI / len(read_TI))
        assert item.lost == pytest.approx(due, rel=1e-3), name
        assert 0 < item.lost <= item.lost_nearest


@pytest.fixture(scope="module")
def calibrated(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Stage, Stage]:
    """(what verify takes, the calibration, the conversion) of the world that was converted for all tests."""
    takes, root = dict(converted.takes), tmp_path_factory.mktemp("calibrated")
    first = Stage(root / "first", {port: takes[port] for port in ("checkpoint", "tokenizer", "dataset")})
    calibrate({port: takes[port] for port in first.digests}, params(takes), first)
    ready = {"program": converted.program, "stored": first.root / "stored"}
    second = Stage(root / "second", ready)
    convert(ready, ConvertParams(recipe=RECIPE, islands=["rms_norm"], calibrated=True), second)
    takes |= {"stored": ready["stored"], **{port: second.root / port for port in ("package", "float32")}}
    return takes, first, second


def test_the_package_holds_what_was_chosen(calibrated: tuple[dict[str, Path], Stage, Stage]) -> None:
    takes, first, _ = calibrated
    data = first.reports["report"]["data"]
    # 7 projections a layer, one of them without values to choose among
    assert (data["calibrated"]["k"], data["calibrated"]["n"]) == (13, 13)
    assert [item["stored"] for item in data["matrices"]].count("lut4 per_tensor") == 2
    third = Stage(takes["package"].parent / "third", takes)
    asked = VerifyParams(recipe=RECIPE, islands=["rms_norm"], **COVERING, calibrated=True)
    verify(takes, asked, third)
    found = third.reports["report"]["data"]
    assert found["recipe"]["findings"] == []
    assert found["recipe"]["violations"]["value"] == 0
    # without what was chosen the same package departs from its checkpoint in every matrix that was chosen
    wrong = readback.recipe(*opened(takes)).findings
    assert {(item.kind, item.subject) for item in wrong} == {("value", item["tensor"]) for item in data["matrices"]}


def test_the_same_rows_choose_the_same(calibrated: tuple[dict[str, Path], Stage, Stage], tmp_path: Path) -> None:
    takes, first, _ = calibrated
    again = Stage(tmp_path, {port: takes[port] for port in first.digests})
    calibrate({port: takes[port] for port in first.digests}, params(takes), again)
    assert (tmp_path / "stored" / stored.FILE).read_bytes() == (takes["stored"] / stored.FILE).read_bytes()


Q = "model.layers.0.self_attn.q_proj.weight"
OUT = "model.layers.0.self_attn.o_proj.weight"


def spoiled(form: Form, how: str) -> Form:
    if isinstance(form, Palette):
        return Palette(form.indices ^ 1, form.lut)
    assert isinstance(form, Quantized)
    data, scale = form.data.copy(), form.scale.copy()
    if how == "element":
        data[0, 0] = -data[0, 0] or 1
    else:
        scale[0] *= np.float16(1.5)
    return Quantized(data, scale)


@pytest.mark.parametrize(
    ("tensor", "how", "said"),
    [
        (Q, "element", "is not, bit for bit, what calibration chose"),
        (Q, "scale", "is not, bit for bit, what calibration chose"),
        (OUT, "palette", "is not, bit for bit, what calibration chose"),
    ],
)
def test_a_bit_that_was_not_chosen_is_found(
    calibrated: tuple[dict[str, Path], Stage, Stage], tensor: str, how: str, said: str
) -> None:
    takes = calibrated[0]
    held, chosen = opened(takes), dict(stored.Stored(takes["stored"]))
    found = readback.recipe(*held, {**chosen, tensor: spoiled(chosen[tensor], how)}).findings
    assert {(item.subject, item.message) for item in found} == {(tensor, said)}


def test_a_choice_far_from_the_checkpoint_is_found(calibrated: tuple[dict[str, Path], Stage, Stage]) -> None:
    """Package and choice agree, and both are another tensor."""
    takes = calibrated[0]
    file, contract, recipe, checkpoint = opened(takes)
    other = {name: checkpoint[name] for name in checkpoint} | {Q: -checkpoint[Q]}
    found = readback.recipe(file, contract, recipe, other, stored.Stored(takes["stored"])).findings
    assert {item.subject for item in found} == {Q}
    assert "times as far from the checkpoint as the nearest values" in found[0].message


def opened(takes: dict[str, Path]) -> tuple[package.Package, contracts.Contract, Recipe, LazyTensors]:
    file = package.open(takes["package"] / "quantized.mlpackage")
    return file, contracts.load(takes["package"]), RECIPE, LazyTensors(takes["checkpoint"] / "model.safetensors")


def test_parts_that_make_no_form_are_refused(tmp_path: Path) -> None:
    form = quantize(np.ones((4, 8), np.float32), Weights(weights="int8"))
    parts = {key: torch.from_numpy(part) for key, part in stored.parts("a.b", form).items()}
    pour(tmp_path / stored.FILE, parts)
    assert [np.array_equal(*pair) for pair in zip(stored.Stored(tmp_path)["a.b"], form, strict=True)] == [True, True]
    del parts["a.b:scale"]
    pour(tmp_path / stored.FILE, parts)
    with pytest.raises(BrokenEvidence, match=r"the stored form of `a\.b` has parts data, which make none"):
        stored.Stored(tmp_path)


def test_what_cannot_be_calibrated_is_refused(converted: Converted, tmp_path: Path) -> None:
    takes = {port: converted.takes[port] for port in ("checkpoint", "tokenizer", "dataset")}
    stage = Stage(tmp_path, takes)
    source = next(iter(params(takes).sources))
    held = len(rows.load(takes["dataset"] / "train.jsonl"))
    with pytest.raises(
        Refusal, match=f"source `{source}` has {held} rows of split train, calibration asks for {held + 1}"
    ):
        calibrate(takes, params(takes, held + 1), stage)
    with pytest.raises(Refusal, match="source `other` has 0 rows"):
        calibrate(takes, params(takes, sources={"other": 1}), stage)
    with pytest.raises(Refusal, match=r"source `.*` has 0 rows of split validation"):
        calibrate(takes, params(takes, split="validation"), stage)
    with pytest.raises(Refusal, match="stores no matrix that is multiplied in integers or a palette"):
        calibrate(takes, params(takes, recipe=Recipe(default=Weights(weights="fp16"))), stage)
    assert stage.reports == {}


def test_every_setting_is_read_where_rules_decide_about_every_projection(converted: Converted, tmp_path: Path) -> None:
    """What the default says is of the embedding and the norms alone then, and the machine refuses what nobody reads."""
    takes = {port: converted.takes[port] for port in ("checkpoint", "tokenizer", "dataset")}
    recipe = Recipe(default=Weights(weights="fp16"), rules=[Rule(match="*_proj", weights="int4")])
    read = Ledger()
    calibrate(takes, record(params(takes, 2, recipe=recipe), read), Stage(tmp_path, takes))
    assert read.unread() == []
