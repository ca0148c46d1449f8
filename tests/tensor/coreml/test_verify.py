"""The saved packages agree with the checkpoint at every shape and in a decode; what is broken shows in the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from runtime.contract import BrokenEvidence, Refusal
from runtime.contract.families import FAMILIES
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil.headroom import masked
from runtime.mil.package import open as open_package
from runtime.mil.verify import verify
from runtime.steps.verify import VerifyParams
from tests.longer import also
from tests.tensor.coreml.conftest import COVERING, RECIPE, Converted, make
from tests.tensor.export.world import MIXED, ROTATIONS, Stage

PARAMS = VerifyParams(recipe=RECIPE, islands=["rms_norm"], **COVERING)
#: every kind of scaled rotation, in one of the families that have it
SCALED = [("llama", "linear"), ("mistral", "dynamic"), ("llama", "llama3"), ("qwen2", "yarn"), ("phi", "yarn")]
SECTIONS = ("recipe", "islands", "interface", "provenance")


def report(takes: dict[str, Path], root: Path, params: VerifyParams = PARAMS) -> dict[str, Any]:
    stage = Stage(root, takes)
    verify(takes, params, stage)
    data: dict[str, Any] = stage.reports["report"]["data"]
    return data


def relative_errors(variant: dict[str, Any]) -> list[float]:
    """Every relative error of one variant: logits and the cache of each layer."""
    found = []
    for item in [*variant["shapes"], variant["decode"]]:
        found.append(item["relative_error"]["value"])
        found += [layer[name]["relative_error"]["value"] for layer in item["cache"] for name in ("keys", "values")]
    return found


def spoiled(converted: Converted, tmp_path: Path, port: str) -> tuple[dict[str, Path], Path]:
    """The takes with a copy of one port, and that copy."""
    shutil.copytree(converted.takes[port], tmp_path / port)
    return {**converted.takes, port: tmp_path / port}, tmp_path / port


def test_fp16_and_int8_agree_with_the_checkpoint(converted: Converted, tmp_path: Path) -> None:
    data = report(converted.takes, tmp_path)
    limits = {"float32": 0.9999999, "fp16": 0.9999, "quantized": 0.999}
    assert [item["variant"] for item in data["variants"]] == list(limits)
    for variant in data["variants"]:
        assert [item["length"]["value"] for item in variant["shapes"]] == [16, 32]
        for item in [*variant["shapes"], variant["decode"]]:
            assert item["cosine"]["value"] >= limits[variant["variant"]]
            assert item["nan"]["value"] == item["inf"]["value"] == item["all_zero"]["value"] == 0
            assert item["shape_mismatches"]["value"] == 0
            assert item["nan_introduced"]["value"] == item["saturated"]["value"] == 0
            assert item["headroom"]["value"] > 100
            assert item["covered"]["k"] == item["covered"]["n"] > 0
            assert [layer["layer"] for layer in item["cache"]] == ["layer_0", "layer_1"]
            worst = min(layer[name]["cosine"]["value"] for layer in item["cache"] for name in ("keys", "values"))
            assert worst >= limits[variant["variant"]]
    exact, fp16, _ = data["variants"]
    assert exact["mode"] == "exact32"
    assert max(relative_errors(exact)) < 1e-5
    assert fp16["decode"]["greedy_agreement"]["k"] == fp16["decode"]["greedy_agreement"]["n"] == (2 + 3 + 4) * 5
    assert fp16["decode"]["starts"] == ["prefill_16", "prefill_32"]
    assert fp16["decode"]["covered"]["n"] == 2 + 3 + 4
    assert [item["covered"]["n"] for item in fp16["shapes"]] == [2 + 1 + 3, 2 + 1 + 4]
    assert max(item["relative_error"]["value"] for item in fp16["shapes"]) < 0.005
    assert [data[section]["violations"]["value"] for section in SECTIONS] == [0, 0, 0, 0]
    assert data["functions_present"]["k"] == data["functions_present"]["n"] == 6
    assert data["recipe"]["quantized_tensors"]["value"] == 15 * 3
    assert data["attestation"] == "L2"
    assert data["residency"]["tag"] == data["latency"]["tag"] == "unavailable"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "islands", "changes"),
    [
        also("qwen3", ("rms_norm",), {"head_dim": 24, "tie_word_embeddings": False}),
        also("phi", (), {"num_key_value_heads": 4, "tie_word_embeddings": False}),
        also("llama", (), {"num_key_value_heads": 1}),
        also("llama", ("rms_norm", "residual"), {}),
        *(
            also(family, FAMILIES[family].islands[:1], {"num_key_value_heads": 4, "rope_scaling": ROTATIONS[kind]})
            for family, kind in SCALED
        ),
        also("phi3", ("rms_norm",), {"rope_scaling": ROTATIONS["longrope"], "tie_word_embeddings": False}),
        also("phi3", ("rms_norm", "residual"), {"sliding_window": 9}),
        also("mistral", ("rms_norm",), {"sliding_window": 9}),
        also("gemma", ("rms_norm", "residual"), {"head_dim": 48}),
        also("gemma", ("residual",), {}),
        also("gemma2", ("rms_norm",), {"sliding_window": 9}),
        also("gemma2", ("rms_norm", "logits"), {"sliding_window": 9, "final_logit_softcapping": 0.5}),
        also("gemma3_text", ("rms_norm", "residual"), {"sliding_window": 9, "num_hidden_layers": 3, **MIXED}),
        also("phi", ("residual",), {"num_key_value_heads": 4, "tie_word_embeddings": False}),
    ],
)
def test_other_families_agree_too(
    family: str, islands: tuple[str, ...], changes: dict[str, Any], tmp_path: Path
) -> None:
    made = make(tmp_path, family, islands=islands, **changes)
    data = report(made.takes, tmp_path / "verified", PARAMS.model_copy(update={"islands": list(islands)}))
    exact, fp16, quantized = data["variants"]
    assert max(relative_errors(exact)) < 1e-5
    for item in [*fp16["shapes"], fp16["decode"]]:
        assert item["cosine"]["value"] >= 0.9999
        assert item["shape_mismatches"]["value"] == 0
    for item in quantized["shapes"]:
        assert item["cosine"]["value"] >= 0.999
    assert [data[section]["violations"]["value"] for section in SECTIONS] == [0, 0, 0, 0]


def poison(package: Path, was: np.ndarray, now: np.ndarray) -> None:
    """Replace one tensor's bytes in a weights file."""
    path = package / "Data/com.apple.CoreML/weights/weight.bin"
    held = path.read_bytes()
    assert held.count(was.tobytes()) == 1
    path.write_bytes(held.replace(was.tobytes(), now.tobytes()))


