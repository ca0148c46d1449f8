"""One prefill for every length, for iOS18 beside decode and for iOS17 in a package of its own: it computes what the
functions of one length do, is stored as the recipe says, and each fault of such packages is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import digest
from runtime.contract import BrokenEvidence, MachineError, Refusal
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil import interface_readback, package, pieces
from runtime.mil.convert import convert
from runtime.mil.convertible import check
from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter
from runtime.mil.loop import Loop
from runtime.mil.verify import verify
from runtime.models import build
from runtime.models.export import export, planned, traced
from runtime.steps.convert import ConvertParams
from tests.longer import also, longer
from tests.tensor.coreml.conftest import EXPORT, RECIPE, Converted
from tests.tensor.coreml.standin import delivered
from tests.tensor.coreml.test_gates import failing
from tests.tensor.coreml.test_on_device import measured
from tests.tensor.coreml.test_verify import PARAMS, SECTIONS, relative_errors
from tests.tensor.export.world import Stage, world
from tests.tensor.mil import tamper

LENGTHS = [16, 32]
#: every form that operators before iOS 18 have
OLDER = Recipe(
    default=Weights(weights="int8"),
    rules=[
        Rule(match="*.q_proj", weights="lut4", granularity="per_tensor"),
        Rule(match="*.k_proj", weights="lut6", granularity="per_tensor"),
        Rule(match="*.v_proj", weights="lut1", granularity="per_tensor"),
        Rule(match="*.o_proj", weights="sparse", granularity="per_tensor", density=0.5),
        Rule(match="*.down_proj", weights="int8", granularity="per_tensor"),
        Rule(match="*norm*", weights="fp16"),
    ],
)
ISLANDS = ["rms_norm", "logits"]
ASKED = {
    "iOS18": PARAMS.model_copy(update={"strategy": "enumerated"}),
    "iOS17": PARAMS.model_copy(
        update={"strategy": "enumerated", "deployment": "iOS17", "recipe": OLDER, "islands": ISLANDS}
    ),
}


def exported(takes: dict[str, Path], root: Path, **changes: Any) -> Stage:
    stage = Stage(root, takes)
    export(takes, EXPORT.model_copy(update={"strategy": "enumerated", **changes}), stage)
    return stage


def packaged(program: Path, root: Path, target: str) -> Stage:
    asked = ASKED[target]
    stage = Stage(root, {"program": program})
    params = ConvertParams(
        recipe=asked.recipe, islands=asked.islands, strategy="enumerated", deployment=asked.deployment
    )
    convert({"program": program}, params, stage)
    return stage


@pytest.fixture(scope="module")
def program(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    ports = ("dataset", "tokenizer", "checkpoint")
    return exported({port: converted.takes[port] for port in ports}, tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def made(
    converted: Converted, program: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Path]]:
    """Target → what a verification takes."""
    known: dict[str, dict[str, Path]] = {}

    def takes(target: str) -> dict[str, Path]:
        if target not in known:
            stage = packaged(program.root / "program", tmp_path_factory.mktemp(target), target)
            of = {port: stage.root / port for port in ("package", "float32")}
            known[target] = {**converted.takes, **of, "goldens": program.root / "goldens"}
        return known[target]

    return takes


def report(takes: dict[str, Path], root: Path, target: str) -> dict[str, Any]:
    stage = Stage(root, takes)
    verify(takes, ASKED[target], stage)
    data: dict[str, Any] = stage.reports["report"]["data"]
    return data


# what it computes


@pytest.mark.parametrize("target", ["iOS17", also("iOS18")])
def test_every_length_agrees_with_the_checkpoint(
    target: str, made: Callable[[str], dict[str, Path]], tmp_path: Path
) -> None:
    """All golden cases, at each length and decoded from each edge; every value has its declared shape."""
    data = report(made(target), tmp_path, target)
    exact, fp16, quantized = data["variants"]
    for variant in (exact, fp16, quantized):
        assert [(one["function"], one["length"]["value"]) for one in variant["shapes"]] == [
            ("prefill_16", 16),
            ("prefill_32", 32),
        ]
        for one in [*variant["shapes"], variant["decode"]]:
            assert one["covered"]["k"] == one["covered"]["n"] > 0
            assert one["shape_mismatches"]["value"] == one["nan_introduced"]["value"] == one["saturated"]["value"] == 0
        # the mask, which is made of the length, is no activation
        assert min(one["headroom"]["value"] for one in variant["shapes"]) > 100 or variant is exact
        assert variant["decode"]["starts"] == ["prefill_16", "prefill_32"]
        assert variant["decode"]["covered"]["n"] == 2 + 3 + 4
    assert max(relative_errors(exact)) < 1e-5
    assert all(one["cosine"]["value"] >= 0.9999 for one in [*fp16["shapes"], fp16["decode"]])
    # one bit a number and half of the numbers are coarse
    assert all(one["cosine"]["value"] >= (0.999 if target == "iOS18" else 0.3) for one in quantized["shapes"])
    assert [data[section]["violations"]["value"] for section in SECTIONS] == [0, 0, 0, 0]
    assert data["functions_present"]["k"] == data["functions_present"]["n"]


def test_it_is_the_function_of_one_length(converted: Converted, made: Callable[[str], dict[str, Path]]) -> None:
    """At real tokens, in float32 as the converter made it, to the last digits; the mask, which it has not, changes
    nothing there."""
    takes = made("iOS17")
    one, several = (
        Loop(pieces.opened(of["float32"], "float32", contract), contract, "exact32")
        for of in (converted.takes, takes)
        for contract in [contracts.load(of["package"])]
    )
    ids = [5, 77, 130, 9, 41]
    for name in ("prefill_16", "prefill_32"):
        wanted, found = (host.prefill(name, ids).outputs for host in (one, several))
        np.testing.assert_allclose(found["logits"][0, :5], wanted["logits"][0, :5], rtol=0, atol=2e-6)
        for cache in ("keys", "values"):
            np.testing.assert_allclose(found[cache][:, :, :5], wanted[cache][:, :, :5], rtol=0, atol=2e-6)
        assert found["logits"].shape == wanted["logits"].shape


def test_padding_changes_nothing_at_a_real_position(made: Callable[[str], dict[str, Path]]) -> None:
    opened = package.open(made("iOS17")["package"] / "fp16.mlpackage")
    run, ids = Interpreter(opened, check=False).run, [[5, 77, 130, 9, 41] + [pad] * 11 for pad in (0, 300)]
    first, second = (run({"input_ids": np.array([row], np.int32)}).outputs["logits"][0] for row in ids)
    np.testing.assert_array_equal(first[:5], second[:5])
    assert not np.array_equal(first[5:], second[5:])


FAMILIES = [
    # windows hide something of the longer prefill
    ("gemma2", {"sliding_window": 6}),
    ("gemma3_text", {"sliding_window": 6, "num_hidden_layers": 6}),
    *[(name, {}) for name in ("qwen2", "qwen3", "phi3", "phi", "mistral", "gemma")],
]


@longer
@pytest.mark.parametrize(("family", "changes"), FAMILIES)
def test_other_families_have_one_prefill_too(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """Norms of heads, joined projections, windows that hide what is before them, bounds of the logits."""
    takes = world(tmp_path, family, **{"num_hidden_layers": 2, **changes})
    first = exported(takes, tmp_path / "exported")
    assert first.reports["report"]["data"]["violations"]["value"] == 0
    params = ConvertParams(recipe=RECIPE, islands=[], strategy="enumerated", deployment="iOS17")
    second = Stage(tmp_path / "converted", {"program": first.root / "program"})
    convert({"program": first.root / "program"}, params, second)
    made = {"goldens": first.root / "goldens", **{port: second.root / port for port in ("package", "float32")}}
    stage = Stage(tmp_path / "verified", {**takes, **made})
    asked = PARAMS.model_copy(update={"strategy": "enumerated", "deployment": "iOS17", "islands": []})
    verify({**takes, **made}, asked, stage)
    data = stage.reports["report"]["data"]
    exact, fp16, _ = data["variants"]
    assert max(relative_errors(exact)) < 2e-5
    assert all(one["cosine"]["value"] >= 0.9999 for one in [*fp16["shapes"], fp16["decode"]])
    assert [data[section]["violations"]["value"] for section in SECTIONS] == [0, 0, 0, 0]


@longer
def test_a_shape_says_every_extent_that_is_known(tmp_path: Path) -> None:
    """Of joined projections coremltools would declare the heads open, too."""
    takes = world(tmp_path, "phi3", num_hidden_layers=1)
    (plan, _) = planned(build.load(takes["checkpoint"]), LENGTHS, 48, -1e4, "enumerated")
    shaped = [node for node in traced(plan).graph.nodes if str(node.target).startswith("aten.view.")]
    assert len(shaped) > 3
    for node in shaped:
        for size, extent in zip(node.args[1], node.meta["val"].shape, strict=True):
            assert size == extent or not isinstance(extent, int)


# what the packages are


def test_a_package_for_ios17_has_one_function_and_nothing_newer(made: Callable[[str], dict[str, Path]]) -> None:
    folder = made("iOS17")["package"]
    names = ["fp16.decode.mlpackage", "fp16.mlpackage", "quantized.decode.mlpackage", "quantized.mlpackage"]
    assert sorted(one.name for one in folder.iterdir() if one.is_dir()) == names
    for name in names:
        opened = package.open(folder / name)
        assert (opened.specification_version, opened.default_function, list(opened.functions)) == (8, "main", ["main"])
        assert opened.functions["main"].opset == 7
    stored = {one.op_type for name in names for one in package.open(folder / name).weights("main")}
    assert {kind for kind in stored if kind.startswith("constexpr")} == {
        "constexpr_affine_dequantize",
        "constexpr_cast",
        "constexpr_lut_to_dense",
        "constexpr_sparse_to_dense",
    }


def test_coremltools_reads_the_packages_and_its_constants_are_ours(made: Callable[[str], dict[str, Path]]) -> None:
    """Its own reader of such packages restores what ours does."""
    from coremltools.converters.mil.frontend.milproto.load import load
    from coremltools.models import MLModel

    path = made("iOS17")["package"] / "quantized.mlpackage"
    model = MLModel(str(path), skip_model_load=True)
    block = load(model.get_spec(), 8, model.weights_dir).functions["main"]
    opened = package.open(path)
    compiled = Interpreter(opened, check=False)
    values = {one.name: one for one in block.operations if one.op_type.startswith("constexpr")}
    mine = compiled.values({"input_ids": np.zeros((1, 16), np.int32)}, list(values))
    assert len(values) >= 15
    for name, one in values.items():
        np.testing.assert_array_equal(mine[name], np.asarray(one.materialized_val_inference(), np.float32))


@pytest.mark.parametrize(("target", "count"), [("iOS17", 2), also("iOS18", 1)])
def test_the_contract_says_what_was_made(
    target: str, count: int, converted: Converted, made: Callable[[str], dict[str, Path]]
) -> None:
    contract = contracts.load(made(target)["package"])
    assert contract.package is not None
    assert (contract.package.strategy, contract.package.deployment) == ("enumerated", target)
    assert len(contracts.parts(contract)) == count
    # what a host calls is what it calls of functions of one length
    other = contracts.load(converted.takes["package"])
    for name, function in contract.functions.items():
        for side in ("inputs", "outputs"):
            assert getattr(function, side) == getattr(other.functions[name], side)


@longer
def test_both_packages_are_counted_and_made_again_bit_for_bit(
    program: Stage, made: Callable[[str], dict[str, Path]], tmp_path: Path
) -> None:
    """Each holds all weights: what is stored is stored twice."""
    stage = packaged(program.root / "program", tmp_path, "iOS17")
    for one in stage.reports["report"]["data"]["packages"]:
        sizes = {each["package"]: each["bytes"]["value"] for each in one["parts"]}
        assert list(sizes) == ["prefill", "decode"]
        assert sum(sizes.values()) == one["bytes"]["value"]
        for name, size in (("decode", sizes["decode"]), ("", sizes["prefill"])):
            folder = tmp_path / "package" / contracts.filename(one["variant"], name)
            assert sum(entry["bytes"] for entry in digest.manifest(folder)) == size
    assert digest.of_folder(tmp_path / "package") == digest.of_folder(made("iOS17")["package"])


# a device


@pytest.mark.parametrize("target", ["iOS17", also("iOS18")])
def test_a_mac_that_runs_every_length_is_attested_five(
    target: str, made: Callable[[str], dict[str, Path]], tmp_path: Path
) -> None:
    """The stand-in loads one function once, whatever runs it, and each function has its own plan and times."""
    (tmp_path / "out").mkdir()
    takes = made(target)
    folder = delivered(tmp_path / "out", takes["package"], takes["goldens"])
    path = folder / "contract.json"
    if target == "iOS17":
        # one bit a number and half of the numbers are further from the checkpoint than other recipes may be
        value = json.loads(path.read_text())
        for name, bound in (("logits", 1e9), ("cache", 1e9), ("cosine", 0), ("cache_cosine", 0), ("kl", 1e9)):
            value["golden"]["tolerances"]["quantized"][name] = bound
        path.write_text(json.dumps(value))
    data = measured(folder, repetitions=20)
    assert (data["level"]["value"], data["lacks"]) == (5, [])
    assert [one["function"] for one in data["residency"]["functions"]] == ["decode", "prefill_16"]
    opened = pieces.opened(folder / "packages", "quantized", contracts.load(takes["package"]))
    for one in data["residency"]["functions"]:
        part, name = ("decode" if one["function"] == "decode" else "", "main")
        if target == "iOS18":
            part, name = "", one["function"].partition("_")[0]
        held = opened[part].functions[name].operations
        computed = [each for each in held if each.type != "const" and not each.type.startswith("constexpr_")]
        assert one["operations"]["value"] == len(computed)


# what is refused, and faults


def refused(contract: contracts.Contract, **changes: Any) -> str:
    with pytest.raises(Refusal) as caught:
        check(contract, ConvertParams(**{"recipe": RECIPE, "islands": [], "strategy": "enumerated", **changes}))
    assert caught.value.action
    return caught.value.message


def test_what_a_target_or_a_strategy_does_not_have_is_refused_by_name(converted: Converted, program: Stage) -> None:
    several, each = contracts.load(program.root / "program"), contracts.load(converted.program)
    assert "not exported for strategy `multifunction`" in refused(several, strategy="multifunction")
    assert "not exported for strategy `enumerated`" in refused(each)
    text = refused(each, strategy="multifunction", deployment="iOS17")
    assert text == "a package for iOS17 has one function, and strategy `multifunction` makes several"
    assert "does not write states" in refused(several, cache="state")
    for form, said in (
        (Weights(weights="int4"), "integers of four bits"),
        (Weights(weights="int8", granularity="per_block", block=32), "scales of blocks"),
        (Weights(weights="lut4", granularity="per_grouped_channel", group=8), "palettes of groups of channels"),
        (Weights(weights="lut3", granularity="per_tensor"), "palettes of eight values"),
    ):
        text = refused(several, deployment="iOS17", recipe=Recipe(default=form))
        assert text == f"a package for iOS17 has no {said}, which `default` asks for"
        check(several, ConvertParams(recipe=Recipe(default=form), islands=[], strategy="enumerated"))


def test_a_length_that_is_not_enumerated_is_refused(made: Callable[[str], dict[str, Path]]) -> None:
    opened = package.open(made("iOS17")["package"] / "quantized.mlpackage")
    with pytest.raises(Refusal, match=r"has shape \(1, 17\), the package declares \(1, 16\) or \(1, 32\)"):
        Interpreter(opened).run({"input_ids": np.zeros((1, 17), np.int32)})


def array_of(model: Any) -> Any:
    return model.description.input[0].type.multiArrayType


def one_length_less(model: Any, _: Any) -> None:
    del array_of(model).enumeratedShapes.shapes[1]


def longest_by_default(model: Any, _: Any) -> None:
    array_of(model).shape[1] = 32


def a_length_more(model: Any, _: Any) -> None:
    array_of(model).enumeratedShapes.shapes.add(shape=[1, 64])


FAULTS = {
    "one length less": (one_length_less, ["(1, 16) or (1, 32) int32 only in the contract"]),
    "one more": (a_length_more, ["(1, 16) or (1, 32) or (1, 64) int32 only in the description"]),
    "another default": (longest_by_default, ["(1, 32) by default, not (1, 16)"]),
}


def faulty(takes: dict[str, Path], root: Path, edit: Callable[[Any, Any], None], name: str) -> dict[str, Path]:
    """The takes with one package changed."""
    folder = Path(shutil.copytree(takes["package"], root / "package"))
    tamper.rewrite(folder / name, edit)
    return {**takes, "package": folder}


@pytest.mark.parametrize("fault", FAULTS)
def test_shapes_that_are_not_the_contracts_are_named(
    fault: str, made: Callable[[str], dict[str, Path]], tmp_path: Path
) -> None:
    edit, said = FAULTS[fault]
    takes = faulty(made("iOS17"), tmp_path, edit, "fp16.mlpackage")
    contract = contracts.load(takes["package"])
    found = interface_readback.interface(
        package.open(takes["package"] / "fp16.mlpackage"), contracts.part(contract, "")
    )
    assert {(one.kind, one.subject) for one in found} == {("interface", "input_ids")}
    assert {one.message for one in found} >= set(said)
    if fault == "one length less":
        with pytest.raises(Refusal, match=r"input input_ids has shape \(1, 32\)"):
            report(takes, tmp_path / "verified", "iOS17")
    else:
        assert "package-as-declared" in failing(takes, tmp_path / "verified", ASKED["iOS17"])


def test_a_default_that_is_no_declared_shape_is_broken(made: Callable[[str], dict[str, Path]], tmp_path: Path) -> None:
    def edit(model: Any, _: Any) -> None:
        array_of(model).shape[1] = 24

    takes = faulty(made("iOS17"), tmp_path, edit, "quantized.mlpackage")
    with pytest.raises(BrokenEvidence, match=r"default shape \(1, 24\), declared \(1, 16\) or \(1, 32\)"):
        report(takes, tmp_path / "verified", "iOS17")


def test_a_decode_that_is_lost_or_of_another_checkpoint_is_named(
    made: Callable[[str], dict[str, Path]], tmp_path: Path
) -> None:
    takes = made("iOS17")
    folder = Path(shutil.copytree(takes["package"], tmp_path / "package"))
    shutil.rmtree(folder / "fp16.decode.mlpackage")
    with pytest.raises(MachineError, match=r"fp16\.decode\.mlpackage"):
        report({**takes, "package": folder}, tmp_path / "lost", "iOS17")
    # some numbers of one tensor are those of another training
    path = Path(shutil.copytree(takes["package"] / "fp16.decode.mlpackage", folder / "fp16.decode.mlpackage"))
    opened = package.open(path)
    one = next(each for each in opened.weights("main") if each.op_type == "const" and len(each.shape) == 2)
    operation = next(each for each in opened.functions["main"].operations if each.name == one.op_name)
    value: Any = operation.inputs["val"][0]
    file, offset = opened.located(value)
    first, _ = file.located(offset, value.type.dtype, value.count)
    held = bytearray((path / tamper.WEIGHTS).read_bytes())
    held[first : first + 8] = bytes(byte ^ 0x80 for byte in held[first : first + 8])
    (path / tamper.WEIGHTS).write_bytes(bytes(held))
    data = report({**takes, "package": folder}, tmp_path / "other", "iOS17")
    # the tied embedding: twice read, once stored
    found = data["recipe"]["findings"]
    assert {(each["variant"], each["function"], each["message"]) for each in found} == {
        ("fp16.decode", "main", "is not the float16 rounding of the checkpoint's tensor")
    }


def test_what_is_newer_than_the_target_is_named(made: Callable[[str], dict[str, Path]], tmp_path: Path) -> None:
    """An operator of iOS 18 in a program of iOS 17, and a program of iOS 18 in a package that says iOS 17."""

    def operator(_: Any, block: Any) -> None:
        tamper.op_of(block, "constexpr_affine_dequantize").type = "constexpr_blockwise_shift_scale"

    takes = faulty(made("iOS17"), tmp_path / "operator", operator, "quantized.mlpackage")
    with pytest.raises(UnsupportedOp, match="constexpr_blockwise_shift_scale of opset CoreML7"):
        report(takes, tmp_path / "verified", "iOS17")

    def opset(model: Any, _: Any) -> None:
        held = model.mlProgram.functions["main"]
        held.block_specializations["CoreML8"].CopyFrom(held.block_specializations["CoreML7"])
        del held.block_specializations["CoreML7"]
        held.opset = "CoreML8"

    takes = faulty(made("iOS17"), tmp_path / "opset", opset, "fp16.decode.mlpackage")
    contract = contracts.part(contracts.load(takes["package"]), "decode")
    (found,) = interface_readback.interface(package.open(takes["package"] / "fp16.decode.mlpackage"), contract)
    assert (found.kind, found.message) == ("target", "opset CoreML8, iOS17 has CoreML7")


@longer
def test_a_package_of_another_strategy_is_no_evidence(
    converted: Converted, made: Callable[[str], dict[str, Path]], tmp_path: Path
) -> None:
    stage = Stage(tmp_path, converted.takes)
    verify(converted.takes, ASKED["iOS18"], stage)
    found = stage.reports["report"]["data"]["provenance"]["findings"]
    assert found == ["the package was made by strategy multifunction, not enumerated"]
