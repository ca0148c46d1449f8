"""A package is held to what was trained with rounded weights: one other integer or scale is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from runtime import digest
from runtime.contract import BrokenEvidence
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.contract.report import hex_of
from runtime.mil import package
from runtime.mil.convert import convert
from runtime.mil.quantize import Quantized, digests, quantize
from runtime.mil.trained_readback import Digests, of_report, trained
from runtime.mil.verify import verify
from runtime.models.export import export
from runtime.steps.convert import ConvertParams
from runtime.steps.export import ExportParams
from runtime.steps.verify import VerifyParams
from tests.longer import also, longer
from tests.tensor.coreml.conftest import COVERING, RECIPE, Converted, make
from tests.tensor.export.world import Stage, world

INT4 = Recipe(
    default=Weights(weights="int4", granularity="per_block", block=32), rules=[Rule(match="*norm*", weights="fp16")]
)


def learnt(checkpoint: Path, recipe: Recipe) -> dict[str, Digests]:
    """What a training would say of a checkpoint."""
    weights = load_file(checkpoint / "model.safetensors")
    found = {}
    for name, weight in weights.items():
        form = recipe.of(name).plain
        if weight.ndim > 1 and form.weights != "fp16":
            stored = quantize(weight, form)
            assert isinstance(stored, Quantized)
            found[name] = Digests(*digests(stored))
    return found


def read(converted: Converted, asked: Mapping[str, Digests]) -> Any:
    contract = contracts.load(converted.takes["package"])
    return trained(package.open(converted.takes["package"] / "quantized.mlpackage"), contract, asked)


def test_what_conversion_makes_is_what_was_trained(converted: Converted) -> None:
    asked = learnt(converted.takes["checkpoint"], RECIPE)
    found = read(converted, asked)
    assert (found.findings, found.wrong, found.found) == ([], frozenset(), frozenset(asked))
    assert "model.embed_tokens.weight" in asked


@pytest.mark.parametrize(("part", "words"), [("codes", "its integers are not"), ("scales", "its scales are not")])
def test_one_other_byte_is_named(converted: Converted, part: str, words: str) -> None:
    """Of one integer, and of one scale: what was trained is another checkpoint's."""
    name = "model.layers.0.mlp.up_proj.weight"
    weight = load_file(converted.takes["checkpoint"] / "model.safetensors")[name]
    stored = quantize(weight, RECIPE.default)
    assert isinstance(stored, Quantized)
    other = Quantized(stored.data.copy(), stored.scale.copy())
    if part == "codes":
        other.data[3, 5] += 1
    else:
        other.scale[3] = np.nextafter(other.scale[3], np.float16(np.inf))
    asked = {**learnt(converted.takes["checkpoint"], RECIPE), name: Digests(*digests(other))}
    found = read(converted, asked)
    assert found.wrong == {name}
    assert {(one.kind, one.subject) for one in found.findings} == {("trained", name)}
    assert all(words in one.message for one in found.findings)
    # in every function
    assert len(found.findings) == 3


def test_what_is_stored_without_integers_is_named(converted: Converted) -> None:
    name = "model.layers.0.input_layernorm.weight"
    found = read(converted, {name: Digests("0" * 64, "0" * 64)})
    assert {one.message for one in found.findings} == {"is stored by const, and was trained in integers"}


@pytest.mark.parametrize(
    "how",
    [
        also({"recipe": INT4}),
        also({"islands": ("rms_norm", "logits")}),
        {"recipe": INT4, "tie_word_embeddings": False, "islands": ("rms_norm", "logits")},
    ],
    ids=["int4", "a head in float32", "a head of its own in float32"],
)
def test_forms_and_islands(tmp_path: Path, how: dict[str, Any]) -> None:
    one = make(tmp_path, **how)
    asked = learnt(one.takes["checkpoint"], how.get("recipe", RECIPE))
    found = read(one, asked)
    assert (found.findings, found.found) == ([], frozenset(asked))


def report_of(converted: Converted, asked: Mapping[str, Digests]) -> dict[str, Any]:
    """What `verify` reads of the report of a training."""
    matrices = [{"tensor": name, "codes_sha256": one.codes, "scales_sha256": one.scales} for name, one in asked.items()]
    marks = {"model": hex_of(digest.of_folder(converted.takes["checkpoint"]))}
    return {"kind": "training", "fingerprints": marks, "data": {"qat": {"matrices": matrices}}}


def verified(
    converted: Converted, root: Path, report: dict[str, Any], params: dict[str, Any] | None = None
) -> dict[str, Any]:
    folder = root / "training"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    takes = {**converted.takes, "training": folder}
    stage = Stage(root / "verified", takes)
    tensors = [one["tensor"] for one in report["data"]["qat"]["matrices"]]
    asked = params or {"recipe": RECIPE, "islands": ["rms_norm"], **COVERING}
    verify(takes, VerifyParams(**asked, qat=tensors), stage)
    data: dict[str, Any] = stage.reports["report"]["data"]
    return data