def test_nan_in_the_weights_is_reported_not_raised(converted: Converted, tmp_path: Path) -> None:
    takes, folder = spoiled(converted, tmp_path, "package")
    weight = load_file(takes["checkpoint"] / "model.safetensors")["model.norm.weight"].astype(np.float16)
    broken = weight.copy()
    broken[7] = np.nan
    poison(folder / "fp16.mlpackage", weight, broken)
    data = report(takes, tmp_path / "out")
    _, fp16, quantized = data["variants"]
    for item in [*fp16["shapes"], fp16["decode"]]:
        assert item["nan"]["value"] > 0
        assert item["cosine"]["tag"] == item["relative_error"]["tag"] == item["kl"]["tag"] == "unavailable"
        assert item["top1_agreement"]["k"] == 0
    assert quantized["shapes"][0]["cosine"]["value"] > 0.999
    assert data["recipe"]["violations"]["value"] == 3
    assert {item["kind"] for item in data["recipe"]["findings"]} == {"value"}
    json.dumps(data, allow_nan=False)


def test_weights_that_are_all_zero_are_reported(converted: Converted, tmp_path: Path) -> None:
    takes, folder = spoiled(converted, tmp_path, "package")
    weight = load_file(takes["checkpoint"] / "model.safetensors")["model.norm.weight"].astype(np.float16)
    poison(folder / "fp16.mlpackage", weight, np.zeros_like(weight))
    shapes = report(takes, tmp_path / "out")["variants"][1]["shapes"]
    for item in shapes:
        assert item["all_zero"]["value"] > 0
        assert item["nan"]["value"] == 0
        assert item["cosine"]["tag"] == "unavailable"


