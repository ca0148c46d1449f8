"""Softmax, head and norms in float32: what an island reads is stored as the recipe says, and a lost one is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from kcompiler.facts import sizes
from runtime.contract import Refusal
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil import convert as conversion
from runtime.mil import island_readback, package, readback
from runtime.mil.interpreter import Interpreter
from runtime.mil.islands import check_forms
from runtime.mil.quantize import quantize, restored, wanted
from runtime.mil.quiet import quiet
from runtime.models.export import export
from tests.longer import also, longer
from tests.tensor.coreml.conftest import EXPORT, RECIPE, Converted
from tests.tensor.export.world import Stage, world

HEAD = "model.embed_tokens.weight"
#: saves the decode alone: (islands, recipe) → package
Made = Callable[[tuple[str, ...], Recipe], package.Package]


def alone(contract: contracts.Contract) -> contracts.Contract:
    return contract.model_copy(update={"functions": {"decode": contract.functions["decode"]}})


def maker(program: Path, checkpoint: Mapping[str, np.ndarray], folder: Path) -> Made:
    contract = contracts.load(program)
    function = contract.functions["decode"]

    def made(islands: tuple[str, ...], recipe: Recipe) -> package.Package:
        with quiet():
            one = conversion.converted(torch.export.load(program / "decode.pt2"), function)
            conversion.narrow(one, function, islands)
            whole = conversion.joined({"decode": one}, "decode")
            plan = {t.name: wanted(recipe, t.name, t.aliases, t.shape) for t in contract.tensors}
            conversion.compress(whole, {"decode": function}, plan, checkpoint)
            place = folder / f"{len(list(folder.iterdir()))}.mlpackage"
            conversion.save(whole, place, {})
        return package.open(place)

    return made


@pytest.fixture(scope="module")
def contract(converted: Converted) -> contracts.Contract:
    return alone(contracts.load(converted.takes["package"]))


@pytest.fixture(scope="module")
def checkpoint(converted: Converted) -> dict[str, np.ndarray]:
    return load_file(converted.takes["checkpoint"] / "model.safetensors")


@pytest.fixture(scope="module")
def made(converted: Converted, checkpoint: Mapping[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Made:
    return maker(converted.program, checkpoint, tmp_path_factory.mktemp("islands"))


def of_head(opened: package.Package) -> list[package.StoredWeight]:
    """The table as the embedding reads it, and as the head does."""
    found = [stored for stored in opened.weights("decode") if stored.name.startswith("p_model_lm_head_weight")]
    return sorted(found, key=lambda stored: [use.op_type for use in stored.consumers])


def size(opened: package.Package) -> int:
    return (opened.path / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size


@pytest.mark.parametrize(
    ("form", "ops"),
    [
        also(Weights(weights="fp16"), ("const", "constexpr_cast")),
        (Weights(weights="int8"), ("constexpr_blockwise_shift_scale",) * 2),
        (Weights(weights="int4", granularity="per_block", block=16), ("constexpr_blockwise_shift_scale",) * 2),
        also(Weights(weights="lut4", granularity="per_tensor"), ("constexpr_lut_to_dense",) * 2),
    ],
    ids=lambda value: value.weights if isinstance(value, Weights) else "",
)
def test_the_head_computes_in_float32_with_weights_as_the_recipe_says(
    form: Weights,
    ops: tuple[str, ...],
    made: Made,
    contract: contracts.Contract,
    checkpoint: Mapping[str, np.ndarray],
) -> None:
    """A tied table is read twice: its rows in float16 by the embedding, in float32 by the head; data stands once."""
    recipe = Recipe(default=form)
    opened = made(("softmax", "logits"), recipe)
    assert island_readback.islands(opened, contract, ["softmax", "logits"]) == ([], 2 + 1)
    assert readback.recipe(opened, contract, recipe, checkpoint).findings == []
    rows, head = of_head(opened)
    assert (rows.op_type, head.op_type) == ops
    assert ([use.op_type for use in rows.consumers], [use.op_type for use in head.consumers]) == (
        ["gather"],
        ["linear"],
    )
    zeros = {v.name: np.zeros(v.shape, v.dtype) for v in contract.functions["decode"].inputs}
    ran = Interpreter(opened, "decode").values(zeros, [rows.name, head.name])
    truth = checkpoint[HEAD]
    stands = truth.astype(np.float16).astype(np.float32) if form.weights == "fp16" else restored(quantize(truth, form))
    assert ran[head.name].dtype == np.float32
    assert np.array_equal(ran[head.name], stands)
    assert np.array_equal(ran[rows.name].astype(np.float32), stands.astype(np.float16).astype(np.float32))
    if form.weights == "int4":
        # beside the float16 scales, float32 ones and a bias of zeros, each with its head
        tensor = sizes.Tensor(sizes.EMBEDDING, truth.shape, (sizes.HEAD,))
        more = sizes.stored(tensor, recipe, ["logits"]) - sizes.stored(tensor, recipe)
        assert more == 4 * truth.size // 16
        assert more <= size(opened) - size(made((), recipe)) <= more + 4 * len(truth) + 8 * 64


def test_an_island_that_was_not_made_or_was_narrowed_later_is_found(made: Made, contract: contracts.Contract) -> None:
    """Asked and lost; and a softmax or a head with another name, which names alone would not show."""
    plain = made(("rms_norm",), RECIPE)
    for kind, op in (("softmax", "softmax"), ("logits", "linear")):
        found = island_readback.islands(plain, contract, [kind])[0]
        assert any(item.subject == kind and "is not float32" in item.message for item in found), found
        assert any(f"no {op} of this {kind}" in item.message for item in found)
    nodes = {"logits": {"lm_head": ["linear_99"]}, "softmax": {}}
    decode = contract.functions["decode"]
    other = contract.model_copy(
        update={"functions": {"decode": decode.model_copy(update={"modules": decode.modules | nodes})}}
    )
    kept = made(("softmax", "logits"), RECIPE)
    said = {item.message for item in island_readback.islands(kept, other, ["softmax", "logits"])[0]}
    assert said == {
        "matches no module",
        "2 softmax for 0 modules",
        "no linear of this logits in the saved program",
        "linear_99 is not in the program",
    }


def test_the_weights_of_a_head_in_float32_are_those_of_the_checkpoint(
    made: Made, contract: contracts.Contract, checkpoint: Mapping[str, np.ndarray]
) -> None:
    """A head that was widened from another tensor, or stored in float32 outright, departs from the recipe."""
    recipe = Recipe(default=Weights(weights="fp16"))
    opened = made(("logits",), recipe)
    other = {**checkpoint, HEAD: checkpoint[HEAD] + np.float32(0.01)}
    found = readback.recipe(opened, contract, recipe, other).findings
    assert [(item.kind, item.subject) for item in found] == [("value", HEAD)] * 2
    tied = Recipe(
        default=Weights(weights="fp16"),
        rules=[Rule(match=name, weights="int8") for name in ("lm_head", "model.embed_tokens")],
    )
    assert [item.kind for item in readback.recipe(opened, contract, tied, checkpoint).findings] == ["type"] * 2


def test_a_head_kept_in_float32_weights_is_found(
    converted: Converted,
    contract: contracts.Contract,
    checkpoint: Mapping[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What coremltools alone makes of an island: four bytes an element, whatever the recipe asks."""
    monkeypatch.setattr(conversion, "store_narrow", lambda *_: None)
    recipe = Recipe(default=Weights(weights="fp16"))
    opened = maker(converted.program, checkpoint, tmp_path)(("logits",), recipe)
    found = readback.recipe(opened, contract, recipe, checkpoint).findings
    assert [(item.kind, item.message) for item in found if item.kind == "type"] == [
        ("type", "stored as float32 by const, the recipe asks for fp16")
    ]


