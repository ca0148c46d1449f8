"""What a package stores is read from its files: every departure from recipe, islands and checkpoint is found."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from kcompiler.facts import sizes
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil import convert as conversion
from runtime.mil import interface_readback, island_readback, package, readback
from runtime.mil.interpreter import Interpreter
from runtime.mil.quantize import Palette, Sparse, nearest, quantize, restored, wanted
from runtime.mil.quiet import quiet
from tests.longer import longer
from tests.tensor.coreml.conftest import RECIPE, Converted

UP = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def contract(converted: Converted) -> contracts.Contract:
    return contracts.load(converted.takes["package"])


@pytest.fixture(scope="module")
def checkpoint(converted: Converted) -> dict[str, np.ndarray]:
    return load_file(converted.takes["checkpoint"] / "model.safetensors")


def opened(converted: Converted, variant: str) -> package.Package:
    return package.open(converted.takes["package"] / f"{variant}.mlpackage")


def test_both_packages_are_as_asked(
    converted: Converted, contract: contracts.Contract, checkpoint: Mapping[str, np.ndarray]
) -> None:
    tensors = len(contract.tensors) * 3
    plain = readback.recipe(opened(converted, "fp16"), contract, None, checkpoint)
    assert (plain.findings, plain.stored) == ([], {"fp16": tensors})
    small = readback.recipe(opened(converted, "quantized"), contract, RECIPE, checkpoint)
    assert (small.findings, small.stored) == ([], {"fp16": 5 * 3, "int8": tensors - 5 * 3})
    for variant in ("fp16", "quantized"):
        assert island_readback.islands(opened(converted, variant), contract, ["rms_norm"]) == ([], 5 * 5 * 3)
        assert interface_readback.interface(opened(converted, variant), contract) == []


def test_rotary_tables_masks_and_biases_are_never_compressed(
    converted: Converted, contract: contracts.Contract
) -> None:
    """The default recipe of coremltools compresses them (Core ML note, section 0)."""
    for name, declared in contract.functions.items():
        kinds = {
            item.op_type
            for item in opened(converted, "quantized").weights(name)
            if readback.tensor_of(item, declared) is None
        }
        assert kinds == {"const"}


def kinds(
    converted: Converted,
    contract: contracts.Contract,
    checkpoint: Mapping[str, np.ndarray],
    variant: str,
    asked: Recipe | None,
) -> set[str]:
    return {item.kind for item in readback.recipe(opened(converted, variant), contract, asked, checkpoint).findings}


def test_a_package_made_with_another_recipe_is_found(
    converted: Converted, contract: contracts.Contract, checkpoint: Mapping[str, np.ndarray]
) -> None:
    assert kinds(converted, contract, checkpoint, "quantized", None) == {"type"}
    assert kinds(converted, contract, checkpoint, "fp16", RECIPE) == {"type"}
    rule = Rule(match="*up_proj", weights="int8", granularity="per_tensor")
    coarse = RECIPE.model_copy(update={"rules": [*RECIPE.rules, rule]})
    assert kinds(converted, contract, checkpoint, "quantized", coarse) == {"granularity"}


def test_weights_that_are_not_the_checkpoints_are_found(
    converted: Converted, contract: contracts.Contract, checkpoint: Mapping[str, np.ndarray]
) -> None:
    other = dict(checkpoint)
    other[UP] = checkpoint[UP].copy()
    other[UP][3, 5] += 0.5 * float(np.abs(checkpoint[UP][3]).max())
    for variant, asked in (("fp16", None), ("quantized", RECIPE)):
        found = readback.recipe(opened(converted, variant), contract, asked, other).findings
        assert {(item.kind, item.subject) for item in found} == {("value", UP)}
    del other[UP]
    assert kinds(converted, contract, other, "fp16", None) == {"value"}


def test_one_flipped_bit_in_the_weights_file_is_found(
    converted: Converted, contract: contracts.Contract, checkpoint: Mapping[str, np.ndarray], tmp_path: Path
) -> None:
    copied = tmp_path / "fp16.mlpackage"
    shutil.copytree(converted.takes["package"] / "fp16.mlpackage", copied)
    path = copied / "Data/com.apple.CoreML/weights/weight.bin"
    held = bytearray(path.read_bytes())
    at = held.find(checkpoint[UP].astype(np.float16).tobytes())
    assert at > 0
    held[at + 101] ^= 0x40
    path.write_bytes(held)
    found = readback.recipe(package.open(copied), contract, None, checkpoint).findings
    assert {(item.kind, item.subject) for item in found} == {("value", UP)}


@pytest.fixture(scope="module")
def programs(converted: Converted) -> Callable[..., Any]:
    """The functions converted again, to be spoiled in memory: (islands) → joined program."""

    def again(*islands: str) -> Any:
        with quiet():
            made = {}
            for name, function in contracts.load(converted.program).functions.items():
                made[name] = conversion.converted(torch.export.load(converted.program / f"{name}.pt2"), function)
                conversion.narrow(made[name], function, islands)
            return conversion.joined(made, "decode")

    return again


def saved(program: Any, folder: Path) -> package.Package:
    with quiet():
        conversion.save(program, folder / "spoiled.mlpackage", {})
    return package.open(folder / "spoiled.mlpackage")


def test_islands_that_were_not_made_are_found(
    programs: Callable[..., Any], contract: contracts.Contract, tmp_path: Path
) -> None:
    """The case of `.float()` islands: asked for, and silently dropped by the converter."""
    found, _ = island_readback.islands(saved(programs(), tmp_path), contract, ["rms_norm"])
    functions = {item.function for item in found}
    assert functions == set(contract.functions)
    assert {"model.layers.0.input_layernorm", "model.norm", "rms_norm"} <= {item.subject for item in found}


@longer
def test_a_residual_stream_stays_float32_where_that_is_asked(
    programs: Callable[..., Any], contract: contracts.Contract, tmp_path: Path
) -> None:
    """Two sums a layer; and one of them left in float16 is found by its name, and by how many sums there are."""
    made = saved(programs("rms_norm", "residual"), tmp_path / "made")
    assert island_readback.islands(made, contract, ["rms_norm", "residual"]) == ([], (5 * 5 + 2 * 2) * 3)
    lost = saved(programs("rms_norm"), tmp_path / "lost")
    assert island_readback.islands(lost, contract, ["rms_norm"])[0] == []
    found, checked = island_readback.islands(lost, contract, ["residual"])
    assert checked == 2 * 2 * 3
    subjects = {item.subject for item in found if item.function == "decode"}
    assert subjects == {"model.layers.0", "model.layers.1", "residual"}
    assert {item.function for item in found} == set(contract.functions)


@longer
def test_a_sum_of_the_stream_that_the_contract_does_not_name_is_found(
    programs: Callable[..., Any], contract: contracts.Contract, tmp_path: Path
) -> None:
    decode = contract.functions["decode"]
    fewer = {**decode.modules, "residual": {"model.layers.0": decode.modules["residual"]["model.layers.0"]}}
    other = contract.functions | {"decode": decode.model_copy(update={"modules": fewer})}
    made = saved(programs("residual"), tmp_path)
    found, _ = island_readback.islands(made, contract.model_copy(update={"functions": other}), ["residual"])
    assert [(item.function, item.subject, item.message) for item in found] == [
        ("decode", "residual", "4 add for 2 sums of the stream")
    ]


@longer
def test_a_quantized_rotary_table_and_a_skipped_tensor_are_found(
    programs: Callable[..., Any],
    contract: contracts.Contract,
    checkpoint: Mapping[str, np.ndarray],
    tmp_path: Path,
) -> None:
    program = programs("rms_norm")
    plan = {tensor.name: Weights(weights="int8" if len(tensor.shape) == 2 else "fp16") for tensor in contract.tensors}
    plan[UP] = Weights(weights="fp16")
    table = "b_model_model_rotary_emb_cos"
    plan["angles"] = Weights(weights="int8")
    weights = {**checkpoint, "angles": np.ones((48, 32), dtype=np.float32)}
    decode = contract.functions["decode"]
    spoiled = contract.functions | {
        "decode": decode.model_copy(update={"parameters": {**decode.parameters, table: "angles"}})
    }
    with quiet():
        assert conversion.compress(program, spoiled, plan, weights) == 14 * 3 + 1
    found = readback.recipe(saved(program, tmp_path), contract, RECIPE, checkpoint).findings
    assert {(item.kind, item.subject) for item in found if item.function == "decode"} == {
        ("extra", f"{table}_to_fp16_quantized"),
        ("type", UP),
    }


#: one tensor in each form, of a vocabulary in blocks that is the head too
FORMS = {
    "model.embed_tokens": {"weights": "int4", "granularity": "per_block", "block": 16},
    "lm_head": {"weights": "int4", "granularity": "per_block", "block": 16},
    "*.0.self_attn.q_proj": {"weights": "int8", "granularity": "per_block", "block": 32},
    "*.0.self_attn.k_proj": {"weights": "int4", "granularity": "per_channel"},
    "*.0.self_attn.v_proj": {"weights": "int4", "granularity": "per_tensor"},
    "*.0.self_attn.o_proj": {"weights": "lut1", "granularity": "per_tensor"},
    "*.0.mlp.gate_proj": {"weights": "lut2", "granularity": "per_tensor"},
    "*.0.mlp.up_proj": {"weights": "lut4", "granularity": "per_grouped_channel", "group": 4},
    "*.0.mlp.down_proj": {"weights": "lut3", "granularity": "per_grouped_channel", "group": 8},
    "*.1.self_attn.q_proj": {"weights": "lut6", "granularity": "per_tensor"},
    "*.1.self_attn.k_proj": {"weights": "lut8", "granularity": "per_tensor"},
    "*.1.self_attn.v_proj": {"weights": "sparse", "granularity": "per_tensor", "density": 0.3},
}
MIXED = Recipe(
    default=Weights(weights="fp16"),
    rules=[Rule.model_validate({"match": key, **value}) for key, value in FORMS.items()],
)


@dataclass(frozen=True)
class Mixed:
    """The decode alone, each tensor in another form: its package, its contract and how a spoiled one is made."""

    package: package.Package
    contract: contracts.Contract
    again: Callable[[Recipe], package.Package]


@pytest.fixture(scope="module")
def mixed(
    converted: Converted, contract: contracts.Contract, checkpoint: Mapping[str, np.ndarray], tmp_path_factory: Any
) -> Mixed:
    function = contracts.load(converted.program).functions["decode"]
    alone = contract.model_copy(update={"functions": {"decode": contract.functions["decode"]}})

    def again(recipe: Recipe) -> package.Package:
        with quiet():
            program = conversion.converted(torch.export.load(converted.program / "decode.pt2"), function)
            conversion.narrow(program, function, ())
            whole = conversion.joined({"decode": program}, "decode")
            plan = {t.name: wanted(recipe, t.name, t.aliases, t.shape) for t in contract.tensors}
            conversion.compress(whole, {"decode": function}, plan, checkpoint)
        return saved(whole, tmp_path_factory.mktemp("mixed"))

    return Mixed(again(MIXED), alone, again)


def test_every_form_stands_in_the_package_as_the_recipe_says(
    mixed: Mixed, checkpoint: Mapping[str, np.ndarray]
) -> None:
    found = readback.recipe(mixed.package, mixed.contract, MIXED, checkpoint)
    forms = Counter(rule.weights for rule in MIXED.rules if rule.match != "lm_head")
    assert found.findings == []
    assert {**found.stored, "fp16": 0} == {**forms, "fp16": 0}
    decode = mixed.contract.functions["decode"]
    names = {stored.name: readback.tensor_of(stored, decode) for stored in mixed.package.weights("decode")}
    zeros = {v.name: np.zeros(v.shape, v.dtype) for v in decode.inputs}
    ran = Interpreter(mixed.package, "decode").values(zeros, [name for name in names if name.endswith("_quantized")])
    # the tied one is one constant, read twice
    assert len(ran) == len(FORMS) - 1
    for name, value in ran.items():
        tensor = str(names[name])
        form = quantize(checkpoint[tensor], MIXED.of(tensor))
        assert np.array_equal(value.astype(np.float16), restored(form).astype(np.float16)), name
    held = {name: sizes.Tensor(name, value.shape) for name, value in checkpoint.items()}
    for stored in mixed.package.weights("decode"):
        if tensor := names[stored.name]:
            assert stored.bytes == sizes.stored(held[tensor], MIXED), tensor


def test_each_departure_from_a_form_is_found(
    mixed: Mixed, checkpoint: Mapping[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(match: str, **form: Any) -> set[tuple[str, str]]:
        recipe = MIXED.model_copy(update={"rules": [*MIXED.rules, Rule(match=match, **form)]})
        found = readback.recipe(mixed.package, mixed.contract, recipe, checkpoint).findings
        return {(item.kind, item.subject) for item in found}

    q, up = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"
    assert asked(q, weights="int8", granularity="per_block", block=16) == {("granularity", f"{q}.weight")}
    assert asked(q, weights="int4", granularity="per_block", block=32) == {("type", f"{q}.weight")}
    assert asked(q, weights="fp16") == {("type", f"{q}.weight")}
    assert asked(up, weights="lut4", granularity="per_tensor") == {("granularity", f"{up}.weight")}
    assert asked(up, weights="lut6", granularity="per_tensor") == {("type", f"{up}.weight")}
    v = "model.layers.1.self_attn.v_proj"
    assert asked(v, weights="sparse", granularity="per_tensor", density=0.4) == {("value", f"{v}.weight")}
    assert asked(v, weights="int4") == {("type", f"{v}.weight")}
    kept = quantize(checkpoint[UP], thin := Weights(weights="sparse", granularity="per_tensor", density=0.5))
    assert isinstance(kept, Sparse)
    assert readback._sparse(kept.mask, kept.nonzero_fp16, checkpoint[UP], thin) == ""
    small = 1 - kept.mask
    assert "larger" in readback._sparse(small, checkpoint[UP][small == 1], checkpoint[UP], thin)
    assert "rounding" in readback._sparse(kept.mask, kept.nonzero_fp16 * 2, checkpoint[UP], thin)
    other = {**checkpoint, UP: checkpoint[UP][::-1].copy(), f"{q}.weight": checkpoint[f"{q}.weight"] * np.float32(1.1)}
    found = readback.recipe(mixed.package, mixed.contract, MIXED, other).findings
    assert {(item.kind, item.subject) for item in found} == {("value", UP), ("value", f"{q}.weight")}
    # palettes that a careless k-means may leave: the nearest values of a poor choice, and a good choice badly used
    truth = checkpoint[UP]
    poor = np.linspace(0, np.abs(truth).max(), 16)
    assert "evenly" in readback._palette(nearest(truth, poor), poor.astype(np.float32).reshape(1, 1, 16, 1), truth)
    good = quantize(truth, Weights(weights="lut4", granularity="per_tensor"))
    assert isinstance(good, Palette)
    assert readback._palette(good.indices, good.lut.astype(np.float32), truth) == ""
    assert "nearest" in readback._palette(15 - good.indices, good.lut.astype(np.float32), truth)


def test_a_missing_function_and_an_unknown_one_are_found(
    converted: Converted, contract: contracts.Contract, checkpoint: Mapping[str, np.ndarray]
) -> None:
    functions = {("prefill_99" if name == "prefill_32" else name): f for name, f in contract.functions.items()}
    other = contract.model_copy(update={"functions": functions})
    found = readback.recipe(opened(converted, "fp16"), other, None, checkpoint).findings
    assert {(item.kind, item.function) for item in found} == {("missing", "prefill_99"), ("extra", "prefill_32")}
    assert any(
        item.function == "prefill_99" for item in island_readback.islands(opened(converted, "fp16"), other, [])[0]
    )


def test_an_interface_that_is_not_the_contracts_is_found(converted: Converted, contract: contracts.Contract) -> None:
    decode = contract.functions["decode"]
    assert decode.outputs[0].name == "logits"
    wide = [decode.outputs[0].model_copy(update={"dtype": "float32"}), *decode.outputs[1:]]
    other = contract.model_copy(update={"functions": {"decode": decode.model_copy(update={"outputs": wide})}})
    found = interface_readback.interface(opened(converted, "fp16"), other)
    assert {item.subject for item in found} == {"logits"}
    assert len(found) == 4


@pytest.mark.parametrize("small", [2.7e-8, -1e-9, 4e-8])
def test_a_weight_that_float16_rounds_to_zero_is_zero(converted: Converted, small: float) -> None:
    """coremltools alone takes the smallest float16 number for it, in tensors of fewer than 400 elements."""
    function = contracts.load(converted.program).functions["decode"]
    exported = torch.export.load(converted.program / "decode.pt2")
    name = next(graph for graph, tensor in function.parameters.items() if tensor == "model.norm.weight")
    target = next(spec.target for spec in exported.graph_signature.input_specs if spec.arg.name == name)
    with torch.no_grad():
        exported.state_dict[target][3] = small
    with quiet():
        program = conversion.converted(exported, function)
        conversion.narrow(program, function, ())
    held = next(op.outputs[0].val for op in program.functions["main"].operations if op.name == f"{name}_to_fp16")
    assert held[3] == np.float16(small)
