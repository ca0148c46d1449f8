"""What enters is examined: a model that looks ahead, is not finite, is another function than it says, is refused by name,
and everything else comes in, whatever its family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    RoFormerConfig,
    RoFormerForCausalLM,
)

from runtime import digest
from runtime.contract import Refusal
from runtime.models import admission, build
from runtime.models.importing import import_teacher
from runtime.steps.import_teacher import ImportTeacherParams
from tests.tensor.train.world import Stage

SIZES = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = {**SIZES, "intermediate_size": 48, "max_position_embeddings": 64}


def model_of(name: str, **changes: Any) -> PreTrainedModel:
    torch.manual_seed(4)
    classes: dict[str, Any] = {
        "llama": (LlamaConfig, LlamaForCausalLM, WIDE),
        "bert": (BertConfig, BertLMHeadModel, WIDE),
        "roformer": (RoFormerConfig, RoFormerForCausalLM, {**WIDE, "embedding_size": 32}),
        "gemma2": (Gemma2Config, Gemma2ForCausalLM, {**WIDE, "head_dim": 8, "num_key_value_heads": 2}),
        "cohere": (CohereConfig, CohereForCausalLM, {**WIDE, "num_key_value_heads": 2}),
        "gpt2": (GPT2Config, GPT2LMHeadModel, {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4}),
        "bloom": (BloomConfig, BloomForCausalLM, {"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
        "mamba": (MambaConfig, MambaForCausalLM, {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2}),
        "mixtral": (MixtralConfig, MixtralForCausalLM, {**WIDE, "num_key_value_heads": 2, "num_local_experts": 4}),
    }
    config, made, sizes = classes[name]
    return made(config(**{**sizes, **changes})).eval()


def saved(folder: Path, name: str, **changes: Any) -> Path:
    model_of(name, **changes).save_pretrained(folder)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


def imported(folder: Path, out: Path) -> Stage:
    stage = Stage(out, {"model": folder})
    import_teacher({"model": folder}, ImportTeacherParams(revision=digest.of_folder(folder), vocab_size=96), stage)
    return stage


def refused(folder: Path, out: Path) -> Refusal:
    with pytest.raises(Refusal) as caught:
        imported(folder, out)
    assert not (out / "checkpoint").exists(), "nothing is given by a step that refuses"
    return caught.value


def failing(model: PreTrainedModel) -> list[str]:
    return [one.check for one in admission.examine(model) if not one.passed]


def test_a_decoder_that_sees_the_answer_is_refused_where_it_enters(tmp_path: Path) -> None:
    """transformers PR 43705: `is_causal` of a config makes a Llama bidirectional."""
    folder = saved(tmp_path / "model", "llama")
    change_config(folder, is_causal=False)
    error = refused(folder, tmp_path / "out")
    assert error.code == "KR0120"
    assert "sees tokens that come later" in error.message
    assert "is_causal" in error.action


@pytest.mark.parametrize("name", ["bert", "roformer"])
def test_an_encoder_with_a_head_is_refused_and_the_advice_helps(name: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", name, is_decoder=False)
    error = refused(folder, tmp_path / "out")
    assert (error.code, "sees tokens that come later" in error.message) == ("KR0120", True)
    assert "`is_decoder: true`" in error.action
    change_config(folder, is_decoder=True)
    # what is left is another complaint, and a true one: these heads are more than one matrix
    assert "changes its logits after the head" in refused(folder, tmp_path / "again").message


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "mamba", "mixtral"])
def test_every_sound_family_comes_in_with_or_without_fused_attention(name: str, tmp_path: Path) -> None:
    stage = imported(saved(tmp_path / "model", name), tmp_path / "out")
    entry = stage.reports["report"]["data"]["entry"]
    assert [one["check"] for one in entry] == list(admission.WHY)
    assert all(one["passed"]["value"] is True for one in entry)
    for attention in ("eager", "sdpa"):
        assert build.load(stage.root / "checkpoint", attention=attention) is not None


def test_a_bound_after_the_head_that_the_config_states_comes_in(tmp_path: Path) -> None:
    """As published Gemma 2 has one; here so tight that nothing else could be taken for it."""
    stage = imported(saved(tmp_path / "model", "gemma2", final_logit_softcapping=0.05), tmp_path / "out")
    head = next(one for one in stage.reports["report"]["data"]["entry"] if one["check"] == "head")
    assert head["passed"]["value"] is True
    model = build.load(stage.root / "checkpoint")
    assert model.config.final_logit_softcapping == 0.05
    with torch.no_grad():
        assert float(model(input_ids=torch.arange(40)[None]).logits.abs().max()) <= 0.05


def test_a_scale_after_the_head_is_refused_where_it_enters(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "cohere", logit_scale=0.25)
    assert "changes its logits after the head, and not by" in refused(folder, tmp_path / "out").message


def test_a_tie_that_the_weights_break_is_refused_with_both_names(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "llama", tie_word_embeddings=False)
    change_config(folder, tie_word_embeddings=True)
    error = refused(folder, tmp_path / "out")
    assert "model.embed_tokens.weight and lm_head.weight" in error.message
    change_config(folder, tie_word_embeddings=False)
    imported(folder, tmp_path / "untied")
    change_config(folder, tie_word_embeddings=True)
    tensors = load_file(folder / build.WEIGHTS)
    del tensors["lm_head.weight"]
    save_file(tensors, folder / build.WEIGHTS, metadata={"format": "pt"})
    imported(folder, tmp_path / "tied")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float8_e4m3fn, torch.int8])
def test_weights_that_float32_does_not_hold_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "llama")
    tensors = load_file(folder / build.WEIGHTS)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(dtype)
    save_file(tensors, folder / build.WEIGHTS, metadata={"format": "pt"})
    assert "tensor model.norm.weight is stored as" in refused(folder, tmp_path / "out").message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype, tmp_path: Path) -> None:
    model_of("llama").to(dtype).save_pretrained(tmp_path / "model")
    imported(tmp_path / "model", tmp_path / "out")


def test_an_output_wider_than_the_vocabulary_of_the_spec_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "llama", vocab_size=97)
    assert "vocabulary is 97, the spec says 96" in refused(folder, tmp_path / "out").message


class Peeking(nn.Module):
    """A last normalisation that adds the mean over the whole text."""

    def forward(self, hidden_BTH: torch.Tensor) -> torch.Tensor:
        return hidden_BTH + hidden_BTH.mean(1, keepdim=True)


class Neighbourly(nn.Module):
    def forward(self, hidden_BTH: torch.Tensor) -> torch.Tensor:
        return hidden_BTH + hidden_BTH.mean(0, keepdim=True)


class Noisy(nn.Module):
    def forward(self, hidden_BTH: torch.Tensor) -> torch.Tensor:
        return hidden_BTH + 1e-7 * torch.randn_like(hidden_BTH)


class Lengthy(nn.Module):
    def forward(self, hidden_BTH: torch.Tensor) -> torch.Tensor:
        return hidden_BTH * torch.linspace(1, 1 + hidden_BTH.shape[1] / 100, hidden_BTH.shape[2])


class Deaf(nn.Module):
    def forward(self, hidden_BTH: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(hidden_BTH)


class Broken(nn.Module):
    def forward(self, hidden_BTH: torch.Tensor) -> torch.Tensor:
        return hidden_BTH.masked_fill(hidden_BTH > 0, float("nan"))


class OnlyFused(nn.Module):
    """Another function under fused attention: what families with a soft cap of attention are."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.config = model.config

    def forward(self, hidden_BTH: torch.Tensor) -> torch.Tensor:
        turned = hidden_BTH.roll(1, -1)
        return turned if self.config._attn_implementation == "sdpa" else hidden_BTH


