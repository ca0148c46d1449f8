"""A student whose activation is the GELU by tanh is delivered with that activation, and nothing else would pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coremltools.proto import Model_pb2

from runtime import digest
from runtime.mil.convert import convert
from runtime.mil.verify import verify
from runtime.models.export import export
from runtime.steps.convert import ConvertParams
from tests.longer import also, longer
from tests.tensor.coreml.conftest import EXPORT, RECIPE
from tests.tensor.coreml.test_verify import PARAMS, relative_errors
from tests.tensor.export.world import Stage, world
from tests.tensor.mil import tamper


@pytest.mark.parametrize("family", [also("llama"), "phi"])
@longer
def test_gelu_pytorch_tanh_goes_end_to_end(family: str, tmp_path: Path) -> None:
    changes = {"num_key_value_heads": 4, "tie_word_embeddings": False} if family == "phi" else {}
    islands = ["rms_norm"] if family == "llama" else []
    takes = world(tmp_path, family, num_hidden_layers=2, **changes)
    path = takes["checkpoint"] / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "gelu_pytorch_tanh"}))
    first = Stage(tmp_path / "exported", takes)
    export(takes, EXPORT, first)
    assert [item["findings"] for item in first.reports["report"]["data"]["functions"]] == [[]] * 3
    assert first.reports["report"]["data"]["violations"]["value"] == 0
    second = Stage(tmp_path / "converted", {"program": first.root / "program"})
    convert({"program": first.root / "program"}, ConvertParams(recipe=RECIPE, islands=islands), second)
    made = {"goldens": first.root / "goldens", **{port: second.root / port for port in ("package", "float32")}}
    third = Stage(tmp_path / "verified", {**takes, **made})
    verify({**takes, **made}, PARAMS.model_copy(update={"islands": islands}), third)
    exact, *_ = third.reports["report"]["data"]["variants"]
    assert max(relative_errors(exact)) < 1e-5
    assert digest.of_folder(takes["checkpoint"]) == third.digests["checkpoint"]
    for package in (made["package"] / "fp16.mlpackage", made["package"] / "quantized.mlpackage"):
        model = Model_pb2.Model()
        model.ParseFromString((package / tamper.MODEL).read_bytes())
        for function in model.mlProgram.functions.values():
            block = function.block_specializations[function.opset]
            consts = {op.outputs[0].name: op for op in block.operations if op.type == "const"}
            modes = [consts[op.inputs["mode"].arguments[0].name] for op in block.operations if op.type == "gelu"]
            texts = [op.attributes["val"].immediateValue.tensor.strings.values[0] for op in modes]
            assert texts == ["TANH_APPROXIMATION"] * 2
