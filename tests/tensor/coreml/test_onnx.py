"""The ONNX files compute what the checkpoint and the package do; whoever is changed is the one that is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file, save_file

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.spec.verification import Tolerances
from runtime.contract import BrokenEvidence, Refusal
from runtime.mil.onnx_parity import verify
from runtime.models import onnx_files
from runtime.steps.verify_onnx import VerifyOnnxParams
from runtime.steps.write_onnx import WriteOnnxParams
from tests.longer import longer
from tests.tensor.coreml.conftest import COVERING, Converted
from tests.tensor.export.world import Stage
from tests.tensor.mil import tamper

PARAMS = VerifyOnnxParams(tolerance=1e-5, **COVERING, threads=1)
SPEC = {"risk_tier": 3, "verification": {"onnx": True, "tolerances": Tolerances().model_dump()}}


def written(converted: Converted, root: Path) -> Path:
    stage = Stage(root, {"program": converted.program})
    onnx_files.write({"program": converted.program}, WriteOnnxParams(), stage)
    return stage.root / "onnx"


@pytest.fixture(scope="module")
def takes(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {**converted.takes, "onnx": written(converted, tmp_path_factory.mktemp("onnx"))}


def report(takes: dict[str, Path], root: Path) -> dict[str, Any]:
    stage = Stage(root, takes)
    verify(takes, PARAMS, stage)
    return stage.reports["report"]


def outcomes(whole: dict[str, Any]) -> dict[str, str]:
    around = {"backend": "onnx", "forged": False, "versions": {}}
    pack = policy.load(["caws/core"], [assets.folder("policies")])
    made, _ = policy.obligations(pack, SPEC, {"onnx.parity": ["step"]}, {"step": PARAMS.model_dump()})
    asked = [one for one in made if one["rule"].startswith("caws/core/onnx-")]
    found = judge({"step": {**whole, "kind": "onnx.parity", "environment": around}}, asked).outcomes
    return {one.rule.removeprefix("caws/core/onnx-"): one.outcome for one in found}


def copied(takes: dict[str, Path], root: Path, port: str) -> dict[str, Path]:
    shutil.copytree(takes[port], root / port)
    return {**takes, port: root / port}


def test_three_executions_of_one_function_agree(takes: dict[str, Path], tmp_path: Path) -> None:
    whole = report(takes, tmp_path)
    data = whole["data"]
    assert [one["function"] for one in data["functions"]] == ["decode", "prefill_16", "prefill_32"]
    for one in data["functions"]:
        assert one["wrong"] == "nobody"
        assert one["covered"]["k"] == one["covered"]["n"] > 0
        for pair in ("onnx", "coreml", "between"):
            assert 0 < one[pair]["relative_error"]["value"] < 2e-6
            assert one[pair]["cache_error"]["value"] < 2e-6
            assert one[pair]["top1_agreement"]["value"] == 1
    assert data["apart"]["value"] == 0
    assert outcomes(whole) == {"agreed": "pass", "as-asked": "pass", "covered": "pass", "parity": "pass"}


@longer
def test_a_program_with_states_is_compared_with_the_same_files(
    takes: dict[str, Path], stateful: Converted, tmp_path: Path
) -> None:
    """ONNX has none: what was exported is one function, what was converted keeps its cache."""
    data = report({**takes, "float32": stateful.takes["float32"]}, tmp_path)["data"]
    assert [one["wrong"] for one in data["functions"]] == ["nobody"] * 3
    for one in data["functions"]:
        assert one["covered"]["k"] == one["covered"]["n"] > 0
        assert one["between"]["relative_error"]["value"] < 2e-6
        assert one["between"]["cache_error"]["value"] < 2e-6


def test_files_name_what_the_contract_names_and_hold_each_weight_once(takes: dict[str, Path]) -> None:
    stored = sum(tensor.nbytes for tensor in load_file(takes["checkpoint"] / "model.safetensors").values())
    names = set()
    for name in ("decode", "prefill_16", "prefill_32"):
        model = onnx.load(takes["onnx"] / f"{name}.onnx", load_external_data=False)
        assert [one.version for one in model.opset_import if not one.domain] == [onnx_files.OPSET]
        names |= {one.name for one in model.graph.initializer}
        assert (takes["onnx"] / f"{name}.onnx").stat().st_size < 200_000
    assert "model.model.layers.1.mlp.down_proj.weight" in names
    assert stored * 0.9 < (takes["onnx"] / onnx_files.WEIGHTS).stat().st_size < stored * 1.6


@longer
def test_one_program_gives_one_file(converted: Converted) -> None:
    program = torch.export.load(converted.program / "decode.pt2")
    names = ["input_ids", "position", "key_cache", "value_cache"], ["logits", "new_key", "new_value"]
    one, other = (onnx_files.translated("decode", program, *names) for _ in range(2))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    assert b"runtime.models" not in one.SerializeToString()


def weights_moved(takes: dict[str, Path]) -> None:
    path = takes["onnx"] / onnx_files.WEIGHTS
    held = np.fromfile(path, dtype=np.float32)
    (held * np.float32(1.01)).tofile(path)


def package_moved(takes: dict[str, Path]) -> None:
    package = takes["float32"] / "float32.mlpackage"
    for function, axis in (("prefill_16", 1), ("prefill_32", 1), ("decode", 2)):
        tamper.rewrite(package, lambda _, block, at=axis: tamper.followed(block, "logits", "reverse", [at]), function)


def checkpoint_moved(takes: dict[str, Path]) -> None:
    path = takes["goldens"] / "goldens.safetensors"
    held = load_file(path)
    save_file({name: value * np.float32(1.01) if "logits" in name else value for name, value in held.items()}, path)


@pytest.mark.parametrize(
    ("port", "change", "who"),
    [
        ("onnx", weights_moved, "onnx"),
        ("float32", package_moved, "conversion"),
        ("goldens", checkpoint_moved, "export"),
    ],
)
def test_who_was_changed_is_named_and_blocks(
    port: str, change: Callable[[dict[str, Path]], None], who: str, takes: dict[str, Path], tmp_path: Path
) -> None:
    moved = copied(takes, tmp_path, port)
    change(moved)
    whole = report(moved, tmp_path)
    assert {one["wrong"] for one in whole["data"]["functions"]} == {who}
    assert whole["data"]["apart"]["value"] == 3
    assert outcomes(whole) == {"agreed": "fail", "as-asked": "pass", "covered": "pass", "parity": "fail"}


def test_weights_that_are_no_numbers_are_no_pass(takes: dict[str, Path], tmp_path: Path) -> None:
    moved = copied(takes, tmp_path, "onnx")
    path = moved["onnx"] / onnx_files.WEIGHTS
    held = np.fromfile(path, dtype=np.float32)
    np.full_like(held, np.nan).tofile(path)
    assert outcomes(report(moved, tmp_path)) == {
        "agreed": "fail",
        "as-asked": "fail",
        "covered": "pass",
        "parity": "not_evaluated",
    }


def test_a_torn_file_is_broken_evidence(takes: dict[str, Path], tmp_path: Path) -> None:
    moved = copied(takes, tmp_path, "onnx")
    path = moved["onnx"] / onnx_files.WEIGHTS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BrokenEvidence, match="onnxruntime: "):
        report(moved, tmp_path)


def test_what_torch_does_not_translate_is_refused_with_its_words(
    converted: Converted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_args: Any, **_more: Any) -> None:
        raise torch.onnx.errors.OnnxExporterError("no place for aten.x\nmore")

    monkeypatch.setattr(torch.onnx, "export", refuses)
    with pytest.raises(Refusal, match=r"torch.onnx cannot translate \w+: no place for aten.x") as caught:
        written(converted, tmp_path)
    assert caught.value.code == "KR0144"