@pytest.mark.parametrize(
    ("norm", "checks"),
    [
        (Peeking, ["causal", "prefix"]),
        (Neighbourly, ["batch"]),
        (Noisy, ["repeats"]),
        (Lengthy, ["prefix"]),
        (Deaf, ["reacts"]),
        (Broken, ["finite"]),
    ],
)
def test_each_fault_fails_its_own_check(norm: type[nn.Module], checks: list[str]) -> None:
    model = model_of("llama")
    assert failing(model) == []
    model.model.norm = norm()
    assert failing(model) == checks
    with pytest.raises(Refusal) as caught:
        admission.admit(admission.examine(model), "it", "here")
    assert admission.WHY[checks[0]][0] in caught.value.message


def test_two_implementations_of_attention_must_be_one_function() -> None:
    model = model_of("llama")
    model.model.norm = OnlyFused(model)
    assert failing(model) == ["kernels"]


def test_numbers_that_are_not_finite_are_no_datum() -> None:
    model = model_of("llama")
    model.model.norm = Broken()
    (only,) = admission.data(admission.examine(model))
    assert (only["difference"]["tag"], only["passed"]["value"]) == ("unavailable", False)


def test_examining_changes_nothing(tmp_path: Path) -> None:
    model = model_of("llama")
    build.attend(model, "sdpa")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    build.save(model, tmp_path / "a")
    admission.examine(model)
    assert model.config._attn_implementation == "sdpa"
    build.save(model, tmp_path / "b")
    assert digest.of_folder(tmp_path / "a") == digest.of_folder(tmp_path / "b")


def test_each_bound_is_held_to_the_number() -> None:
    for name in admission.WHY:
        limit = {"repeats": 0.0, "kernels": admission.KERNELS}.get(name, admission.ROUNDING)
        assert admission._holds(name, limit) is (name != "reacts")
        assert admission._holds(name, limit * 1.01 + 1e-12) is (name == "reacts")
        assert admission._holds(name, float("nan")) is False


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_attention_heads": 0}, "integer modulo by zero"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000, and the files hold"),
        ({"intermediate_size": 10**10}, "numbers, and the files hold"),
        ({"vocab_size": 10**11}, "numbers, and the files hold"),
        ({"hidden_act": ["silu"]}, "Validation error for field 'hidden_act'"),
        ({"dtype": 7}, "is_floating_point"),
    ],
)
def test_a_config_that_asks_for_another_size_is_refused_before_it_is_built(
    tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    """A billion layers, or a matrix that no memory holds: nothing of it is made; and nothing strange ends in a crash."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=40, **sizes)).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    with pytest.raises(Refusal) as refused:
        build.load(tmp_path)
    assert words in refused.value.message
