"""A conversion is silent, gives the same bytes twice, tells nothing of its machine, and refuses what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime import digest
from runtime.contract import Refusal
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil import package
from runtime.mil.convert import convert
from runtime.mil.convertible import check
from runtime.mil.quiet import quiet
from runtime.steps.convert import ConvertParams
from tests.longer import longer
from tests.tensor.coreml.conftest import CONVERT, RECIPE, Converted
from tests.tensor.export.world import Stage


@longer
def test_two_conversions_are_the_same_bytes_and_print_nothing(
    converted: Converted, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    again = Stage(tmp_path, {"program": converted.program})
    capfd.readouterr()
    convert({"program": converted.program}, CONVERT, again)
    assert capfd.readouterr() == ("", "")
    for port in ("package", "report"):
        assert digest.of_folder(tmp_path / port) == digest.of_folder(converted.stage.root / port), port


def test_packages_hold_exactly_their_three_files_and_no_date_or_path(converted: Converted) -> None:
    for variant in ("fp16", "quantized"):
        folder = converted.takes["package"] / f"{variant}.mlpackage"
        assert [entry["path"] for entry in digest.manifest(folder)] == [
            "Data/com.apple.CoreML/model.mlmodel",
            "Data/com.apple.CoreML/weights/weight.bin",
            "Manifest.json",
        ]
        model = (folder / "Data/com.apple.CoreML/model.mlmodel").read_bytes()
        for word in (b"conversion_date", b"site-packages", b".py", str(Path.home()).encode(), b"/tmp/"):
            assert word not in model, word
        assert dict(package.open(folder).metadata) == {
            "kcompiler.toolchain.coremltools": "9.0",
            "kcompiler.toolchain.torch": "2.13.0",
        }


def test_coremltools_itself_reads_the_packages(converted: Converted) -> None:
    with quiet():
        import coremltools as ct
        from coremltools.converters.mil.frontend.milproto.load import load

        for variant in ("fp16", "quantized"):
            path = converted.takes["package"] / f"{variant}.mlpackage"
            model = ct.models.MLModel(str(path), skip_model_load=True)
            spec = model.get_spec()
            assert [item.name for item in spec.description.functions] == ["decode", "prefill_16", "prefill_32"]
            program = load(spec, spec.specificationVersion, model.weights_dir)
            assert set(program.functions) == {"decode", "prefill_16", "prefill_32"}


def test_every_function_shares_one_copy_of_the_weights(converted: Converted) -> None:
    contract = contracts.load(converted.takes["package"])
    elements = sum(tensor.shape[0] * (tensor.shape[1] if len(tensor.shape) == 2 else 1) for tensor in contract.tensors)
    report = converted.stage.reports["report"]["data"]
    assert report["parameters"]["value"] == elements
    weights = {
        variant: (converted.takes["package"] / f"{variant}.mlpackage/Data/com.apple.CoreML/weights/weight.bin")
        .stat()
        .st_size
        for variant in ("fp16", "quantized")
    }
    assert 2 * elements <= weights["fp16"] < 2.2 * elements
    assert elements <= weights["quantized"] < 1.2 * elements
    sizes = {item["variant"]: item["bytes"]["value"] for item in report["packages"]}
    for variant, size in sizes.items():
        folder = converted.takes["package"] / f"{variant}.mlpackage"
        assert size == sum(entry["bytes"] for entry in digest.manifest(folder))


def test_the_contract_tells_the_packages_own_types(converted: Converted) -> None:
    contract = contracts.load(converted.takes["package"])
    assert contract.stage == "package"
    assert contract.package is not None
    assert contract.package.islands == ["rms_norm"]
    values = [value for f in contract.functions.values() for value in (*f.inputs, *f.outputs)]
    assert {value.dtype for value in values} == {"int32", "float16"}


def test_the_report_says_what_was_asked_of_each_tensor(converted: Converted) -> None:
    data = converted.stage.reports["report"]["data"]
    asked = {item["tensor"]: item["weights"] for item in data["requested"]}
    assert asked["model.embed_tokens.weight"] == asked["model.layers.1.mlp.down_proj.weight"] == "int8"
    assert asked["model.norm.weight"] == asked["model.layers.0.input_layernorm.weight"] == "fp16"
    assert [item["function"] for item in data["functions"]] == ["decode", "prefill_16", "prefill_32"]
    assert all(item["operations"]["value"] > 50 for item in data["functions"])


def refused(converted: Converted, **changes: object) -> str:
    contract = contracts.load(converted.program)
    values = {"recipe": RECIPE, "islands": ["rms_norm"], **changes}
    with pytest.raises(Refusal) as caught:
        check(contract, ConvertParams(**values))
    assert caught.value.action
    return caught.value.message


def test_what_is_not_offered_is_refused(converted: Converted) -> None:
    assert "enumerated" in refused(converted, strategy="enumerated")
    assert "norms" in refused(converted, islands=["norms"])
    assert "layer_norm" in refused(converted, islands=["layer_norm"])
    tied = Recipe(default=Weights(weights="int8"), rules=[Rule(match="*embed_tokens", weights="fp16")])
    assert "tied" in refused(converted, recipe=tied)
    vector = Recipe(default=Weights(weights="fp16"), rules=[Rule(match="*norm*", weights="int8")])
    assert "vector" in refused(converted, recipe=vector)
    misspelt = Recipe(default=Weights(weights="int8"), rules=[*RECIPE.rules, Rule(match="*lm_haed", weights="fp16")])
    assert "`*lm_haed` matches no tensor" in refused(converted, recipe=misspelt)


def test_an_island_that_matches_no_module_is_refused(converted: Converted) -> None:
    contract = contracts.load(converted.program)
    functions = {name: f.model_copy(update={"modules": {"rms_norm": {}}}) for name, f in contract.functions.items()}
    with pytest.raises(Refusal, match="matches no module"):
        check(contract.model_copy(update={"functions": functions}), CONVERT)


def test_a_program_with_lint_violations_is_not_converted(converted: Converted, tmp_path: Path) -> None:
    value = json.loads((converted.program / "contract.json").read_text())
    (tmp_path / "contract.json").write_text(json.dumps(value | {"lint": {"violations": 1}}))
    with pytest.raises(Refusal, match="lint"):
        convert({"program": tmp_path}, CONVERT, Stage(tmp_path / "out", {"program": tmp_path}))