def test_a_sparse_head_is_refused(contract: contracts.Contract) -> None:
    sparse = Weights(weights="sparse", granularity="per_tensor", density=0.5)
    plan = {t.name: sparse if len(t.shape) == 2 else Weights(weights="fp16") for t in contract.tensors}
    check_forms(contract, plan, ["softmax"])
    with pytest.raises(Refusal, match="sparse"):
        check_forms(contract, plan, ["logits"])


def test_every_island_of_phi(tmp_path: Path) -> None:
    """Layer norms read a weight and a bias, and its head has a bias: all are stored in float16 and widened."""
    takes = world(tmp_path, "phi", num_hidden_layers=1, tie_word_embeddings=False)
    stage = Stage(tmp_path / "exported", takes)
    export(takes, EXPORT, stage)
    program = stage.root / "program"
    checkpoint = load_file(takes["checkpoint"] / "model.safetensors")
    (tmp_path / "made").mkdir()
    contract = alone(contracts.load(program))
    islands = ("layer_norm", "softmax", "logits")
    recipe = Recipe(default=Weights(weights="int8"))
    opened = maker(program, checkpoint, tmp_path / "made")(islands, recipe)
    assert island_readback.islands(opened, contract, islands) == ([], 2 + 1 + 1)
    assert readback.recipe(opened, contract, recipe, checkpoint).findings == []
    widened = [stored.name for stored in opened.weights("decode") if stored.op_type == "constexpr_cast"]
    # gamma and beta of two norms, the bias of the head; its matrix is scaled
    assert len(widened) == 2 * 2 + 1


@longer
@pytest.mark.parametrize("lost", [0, 1, 3])
def test_the_bound_of_a_gemma2_is_part_of_its_heads_island(lost: int, tmp_path: Path) -> None:
    """cap · tanh(head / cap): narrowed behind a head in float32, its three ops would throw away what that is for."""
    changes = {"final_logit_softcapping": 0.5, "sliding_window": 9, "num_hidden_layers": 2}
    takes = world(tmp_path, "gemma2", **changes)
    stage = Stage(tmp_path / "exported", takes)
    export(takes, EXPORT, stage)
    program = stage.root / "program"
    contract = alone(contracts.load(program))
    (nodes,) = contract.functions["decode"].modules["logits"].values()
    assert len(nodes) == 4
    narrow = contracts.load(program)
    narrow.functions["decode"].modules["logits"] = {"lm_head": nodes[: len(nodes) - lost]}
    (tmp_path / "made").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contracts, "load", lambda _folder: narrow)
        made = maker(program, load_file(takes["checkpoint"] / "model.safetensors"), tmp_path / "made")
    opened = made(("logits",), Recipe(default=Weights(weights="fp16")))
    found, checked = island_readback.islands(opened, contract, ["logits"])
    assert checked == 4
    # each is found by its name, and again on the way back from the logits
    assert [item.message for item in found if item.subject == "lm_head"] == [
        f"{one} is float16" for one in nodes[4 - lost :]
    ]
    assert sum(item.subject == "logits" for item in found) == lost
