"""Two authorings of one checkpoint, `gpu` and `ane`: both are the checkpoint's by the same golden vectors, only the one
fits the Neural Engine, and whatever is fed, written or stored wrongly is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kcompiler import tables
from runtime.contract import Refusal, rows
from runtime.contract import program as contracts
from runtime.contract.authoring import Profile
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil import fed, package, pieces, readback
from runtime.mil.convert import convert
from runtime.mil.interpreter import Interpreter
from runtime.mil.lazy import LazyTensors
from runtime.mil.lint import Rule as Lint
from runtime.mil.lint import lint
from runtime.mil.numerics import Mode
from runtime.mil.quantize import Quantized
from runtime.mil.stored import Stored
from runtime.mil.verify import verify
from runtime.models import bc1s
from runtime.models.calibration import calibrate
from runtime.models.export import export
from runtime.steps.calibrate import CalibrateParams
from runtime.steps.convert import ConvertParams
from runtime.steps.export import ExportParams
from runtime.steps.verify import VerifyParams
from tests.longer import also, longer
from tests.tensor.export.world import Stage, world
from tests.tensor.mil import models

PROFILES: tuple[Profile, ...] = ("gpu", "ane")
SIZES: Mapping[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "head_dim": 32,
}
#: what a family has beside them
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "llama": {"num_hidden_layers": 1},
    "qwen3": {},
    "gemma2": {"sliding_window": 12, "sliding_window_pattern": 2, "final_logit_softcapping": 30.0},
    "phi3": {"sliding_window": 20, "head_dim": None},
}
FORMS: Mapping[str, Weights] = {
    "llama": Weights(weights="int8"),
    "qwen3": Weights(weights="int4"),
    "gemma2": Weights(weights="lut6", granularity="per_tensor"),
    "phi3": Weights(weights="lut8", granularity="per_grouped_channel", group=16),
}
RULES = {one.id: Lint(one.id, one.limit, frozenset(one.ops)) for one in tables.placement().rules if "ane" in one.units}
GRAVE = {one.id for one in tables.placement().rules if one.severity == "error"}


@dataclass(frozen=True)
class Made:
    """The takes of `verify` by profile, and the recipe."""

    takes: Mapping[Profile, dict[str, Path]]
    recipe: Recipe

    def report(self, profile: Profile, root: Path, asked: Profile | None = None) -> dict[str, Any]:
        stage = Stage(root, self.takes[profile])
        params = VerifyParams(
            recipe=self.recipe,
            islands=[],
            prefill=[32],
            decode_context=64,
            layers=contracts.load(self.takes[profile]["package"]).kv_cache.layers,
            golden_prompts=1,
            decode_steps=2,
            profile=asked or profile,
        )
        verify(self.takes[profile], params, stage)
        data: dict[str, Any] = stage.reports["report"]["data"]
        return data

    def opened(self, profile: Profile, variant: str) -> package.Package:
        return package.open(self.takes[profile]["package"] / f"{variant}.mlpackage")


def make(root: Path, family: str) -> Made:
    recipe = Recipe(default=FORMS[family], rules=[Rule(match="*norm*", weights="fp16")])
    base = world(root, family, **{**SIZES, **FAMILIES[family]})
    takes: dict[Profile, dict[str, Path]] = {}
    for profile in PROFILES:
        params = ExportParams(
            prefill=[32], decode_context=64, golden_prompts=1, decode_steps=2, threads=1, profile=profile
        )
        first = Stage(root / profile, base)
        export(base, params, first)
        second = Stage(root / f"{profile}-converted", {"program": first.root / "program"})
        convert({"program": first.root / "program"}, ConvertParams(recipe=recipe, islands=[]), second)
        made = {port: second.root / port for port in ("package", "float32")}
        takes[profile] = {**base, "program": first.root / "program", "goldens": first.root / "goldens", **made}
    return Made(takes, recipe)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("llama"), "llama")


def every(data: dict[str, Any], variant: str) -> list[dict[str, Any]]:
    (found,) = [one for one in data["variants"] if one["variant"] == variant]
    return [*found["shapes"], found["decode"]]


@pytest.mark.parametrize("family", ["llama", also("qwen3"), also("gemma2"), also("phi3")])
def test_both_profiles_are_the_checkpoints_by_the_same_golden_vectors(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made: Made = request.getfixturevalue("llama") if family == "llama" else make(tmp_path / "made", family)
    gpu, ane = (made.takes[profile]["goldens"] / "goldens.safetensors" for profile in PROFILES)
    assert gpu.read_bytes() == ane.read_bytes()
    for profile in PROFILES:
        data = made.report(profile, tmp_path / profile)
        for one in every(data, "float32"):
            assert one["relative_error"]["value"] < 1e-5
            assert all(layer[k]["relative_error"]["value"] < 1e-5 for layer in one["cache"] for k in ("keys", "values"))
        assert all(one["cosine"]["value"] >= 0.9999 for one in every(data, "fp16"))
        for section in ("recipe", "islands", "interface", "provenance"):
            assert data[section]["violations"]["value"] == 0, (profile, section, data[section]["findings"])
        assert data["recipe"]["quantized_tensors"]["value"] > 0


@pytest.mark.parametrize("variant", ["fp16", "quantized"])
def test_only_the_one_fits_the_neural_engine(llama: Made, variant: str) -> None:
    counts = {}
    for profile in PROFILES:
        opened = llama.opened(profile, variant)
        found = [one.rule for function in opened.functions.values() for one in lint(opened, function, RULES)]
        counts[profile] = Counter(found)
        kinds = {operation.type for function in opened.functions.values() for operation in function.operations}
        assert ("conv" in kinds, "linear" in kinds) == (profile == "ane", profile == "gpu")
        assert "tile" not in kinds
    assert not GRAVE & set(counts["ane"])
    assert GRAVE & set(counts["gpu"]) == {"square"}
    # look-ups of angles and comparisons of positions are no more
    assert counts["ane"]["lookup"] == 2 < counts["gpu"]["lookup"]
    assert counts["ane"]["projection"] == 0 < counts["gpu"]["projection"]


def planted(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A host that makes masks and angles, and then something of them."""
    return lambda *given: {**(found := fed.fed(*given)), **change(found)}


