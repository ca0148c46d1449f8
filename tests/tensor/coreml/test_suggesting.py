"""What fewer bits cost is what torch says of the weights that are restored, and a suggestion takes the bytes it says."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn import functional

from runtime.contract import Refusal
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Weights
from runtime.contract.suggestion import text
from runtime.mil import convert
from runtime.mil import package as packages
from runtime.mil.quantize import quantize, restored, wanted
from runtime.mil.quiet import quiet
from runtime.models import build, suggesting
from runtime.models.sensitivity import Changed, form_of, groups_of
from runtime.models.suggesting import suggest
from tests.tensor.coreml.conftest import RECIPE, Converted

ROWS = [[3, 1, 4, 1, 5], [9, 2, 6, 5, 3, 5, 8]]
INT4 = Weights(weights="int4", granularity="per_block", block=32)


@pytest.fixture(scope="module")
def changed(converted: Converted) -> Changed:
    return Changed(build.load(converted.takes["checkpoint"]), ROWS)


def suggested(converted: Converted, **asked: Any) -> dict[str, Any]:
    takes = converted.takes
    given: dict[str, Any] = {
        "recipe": RECIPE.model_dump(mode="json"),
        "islands": ["rms_norm"],
        "by": "kind",
        "forms": ["int8", "int4-64", "int4-32"],
        "most_rows": 3,
        "most_tokens": 40,
        "max_bytes": None,
        "max_kl": None,
        "threads": 1,
        "told": lambda *_: None,
    }
    return suggest(takes["checkpoint"], takes["tokenizer"], takes["dataset"] / "test.jsonl", **given | asked)


def oracle(converted: Converted, forms: dict[str, Weights]) -> float:
    """KL of two models, each loaded for itself."""
    plain, other = (build.load(converted.takes["checkpoint"]) for _ in range(2))
    held = dict(other.named_parameters())
    with torch.no_grad():
        for name, form in forms.items():
            weight = held[name].numpy().copy()
            other_weight = weight.astype("float16") if form.weights == "fp16" else restored(quantize(weight, form))
            held[name].copy_(torch.from_numpy(other_weight))
        each = []
        for ids in ROWS:
            one, two = (model(torch.tensor([ids])).logits[0].double().log_softmax(-1) for model in (plain, other))
            each.append(functional.kl_div(two, one, reduction="none", log_target=True).sum(-1))
    return float(torch.cat(each).mean())


@pytest.mark.parametrize(
    "forms",
    [
        {"model.layers.1.mlp.down_proj.weight": Weights(weights="int8")},
        {"model.layers.0.self_attn.v_proj.weight": INT4, "model.layers.1.self_attn.v_proj.weight": INT4},
        # tied: the head is changed with it
        {"model.embed_tokens.weight": Weights(weights="lut4", granularity="per_grouped_channel", group=64)},
        {"model.norm.weight": Weights(weights="fp16"), "model.embed_tokens.weight": Weights(weights="fp16")},
    ],
)
def test_a_cost_is_that_of_a_model_with_the_restored_weights(
    forms: dict[str, Weights], converted: Converted, changed: Changed
) -> None:
    assert changed.tokens == 12
    cost = changed.kl(forms)
    assert cost == pytest.approx(oracle(converted, forms), rel=1e-6, abs=1e-12)
    assert cost > 0
    # asked again, of a palette that was kept, it is the same
    assert changed.kl(forms) == cost


def test_the_checkpoint_is_as_it_was_afterwards_and_costs_nothing_beside_itself(changed: Changed) -> None:
    before = {name: tensor.clone() for name, tensor in changed._model.state_dict().items()}
    changed.kl({"model.layers.0.mlp.up_proj.weight": INT4})
    with pytest.raises(KeyError):
        changed.kl({"model.layers.0.mlp.up_proj.weight": INT4, "nobody": INT4})
    with pytest.raises(ValueError, match="cannot reshape"):
        changed.kl({"model.layers.0.mlp.down_proj.weight": Weights(weights="int4", granularity="per_block", block=64)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in changed._model.state_dict().items())
    assert changed.kl({}) == 0


def test_matrices_are_grouped_by_what_they_are_called_by_layer_or_not_at_all(changed: Changed) -> None:
    shapes = changed.shapes
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    for by, count in (("kind", 8), ("layer", 3), ("tensor", len(matrices))):
        groups = groups_of(shapes, by)
        assert len(groups) == count
        assert sorted(name for group in groups for name in group.tensors) == sorted(matrices)
    assert {group.name for group in groups_of(shapes, "layer")} == {"embed_tokens", "layer_0", "layer_1"}


def test_a_form_fits_or_there_is_none() -> None:
    assert form_of("int4-64", (128, 352)) is None
    assert form_of("int4-32", (128, 352)) == INT4
    assert form_of("lut6", (352, 128)) == Weights(weights="lut6", granularity="per_grouped_channel", group=44)
    assert form_of("lut6", (7, 128)) == Weights(weights="lut6", granularity="per_grouped_channel", group=7)


def decode_bytes(converted: Converted, recipe: Recipe, root: Path) -> int:
    """What a package of the decode function alone, made with a recipe, stores of the checkpoint's tensors."""
    contract = contracts.load(converted.program)
    function = contract.functions["decode"]
    program = torch.export.load(converted.program / "decode.pt2")
    plan = {one.name: wanted(recipe, one.name, one.aliases, one.shape) for one in contract.tensors}
    with quiet():
        made = convert.converted(program, function)
        convert.narrow(made, function, ["rms_norm"])
        whole = convert.joined({"decode": made}, "decode")
        convert.compress(whole, {"decode": function}, plan, convert.weights_of(program))
        convert.save(whole, root / "made.mlpackage", {})
    stored = packages.open(root / "made.mlpackage").weights("decode")
    names = {
        form: name
        for name in function.parameters
        for form in (name, f"{name}_to_fp16", f"{name}_to_fp16_quantized", f"{name}_quantized")
    }
    found = {names[one.name]: one.bytes for one in stored if one.name in names}
    assert len(found) == len(contract.tensors)
    return sum(found.values())


