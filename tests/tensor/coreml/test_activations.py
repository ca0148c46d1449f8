"""Layers that read int8 (W8A8): the scale that loses least, in the package where and as it was chosen, and every other
package named for what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil import activations, archives, package, stored
from runtime.mil import convert as conversion
from runtime.mil.activation_ops import QUANTIZED, RESTORED, round_inputs
from runtime.mil.activation_readback import activations as read
from runtime.mil.convert import convert
from runtime.mil.convertible import check
from runtime.mil.interpreter import Interpreter
from runtime.mil.program import Literal, Operation, ValueType
from runtime.mil.quiet import quiet
from runtime.mil.verify import verify
from runtime.models import build, calibrating
from runtime.models.calibration import calibrate
from runtime.models.export import export
from runtime.models.pouring import pour
from runtime.steps.convert import ConvertParams
from runtime.steps.export import ExportParams
from runtime.steps.verify import VerifyParams
from tests.longer import longer
from tests.tensor.coreml.conftest import COVERING, RECIPE, Converted
from tests.tensor.coreml.test_calibrated import params
from tests.tensor.export.world import Stage, world

MATCH = ["*.mlp.*", "*.1.self_attn.o_proj"]
UP, DOWN, OUT = (f"model.layers.1.{name}.weight" for name in ("mlp.up_proj", "mlp.down_proj", "self_attn.o_proj"))
LAYERS = sorted([*(f"model.layers.{i}.mlp.{name}_proj.weight" for i in (0, 1) for name in ("gate", "up", "down")), OUT])


def oracle(values: np.ndarray) -> list[tuple[np.float16, float, int]]:
    """(scale, loss, clipped) for each scale of the grid, number by number."""
    found = []
    for k in range(20, 0, -1):
        exact = float(np.abs(values).max()) / 127 * (k / 20)
        scale = np.float16(exact)
        if k == 20 and float(scale) < exact:
            scale = np.nextafter(scale, np.float16(np.inf))
        scale = max(scale, np.float16(2.0**-14))
        step, lost, clipped = np.float32(scale), 0.0, 0
        for value in values.reshape(-1):
            whole = np.rint(np.float32(value) / step)
            clipped += not -128 <= whole <= 127
            lost += float(np.float32(min(max(whole, -128), 127)) * step - value) ** 2
        found.append((scale, lost, clipped))
    return found


@given(st.integers(0, 2**32 - 1), st.floats(1e-5, 1e4), st.sampled_from([0, 1, 3]), st.integers(1, 3))
def test_the_scale_is_the_best_of_the_grid(seed: int, size: float, outliers: int, parts: int) -> None:
    random = np.random.default_rng(seed)
    values = (random.standard_normal((6, 20)) * size).astype(np.float32)
    values.reshape(-1)[:outliers] *= 50
    grid = activations.Grid(float(np.abs(values).max()))
    for part in np.array_split(values, parts):
        grid.add(part)
    best, every = grid.best(), oracle(values)
    least = min(lost for _, lost, _ in every)
    assert (best.scale, best.clipped) in {(scale, clipped) for scale, _, clipped in every}
    assert best.lost == pytest.approx(least, rel=1e-6)
    assert best.lost <= best.lost_whole
    assert best.lost_whole == pytest.approx(every[0][1], rel=1e-6)
    assert best.elements == values.size
    assert every[0][2] == 0
    assert best.energy == pytest.approx(float((values.astype(np.float64) ** 2).sum()))
    apart = activations.rounded(values, best.scale).astype(np.float64) - values
    assert float((apart**2).sum()) == pytest.approx(best.lost, rel=1e-6)


def test_an_outlier_is_clipped_where_that_loses_less() -> None:
    values = np.concatenate([np.random.default_rng(1).standard_normal(20_000), [9.0]]).astype(np.float32)
    grid = activations.Grid(9.0)
    grid.add(values)
    best = grid.best()
    assert 0 < best.part < 1
    assert best.clipped == 1
    assert best.lost < 0.95 * best.lost_whole


@pytest.mark.parametrize("largest", [float("inf"), float("nan"), 1e8])
def test_a_magnitude_without_a_scale_is_refused(largest: float) -> None:
    with pytest.raises(ValueError, match="has no scale in float16"):
        activations.Grid(largest)


def test_inputs_are_those_of_the_finished_student(tmp_path: Path) -> None:
    """Two layers read one tensor, and one of them integers: the other reads what it read. Every scale is the best for
    what its layer reads once all layers before it read integers and have stored weights."""
    takes = world(tmp_path, "llama", num_hidden_layers=2, tie_word_embeddings=False)
    model, ids = build.load(takes["checkpoint"]), [[5, 9, 3, 77, 12, 40], [8, 2, 61, 30]]
    plan = {f"{name}.weight": Weights(weights="int8") for name in calibrating.multiplied(model)}
    integers = [name for name in plan if name.endswith(("up_proj.weight", "down_proj.weight", "lm_head.weight"))]
    made = calibrating.calibrated(model, ids, plan, lambda _: None, integers)
    assert sorted(made.inputs) == sorted(integers)
    assert made.forms.keys() == plan.keys()
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in plan}
    for name, module in calibrating.multiplied(model).items():
        # before the hook that rounds, and so what it is given; after it, what it multiplies
        module.register_forward_pre_hook(
            lambda _, args, name=f"{name}.weight": seen[name].append(args[0].flatten(0, -2))
        )
    with torch.inference_mode():
        for row in ids:
            model(input_ids=torch.tensor([row]))
    for name in integers:
        read_TI = torch.cat(seen[name]).numpy()
        scale = np.float32(made.inputs[name].scale)
        steps = read_TI / scale
        assert np.allclose(steps, np.rint(steps), atol=1e-4)
        assert steps.min() >= -128.001
        assert steps.max() <= 127.001
    gate, up = (f"model.layers.0.mlp.{one}_proj.weight" for one in ("gate", "up"))
    given_TI, rounded_TI = torch.cat(seen[gate]).numpy(), torch.cat(seen[up]).numpy()
    assert not np.array_equal(given_TI, rounded_TI)
    chosen = made.inputs[up]
    assert np.allclose(activations.rounded(given_TI, chosen.scale), rounded_TI, atol=1e-6)
    assert chosen.scale in {scale for scale, *_ in oracle(given_TI)}
    assert chosen.lost == pytest.approx(min(lost for _, lost, _ in oracle(given_TI)), rel=1e-4)


@dataclass(frozen=True)
class World:
    takes: dict[str, Path]
    first: Stage
    second: Stage
    program: Path

    @property
    def contract(self) -> contracts.Contract:
        return contracts.load(self.takes["package"])

    @property
    def scales(self) -> dict[str, np.float16]:
        return stored.scales(stored.Stored(self.takes["stored"]), LAYERS)


@pytest.fixture(scope="module")
def made(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> World:
    takes, root = dict(converted.takes), tmp_path_factory.mktemp("activations")
    first = Stage(root / "first", {port: takes[port] for port in ("checkpoint", "tokenizer", "dataset")})
    calibrate({port: takes[port] for port in first.digests}, params(takes, recipe=RECIPE, activations=MATCH), first)
    ready = {"program": converted.program, "stored": first.root / "stored"}
    second = Stage(root / "second", ready)
    asked = ConvertParams(recipe=RECIPE, islands=["rms_norm"], calibrated=True, activations=MATCH)
    convert(ready, asked, second)
    takes |= {"stored": ready["stored"], **{port: second.root / port for port in ("package", "float32")}}
    return World(takes, first, second, converted.program)


ASKED = {"recipe": RECIPE, "islands": ["rms_norm"], **COVERING, "calibrated": True}


def test_the_package_rounds_what_was_chosen_and_nothing_else(made: World, tmp_path: Path) -> None:
    data = made.first.reports["report"]["data"]
    layers = data["activations"]["layers"]
    assert [one["layer"] for one in layers] != []
    assert sorted(f"{one['layer']}.weight" for one in layers) == LAYERS
    assert (data["activations"]["rounded"]["k"], data["activations"]["rounded"]["n"]) == (7, 7)
    assert {one["layer"]: one["scale"]["value"] for one in layers} == {
        name.removesuffix(".weight"): float(scale) for name, scale in made.scales.items()
    }
    assert all(0 < one["lost"]["value"] <= one["lost_unclipped"]["value"] < 0.01 for one in layers)
    assert all(one["lost"]["n"] == data["sources"][0]["tokens"]["value"] for one in layers)
    assert made.contract.package is not None
    assert sorted(f"{one}.weight" for one in made.contract.package.activations) == LAYERS
    third = Stage(tmp_path, made.takes)
    verify(made.takes, VerifyParams(**ASKED, activations=MATCH), third)
    found = third.reports["report"]["data"]
    assert found["recipe"]["findings"] == []
    assert found["provenance"]["findings"] == []
    # seven layers in each of three functions
    assert (found["activations"]["k"], found["activations"]["n"]) == (21, 21)
    for variant, pairs in (("fp16", 0), ("quantized", 5)):
        opened = package.open(made.takes["package"] / f"{variant}.mlpackage")
        for function in opened.functions.values():
            # gate and up read one tensor by one scale
            assert [one.type for one in function.operations].count("quantize") == pairs
    # what nothing is declared of is not passed over
    fourth = Stage(tmp_path / "fourth", made.takes)
    with pytest.raises(BrokenEvidence, match="a scale was chosen, and none is asked for"):
        verify(made.takes, VerifyParams(**ASKED), fourth)


def test_the_interpreter_computes_what_the_pair_says(made: World) -> None:
    opened = package.open(made.takes["package"] / "quantized.mlpackage")
    decode = made.contract.functions["decode"]
    zeros = {v.name: np.full(v.shape, 1 if v.name == "input_ids" else 0, v.dtype) for v in decode.inputs}
    operations = {operation.name: operation for operation in opened.functions["decode"].operations}
    pairs = [name for name in operations if name.endswith(QUANTIZED)]
    assert len(pairs) == 5
    names = [
        (str(operations[name].inputs["input"][0]), name, name.removesuffix(QUANTIZED) + RESTORED) for name in pairs
    ]
    values = Interpreter(opened, "decode").values(zeros, [one for pair in names for one in pair])
    scales = set(made.scales.values())
    for source, whole, restored in names:
        steps = values[whole].astype(np.float32)
        fitting = [
            one
            for one in scales
            if np.array_equal((steps * np.float32(one)).astype(np.float16), values[restored].astype(np.float16))
            and np.array_equal(steps * np.float32(one), activations.rounded(values[source].astype(np.float32), one))
        ]
        assert len(fitting) >= 1
        assert values[whole].dtype == np.int8
        assert np.abs(steps).max() > 10


Change = Callable[[Operation], Operation]


@pytest.fixture(scope="module")
def spoiled(made: World) -> Callable[..., set[tuple[str, str]]]:
    """What is found in a decode whose named operators were changed: subjects and messages."""
    opened = package.open(made.takes["package"] / "quantized.mlpackage")
    decode = opened.functions["decode"]
    alone = made.contract.model_copy(update={"functions": {"decode": made.contract.functions["decode"]}})

    def found(changes: Mapping[str, Change], scales: Mapping[str, np.float16] = made.scales) -> set[tuple[str, str]]:
        assert changes.keys() <= {one.name for one in decode.operations}
        operations = tuple(changes.get(one.name, lambda same: same)(one) for one in decode.operations)
        other = replace(opened, functions={"decode": replace(decode, operations=operations)})
        result = read(other, alone, scales)
        assert {(one.kind, one.function) for one in result.findings} <= {("activation", "decode")}
        assert result.asked == len(scales)
        return {(one.subject, one.message) for one in result.findings}

    return found


def operator(made: World, tensor: str) -> Operation:
    """The product of a decode that multiplies by a tensor."""
    function = package.open(made.takes["package"] / "quantized.mlpackage").functions["decode"]
    parameters = made.contract.functions["decode"].parameters
    (node,) = (one for one, held in parameters.items() if held == tensor)
    (found,) = (
        one for one in function.operations if one.type == "linear" and str(one.inputs["weight"][0]).startswith(node)
    )
    return found


def reading(parameter: str, value: Any) -> Change:
    return lambda one: replace(one, inputs={**one.inputs, parameter: (value,)})


def test_planted_faults_are_named(made: World, spoiled: Callable[..., set[tuple[str, str]]]) -> None:
    assert spoiled({}) == set()
    up, down, out = (name.removesuffix(".weight") for name in (UP, DOWN, OUT))
    layer = operator(made, OUT)
    function = package.open(made.takes["package"] / "quantized.mlpackage").functions["decode"]
    operations = {one.name: one for one in function.operations}
    whole, restored = (operations[f"{layer.name}{suffix}"] for suffix in (QUANTIZED, RESTORED))
    source, strays = (
        whole.inputs["input"][0],
        {
            (whole.name, "quantize before no declared layer"),
            (restored.name, "dequantize before no declared layer"),
        },
    )
    assert layer.inputs["x"] == (restored.outputs[0][0],)
    assert restored.inputs["input"] == (whole.outputs[0][0],)
    # the pair is there, and goes round the layer
    assert spoiled({layer.name: reading("x", source)}) == {(out, "reads float16, not int8"), *strays}
    assert spoiled({restored.name: reading("input", source)}) == {(out, "reads a dequantize of no quantize"), *strays}
    # another layer's scale, in either half
    other = operations[f"{operator(made, DOWN).name}{QUANTIZED}"].inputs["scale"][0]
    for half in (whole, restored):
        said = f"{half.type} by scale {float(made.scales[DOWN]):.8g}, calibration chose {float(made.scales[OUT]):.8g}"
        assert spoiled({half.name: reading("scale", other)}) == {(out, said)}
    # the scale one bit off
    near = {**made.scales, OUT: np.nextafter(made.scales[OUT], np.float16(1))}
    ((subject, said),) = spoiled({}, near)
    assert subject == out
    assert f"calibration chose {float(near[OUT]):.8g}" in said
    # unsigned integers, and an offset
    unsigned = whole.outputs[0][1]._replace(dtype="uint8")
    change = {whole.name: lambda one: replace(one, outputs=((one.outputs[0][0], unsigned),))}
    assert spoiled(change) == {(out, "is rounded to uint8, not to int8")}
    offset = Literal(ValueType("int8", ()), np.array(3, np.int8))
    assert spoiled({whole.name: reading("zero_point", offset)}) == {(out, "quantize has an offset; int8 is symmetric")}
    # a layer that is not declared, and an operator that is none, read what is restored
    undeclared = operator(made, "model.layers.1.self_attn.q_proj.weight")
    value = restored.outputs[0][0]
    assert spoiled({undeclared.name: reading("x", value)}) == {
        ("model.layers.1.self_attn.q_proj", "reads integers, and is not declared to")
    }
    adds = next(one for one in function.operations if one.type == "mul")
    assert spoiled({adds.name: reading("x", value)}) == {(adds.name, "reads integers, and is not declared to")}
    # nothing is declared, and two layers too many are
    assert {(up, "reads integers, and is not declared to"), *strays} <= spoiled({}, {})
    more = {f"model.layers.{i}.self_attn.q_proj.weight": np.float16(0.1) for i in (0, 1)}
    assert spoiled({}, {**made.scales, **more}) == {
        (name.removesuffix(".weight"), "reads float16, not int8") for name in more
    }
    # no product reads the tensor
    nowhere = {layer.name: lambda one: replace(one, type="matmul")}
    assert (out, "is multiplied by nothing that reads `x`") in spoiled(nowhere)
    assert down


def test_a_layer_that_is_no_linear_of_a_program_is_refused(made: World) -> None:
    """Nothing is passed over in silence: a function that holds the weight must multiply by it."""
    with quiet():
        function = contracts.load(made.program).functions["decode"]
        program = conversion.converted(archives.load(made.program / "decode.pt2"), function)
        whole = conversion.joined({"decode": program}, "decode")
        with pytest.raises(Refusal, match=r"`model\.norm` is no linear layer of decode as coremltools converts it"):
            round_inputs(whole, {"decode": function}, {"model.norm.weight": np.float16(1)})


@pytest.mark.parametrize(
    ("match", "recipe", "islands", "said"),
    [
        ("*.mlp.upp_proj", RECIPE, [], "`*.mlp.upp_proj` matches no linear layer"),
        ("*norm", RECIPE, [], "`*norm` matches no linear layer"),
        ("*", RECIPE, [], "`model.embed_tokens` is read by row and multiplied by nothing"),
        ("lm_head", RECIPE, [], "`lm_head` is the embedding, too"),
        (
            "*.up_proj",
            Recipe(
                default=Weights(weights="int8"),
                rules=[Rule(match="*norm*", weights="fp16"), Rule(match="*.0.mlp.*", weights="int4")],
            ),
            [],
            "`model.layers.0.mlp.up_proj` is stored as int4 per_channel",
        ),
        (
            "*.up_proj",
            RECIPE.model_copy(update={"default": Weights(weights="int8", granularity="per_block", block=32)}),
            [],
            "`model.layers.0.mlp.up_proj` is stored as int8 per_block 32",
        ),
    ],
)
def test_what_cannot_read_integers_is_refused_by_name(
    converted: Converted, tmp_path: Path, match: str, recipe: Recipe, islands: list[str], said: str
) -> None:
    asked, contract = (
        ConvertParams(recipe=recipe, islands=islands, calibrated=True, activations=[match]),
        contracts.load(converted.program),
    )
    with pytest.raises(Refusal) as refused:
        check(contract, asked)
    assert said in str(refused.value)
    takes = {port: converted.takes[port] for port in ("checkpoint", "tokenizer", "dataset")}
    chosen, stage = params(takes, recipe=recipe, activations=[match]), Stage(tmp_path, takes)
    with pytest.raises(Refusal) as refused:
        calibrate(takes, chosen, stage)
    assert said in str(refused.value)


def test_conversion_refuses_what_has_no_scale_or_no_integers(converted: Converted) -> None:
    contract = contracts.load(converted.program)
    with pytest.raises(Refusal, match="no calibration chooses scales"):
        check(contract, ConvertParams(recipe=RECIPE, islands=[], activations=MATCH))
    older = ConvertParams(
        recipe=RECIPE, islands=[], activations=MATCH, calibrated=True, deployment="iOS17", strategy="enumerated"
    )
    piece = contracts.pieces(contract, "prefill_16")[0].model_copy(update={"function": "prefill"})
    function = contract.functions["prefill_16"].model_copy(update={"pieces": [piece]})
    enumerated = contract.model_copy(update={"functions": {"prefill_16": function}})
    with pytest.raises(Refusal, match="layers of a package for iOS17 read no integers"):
        check(enumerated, older)


@pytest.mark.parametrize("held", [np.zeros(1, np.float16), np.ones(1, np.float32), np.ones(2, np.float16)])
def test_what_is_no_scale_is_refused(tmp_path: Path, held: np.ndarray) -> None:
    pour(tmp_path / stored.FILE, {f"{UP}:{stored.INPUT}": torch.from_numpy(held)})
    spoiled = stored.Stored(tmp_path)
    with pytest.raises(BrokenEvidence, match=r"the scale of what .* reads is none"):
        spoiled.inputs()
    pour(tmp_path / stored.FILE, {f"{UP}:{stored.INPUT}": torch.ones(1, dtype=torch.float16)})
    assert stored.scales(stored.Stored(tmp_path), [UP]) == {UP: np.float16(1)}
    one = stored.Stored(tmp_path)
    with pytest.raises(BrokenEvidence, match=f"no scale was chosen for what `{DOWN}` reads"):
        stored.scales(one, [UP, DOWN])


#: how a package may be made otherwise, and how many layers read integers there, counted over its functions
OTHERWISE: list[tuple[str, list[str], dict[str, Any], dict[str, Any], int]] = [
    ("llama", ["*.mlp.*"], {"profile": "ane"}, {}, 6 * 2),
    ("llama", ["*.mlp.*", "*_proj"], {"chunks": 2}, {}, 14 * 2),
    ("llama", ["*.mlp.*"], {}, {"cache": "state"}, 6 * 2),
    ("llama", ["*.mlp.*"], {"strategy": "enumerated", "prefill": [16, 32]}, {"strategy": "enumerated"}, 6 * 2),
    ("llama", ["lm_head", "*.q_proj"], {}, {"deployment": "iOS26"}, 3 * 2),
    ("phi", ["*.mlp.*", "*.dense"], {}, {}, 6 * 2),
    ("phi3", ["*_proj"], {}, {}, 8 * 2),
]


@longer
@pytest.mark.parametrize(("family", "match", "exported", "converting", "layers"), OTHERWISE)
def test_packages_made_otherwise_round_as_much(
    tmp_path: Path, family: str, match: list[str], exported: dict[str, Any], converting: dict[str, Any], layers: int
) -> None:
    """By convolutions, in chunks, with states, for several lengths in one function, of other families, at the head."""
    sizes = {"num_hidden_layers": 2, "tie_word_embeddings": "lm_head" not in match}
    takes = world(tmp_path, family, **sizes)
    asked = {"prefill": [16], "decode_context": 48, "golden_prompts": 1, "decode_steps": 2, "threads": 1, **exported}
    first = Stage(tmp_path / "exported", takes)
    export(takes, ExportParams(**asked), first)
    recipe = (
        Recipe(default=Weights(weights="int8"), rules=[Rule(match=one, weights="fp16") for one in ("*norm*", "*.bias")])
        if family == "phi"
        else RECIPE
    )
    second = Stage(tmp_path / "calibrated", {port: takes[port] for port in ("checkpoint", "tokenizer", "dataset")})
    calibrate(takes, params(takes, 4, recipe=recipe, activations=match), second)
    ready = {"program": first.root / "program", "stored": second.root / "stored"}
    third = Stage(tmp_path / "converted", ready)
    chosen = {"recipe": recipe, "islands": [], "calibrated": True, "activations": match}
    convert(ready, ConvertParams(**chosen, **converting), third)
    takes |= {"goldens": first.root / "goldens", "stored": ready["stored"]}
    takes |= {port: third.root / port for port in ("package", "float32")}
    last = Stage(tmp_path / "verified", takes)
    same = {key: value for key, value in {**exported, **converting}.items() if key != "prefill"}
    covering = {key: asked[key] for key in ("prefill", "decode_context", "golden_prompts", "decode_steps")}
    verify(takes, VerifyParams(**chosen, **{**same, **covering}, layers=2), last)
    found = last.reports["report"]["data"]
    assert found["recipe"]["findings"] == []
    assert found["provenance"]["findings"] == []
    assert (found["activations"]["k"], found["activations"]["n"]) == (layers, layers)
    quantized = next(one for one in found["variants"] if one["variant"] == "quantized")
    assert 0.98 < quantized["decode"]["cosine"]["value"] < 1 - 1e-7