def test_the_report_counts_matrices_and_names_the_wrong_ones(converted: Converted, tmp_path: Path) -> None:
    asked = learnt(converted.takes["checkpoint"], RECIPE)
    name = sorted(asked)[0]
    codes = asked[name].codes
    wrong = {**asked, name: asked[name]._replace(codes=("1" if codes[0] != "1" else "2") + codes[1:])}
    data = verified(converted, tmp_path, report_of(converted, wrong))
    assert (data["trained"]["k"], data["trained"]["n"]) == (len(asked) - 1, len(asked))
    assert {one["subject"] for one in data["recipe"]["findings"]} == {name}
    assert data["recipe"]["violations"]["value"] == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda report: report["fingerprints"].update(model="0" * 64), "about another checkpoint"),
        (lambda report: report.update(kind="training.reach"), "about another checkpoint"),
        (lambda report: report["data"]["qat"]["matrices"].pop(), "knows of other rounded matrices"),
        (lambda report: report["data"].pop("qat"), "knows of other rounded matrices"),
    ],
)
def test_a_report_of_another_training_is_broken_evidence(
    converted: Converted, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    asked = learnt(converted.takes["checkpoint"], RECIPE)
    report = report_of(converted, asked)
    folder = tmp_path / "training"
    folder.mkdir()
    model = digest.of_folder(converted.takes["checkpoint"])
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert of_report(folder, list(asked), model) == asked
    change(report)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(BrokenEvidence, match=words):
        of_report(folder, list(asked), model)


#: how a package may be made otherwise
OTHERWISE: list[tuple[str, Recipe, dict[str, Any], dict[str, Any]]] = [
    ("llama", RECIPE, {"profile": "ane"}, {}),
    # the Neural Engine reads no scales of blocks
    ("llama", Recipe(default=Weights(weights="int4"), rules=INT4.rules), {"profile": "ane"}, {}),
    ("llama", INT4, {"chunks": 2}, {}),
    ("llama", INT4, {}, {"cache": "state"}),
    ("llama", INT4, {"strategy": "enumerated", "prefill": [16, 32]}, {"strategy": "enumerated"}),
    (
        "llama",
        RECIPE,
        {"strategy": "enumerated", "prefill": [16, 32]},
        {"strategy": "enumerated", "deployment": "iOS17"},
    ),
    ("phi", INT4, {}, {}),
    ("phi3", INT4, {}, {}),
]


@longer
@pytest.mark.parametrize(("family", "recipe", "exported", "converting"), OTHERWISE)
def test_packages_made_otherwise_hold_what_was_trained(
    tmp_path: Path, family: str, recipe: Recipe, exported: dict[str, Any], converting: dict[str, Any]
) -> None:
    """By convolutions, in chunks, with states, for several lengths in one function, by older operators, of other
    families; and one integer that was not trained is named."""
    takes = world(tmp_path, family, num_hidden_layers=2)
    recipe = recipe.model_copy(
        update={"rules": [*recipe.rules, Rule(match="*.bias", weights="fp16")]} if family == "phi" else {}
    )
    asked = {"prefill": [16], "decode_context": 48, "golden_prompts": 1, "decode_steps": 2, "threads": 1, **exported}
    first = Stage(tmp_path / "exported", takes)
    export(takes, ExportParams(**asked), first)
    ready = {"program": first.root / "program"}
    second = Stage(tmp_path / "converted", ready)
    convert(ready, ConvertParams(recipe=recipe, islands=[], **converting), second)
    made = {port: second.root / port for port in ("package", "float32")}
    whole = Converted({**takes, "goldens": first.root / "goldens", **made}, ready["program"], second)
    same = {key: value for key, value in {**exported, **converting}.items() if key != "prefill"}
    covering = {key: asked[key] for key in ("prefill", "decode_context", "golden_prompts", "decode_steps")}
    params = {"recipe": recipe, "islands": [], **same, **covering, "layers": 2}
    trained_there = learnt(whole.takes["checkpoint"], recipe)
    data = verified(whole, tmp_path / "a", report_of(whole, trained_there), params)
    assert data["recipe"]["findings"] == []
    assert (data["trained"]["k"], data["trained"]["n"]) == (len(trained_there), len(trained_there))
    name = "model.layers.1.self_attn.o_proj.weight" if family != "phi" else "model.layers.1.self_attn.dense.weight"
    other = {**trained_there, name: trained_there[name]._replace(codes="0" * 64)}
    spoiled = verified(whole, tmp_path / "b", report_of(whole, other), params)
    assert {one["subject"] for one in spoiled["recipe"]["findings"]} == {name}
    assert spoiled["trained"]["k"] == len(trained_there) - 1