def test_a_package_of_another_checkpoint_does_not_agree(converted: Converted, tmp_path: Path) -> None:
    takes, folder = spoiled(converted, tmp_path, "goldens")
    held = load_file(folder / "goldens.safetensors")
    rng = np.random.default_rng(1)
    save_file(
        {
            name: rng.permutation(value.ravel()).reshape(value.shape) if name.endswith("logits") else value
            for name, value in held.items()
        },
        folder / "goldens.safetensors",
    )
    for item in report(takes, tmp_path / "out")["variants"][0]["shapes"]:
        assert item["cosine"]["value"] < 0.9
        assert item["relative_error"]["value"] > 0.1


def test_a_decode_that_goes_another_way_says_where(converted: Converted, tmp_path: Path) -> None:
    takes, folder = spoiled(converted, tmp_path, "goldens")
    held = load_file(folder / "goldens.safetensors")
    tokens = held["decode/greedy_0/tokens"].copy()
    tokens[2] = (tokens[2] + 1) % 512
    save_file({**held, "decode/greedy_0/tokens": tokens}, folder / "goldens.safetensors")
    decode = report(takes, tmp_path / "out")["variants"][0]["decode"]
    assert decode["first_divergence"]["value"] == 2
    assert decode["greedy_agreement"]["k"] == decode["greedy_agreement"]["n"] - 1
    assert decode["diverged"]["k"] == 1


def test_a_package_made_otherwise_than_asked_is_a_violation(converted: Converted, tmp_path: Path) -> None:
    other = Recipe(
        default=Weights(weights="int8"),
        rules=[Rule(match="*norm*", weights="fp16"), Rule(match="*up_proj", weights="fp16")],
    )
    data = report(converted.takes, tmp_path, PARAMS.model_copy(update={"recipe": other, "islands": []}))
    assert data["recipe"]["violations"]["value"] == 2 * 3
    assert data["provenance"]["violations"]["value"] == 2


def test_a_package_of_another_tokenizer_or_checkpoint_is_a_violation(converted: Converted, tmp_path: Path) -> None:
    takes, folder = spoiled(converted, tmp_path, "tokenizer")
    (folder / "note.txt").write_text("another tokenizer")
    findings = report(takes, tmp_path / "out")["provenance"]["findings"]
    assert findings == ["the package was made from another tokenizer"]


def test_an_op_that_is_not_modelled_fails_the_step(converted: Converted, tmp_path: Path) -> None:
    takes, folder = spoiled(converted, tmp_path, "package")
    model = folder / "fp16.mlpackage/Data/com.apple.CoreML/model.mlmodel"
    held = model.read_bytes()
    assert b"rsqrt" in held
    model.write_bytes(held.replace(b"\x05rsqrt", b"\x05rsqrx"))
    with pytest.raises(Refusal, match="rsqrx"):
        report(takes, tmp_path / "out")


def test_a_shape_without_golden_vectors_fails_the_step(converted: Converted, tmp_path: Path) -> None:
    takes, folder = spoiled(converted, tmp_path, "goldens")
    index = json.loads((folder / "goldens.json").read_text())
    index["functions"]["prefill_16"] = []
    (folder / "goldens.json").write_text(json.dumps(index))
    with pytest.raises(BrokenEvidence, match="prefill_16"):
        report(takes, tmp_path / "out")


def test_headroom_leaves_out_the_mask_and_only_the_mask(converted: Converted) -> None:
    package = open_package(converted.takes["package"] / "fp16.mlpackage")
    for name, function in package.functions.items():
        left_out = masked(function)
        by_name = {output: operation.type for operation in function.operations for output, _ in operation.outputs}
        assert sum(by_name.get(value) == "add" for value in left_out) == 2, name
        assert not any(by_name.get(value) in ("linear", "matmul", "softmax", "silu") for value in left_out), name