def transposed(found: dict[str, Any]) -> dict[str, Any]:
    return {"mask": found["mask"].swapaxes(1, 3)} if found["mask"].shape[1] > 1 else {}


FAULTS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "the mask is transposed": transposed,
    "nothing is masked": lambda found: {"mask": np.zeros_like(found["mask"])},
    "cosine and sine are exchanged": lambda found: {"cos": found["sin"], "sin": found["cos"]},
    "every token stands at position 0": lambda found: {
        "cos": np.ones_like(found["cos"]),
        "sin": np.zeros_like(found["sin"]),
    },
    "the pairs turn the other way": lambda found: {"sin": -found["sin"]},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_host_that_feeds_something_else_is_seen(
    llama: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(pieces, "fed", planted(FAULTS[fault]))
    data = llama.report("ane", tmp_path)
    assert min(one["cosine"]["value"] for one in every(data, "fp16")) < 0.99


def test_a_host_that_shows_a_token_slots_of_the_future_is_seen(
    llama: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slots that nobody wrote are zeros: attention to them is diluted."""
    only = planted(lambda found: {"mask": np.zeros_like(found["mask"])} if found["mask"].shape[1] == 1 else {})
    monkeypatch.setattr(pieces, "fed", only)
    decode = every(llama.report("ane", tmp_path), "fp16")[-1]
    assert decode["cosine"]["value"] < 0.9999


def test_a_weight_of_another_module_is_found(llama: Made) -> None:
    contract = contracts.part(contracts.load(llama.takes["ane"]["package"]), "")
    held = LazyTensors(llama.takes["ane"]["checkpoint"] / "model.safetensors")
    truth = {name: held[name] for name in held}
    opened = llama.opened("ane", "fp16")
    assert readback.recipe(opened, contract, None, truth).findings == []
    q, o = (f"model.layers.0.self_attn.{name}_proj.weight" for name in "qo")
    truth[q], truth[o] = truth[o], truth[q]
    found = readback.recipe(opened, contract, None, truth).findings
    assert {(one.kind, one.subject) for one in found} == {("value", q), ("value", o)}
    # a program of products with rows has no axes of one
    plain = readback.recipe(opened, contract.model_copy(update={"authoring": None}), None, truth).findings
    assert {one.kind for one in plain} >= {"shape"}


def test_a_package_of_the_other_profile_is_not_what_was_asked(llama: Made, tmp_path: Path) -> None:
    data = llama.report("gpu", tmp_path / "gpu", "ane")
    assert data["provenance"]["findings"] == ["the functions are written for gpu, not for ane"]


def test_blocks_are_refused_before_anything_is_converted(llama: Made, tmp_path: Path) -> None:
    recipe = Recipe(default=Weights(weights="int4", granularity="per_block", block=32))
    takes = {"program": llama.takes["ane"]["program"]}
    with pytest.raises(Refusal, match="the Neural Engine reads no weights with a scale per block"):
        convert(takes, ConvertParams(recipe=recipe, islands=[]), Stage(tmp_path, takes))


class Squared(nn.Module):
    """An RMS norm as it is written anywhere."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden * torch.rsqrt(hidden.pow(2).mean(1, keepdim=True) + 1e-5)


class Concatenated(nn.Module):
    """The same as the layer norm of (x, -x), in which whoever computes it squares."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        both = torch.cat((hidden, -hidden), 1).permute(0, 2, 3, 1)
        normed = functional.layer_norm(both, (both.shape[-1],), eps=1e-5)
        return normed[..., : hidden.shape[1]].permute(0, 3, 1, 2)


class Own(nn.Module):
    eps = 1e-5

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64))


@pytest.mark.parametrize(
    ("module", "lost_in"),
    [
        (bc1s.RMSNorm(Own(), 3, offset=False), ()),
        (Squared(), ("fp16_round", "fp16_strict")),
        (Concatenated(), ("fp16_strict",)),
    ],
)
def test_a_spike_of_300_is_normed_in_float16_wherever_it_is_rounded(
    module: nn.Module, lost_in: tuple[str, ...], tmp_path: Path
) -> None:
    """`fp16_strict` rounds inside of an operator, as a unit may that knows nothing wider."""
    hidden = np.random.default_rng(1).normal(size=(1, 64, 1, 32)).astype(np.float16).astype(np.float32)
    hidden[:, 5] = 300
    truth = hidden / np.sqrt((hidden.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-5)
    made = models.converted(models.Sample(module.eval(), {"hidden": hidden}, {"y": truth}))
    opened = package.open(models.saved(made, tmp_path / "norm.mlpackage"))
    modes: tuple[Mode, ...] = ("fp16_round", "fp16_strict")
    for mode in modes:
        found = Interpreter(opened, "main", mode, check=False).run({"hidden": hidden}).outputs["y"]
        apart = np.linalg.norm(found - truth) / np.linalg.norm(truth)
        assert (apart > 0.9) if mode in lost_in else (apart < 1e-3), (mode, apart)
    graver = {one.rule for one in lint(opened, opened.functions["main"], RULES)}
    assert ("square" in graver) == isinstance(module, Squared)


@longer
def test_what_calibration_chose_stands_in_the_convolutions_bit_for_bit(llama: Made, tmp_path: Path) -> None:
    forms = [
        Rule(match="*norm*", weights="fp16"),
        Rule(match="*.o_proj", weights="lut4", granularity="per_tensor"),
        Rule(match="*embed_tokens", weights="int8"),
        Rule(match="lm_head", weights="int8"),
    ]
    recipe = Recipe(default=Weights(weights="int4"), rules=forms)
    ane = llama.takes["ane"]
    source = rows.load(ane["dataset"] / "train.jsonl")[0]["source"]
    asked = {port: ane[port] for port in ("dataset", "tokenizer", "checkpoint")}
    first = Stage(tmp_path / "calibrated", asked)
    calibrate(asked, CalibrateParams(recipe=recipe, threads=1, sources={source: 8}), first)
    taken = {"program": ane["program"], "stored": first.root / "stored"}
    second = Stage(tmp_path / "converted", taken)
    convert(taken, ConvertParams(recipe=recipe, islands=[], calibrated=True), second)
    contract = contracts.part(contracts.load(second.root / "package"), "")
    opened = package.open(second.root / "package" / "quantized.mlpackage")
    held = LazyTensors(ane["checkpoint"] / "model.safetensors")
    chosen = dict(Stored(first.root / "stored"))
    assert len(chosen) == 7
    assert readback.recipe(opened, contract, recipe, held, chosen).findings == []
    name = "model.layers.0.self_attn.q_proj.weight"
    form = chosen[name]
    assert isinstance(form, Quantized)
    chosen[name] = form._replace(data=np.negative(form.data))
    (one, *_) = {found.message for found in readback.recipe(opened, contract, recipe, held, chosen).findings}
    assert one == "is not, bit for bit, what calibration chose"