def test_a_suggestion_keeps_the_budget_with_the_bytes_it_says_and_was_measured(
    converted: Converted, tmp_path: Path
) -> None:
    found = suggested(converted, max_bytes=400_000, forms=["int8", "int4-32", "lut4"])
    one = found["suggested"]
    assert found["least_bytes"] < one["bytes"] <= 400_000 < found["current"]["bytes"] < found["float16"]["bytes"]
    assert decode_bytes(converted, Recipe.model_validate(one["recipe"]), tmp_path) == one["bytes"]
    # weights at random: each costs, and the sum is of the order of the whole
    assert found["float16"]["kl"] < found["current"]["kl"] < one["kl"]
    assert one["kl"] == pytest.approx(one["estimated_kl"], rel=0.5)
    assert one["kl"] != one["estimated_kl"]


def test_fewer_bits_cost_more_and_more_bytes_never_do(converted: Converted) -> None:
    found = suggested(converted)
    assert (found["suggested"], found["refused"], found["rows"]) == (None, "", 3)
    for row in found["profile"]:
        costs = {one["form"]: one for one in row["forms"]}
        assert 0 < costs["int8"]["kl"] < costs["int4-32"]["kl"]
        assert row["bytes"] > costs["int8"]["bytes"] > costs["int4-32"]["bytes"]
        # 352 inputs of the down projections are no blocks of 64
        assert ("int4-64" in costs) == (row["group"] != "down_proj")
    assert found["current"]["bytes"] == converted_bytes(converted)


def converted_bytes(converted: Converted) -> int:
    """By the package that the recipe of these tests made: int8 matrices with a scale a row, float16 norms."""
    shapes = [tuple(one.shape) for one in contracts.load(converted.takes["package"]).tensors]
    return sum(math.prod(s) + 2 * s[0] if len(s) == 2 else 2 * s[0] for s in shapes)


def test_within_a_cost_the_fewest_bytes_are_sought_and_what_is_suggested_was_measured(converted: Converted) -> None:
    tight, loose = (suggested(converted, max_kl=most, forms=["int8", "int4-32"])["suggested"] for most in (2e-3, 5e-2))
    assert tight["kl"] <= 2e-3 < loose["kl"] <= 5e-2
    assert tight["bytes"] > loose["bytes"]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"max_bytes": 300_000, "forms": ["int8"]}, r"these forms take at least \d+,\d+ bytes, more than 300,000"),
        ({"max_kl": 1e-9, "forms": ["int8"]}, r"float16 itself costs \S+ nats a token, more than 1e-09"),
        (
            {"max_bytes": 500_000, "max_kl": 1e-6, "forms": ["int8"]},
            r"within 500,000 bytes the best that was found costs \S+ nats a token, more than 1e-06",
        ),
    ],
)
def test_where_no_recipe_keeps_the_budget_none_is_suggested(
    budget: dict[str, Any], said: str, converted: Converted
) -> None:
    found = suggested(converted, **budget)
    assert found["suggested"] is None
    assert re.fullmatch(said, found["refused"])


def test_without_rows_nothing_is_measured(converted: Converted, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="there is no row to measure on"):
        Changed(build.load(converted.takes["checkpoint"]), [])


def test_layers_whose_weights_are_not_in_eight_bits_keep_no_activations() -> None:
    kept = {"calibration": {"sources": {"x": 1}}, "activations": {"match": ["*.up_proj"]}}
    matrices = [["model.layers.0.mlp.up_proj.weight"], ["model.layers.0.mlp.down_proj.weight"]]
    eight, four = Weights(weights="int8"), INT4
    assert suggesting._fitting(kept, matrices, Recipe(default=eight), []) == (kept, "")
    fits, said = suggesting._fitting(kept, matrices, Recipe(default=four), [])
    assert fits == {"calibration": kept["calibration"]}
    assert said.startswith("  # without `activations`: `model.layers.0.mlp.up_proj` is stored as int4")
    # it stays YAML that says the rest
    pasted = yaml.safe_load(text(Recipe(default=four), [], fits) + said)
    assert pasted["quantization"].keys() == {"default", "calibration"}
