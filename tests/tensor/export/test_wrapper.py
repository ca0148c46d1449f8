"""The export functions compute what the Transformers model computes, for every family, and change nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from runtime.contract import Refusal
from runtime.models import build
from runtime.models.goldens import reference
from runtime.models.wrapper import (
    ATTENTION,
    Decode,
    Prefill,
    RopeTable,
    check_family,
    check_shapes,
    grouped_attention,
    heads_of,
)
from tests.tensor.export.world import architecture

YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0 + i / 8 for i in range(16)],
    "long_factor": [2.0 + i for i in range(16)],
    "original_max_position_embeddings": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama with shared heads": {"family": "llama"},
    "llama with one key head": {"family": "llama", "num_key_value_heads": 1},
    "llama without sharing, untied": {"family": "llama", "num_key_value_heads": 4, "tie_word_embeddings": False},
    "mistral without a window": {"family": "mistral", "head_dim": 48},
    "qwen2 with biases": {"family": "qwen2"},
    "qwen3 with its own head width": {"family": "qwen3", "head_dim": 48},
    "phi with partial rotation": {"family": "phi", "num_key_value_heads": 4, "tie_word_embeddings": False},
    "phi3 with joined projections": {"family": "phi3", "tie_word_embeddings": False},
    "phi3 with longrope": {"family": "phi3", "rope_scaling": LONGROPE},
    "llama with linear": {"family": "llama", "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "qwen2 with yarn": {"family": "qwen2", "rope_scaling": YARN},
    "qwen3 with yarn": {"family": "qwen3", "rope_scaling": {**YARN, "attention_factor": 1.4, "beta_fast": 8.0}},
    "llama with llama3": {"family": "llama", "rope_scaling": LLAMA3},
    "mistral with dynamic": {"family": "mistral", "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}},
    "phi with yarn": {"family": "phi", "num_key_value_heads": 4, "rope_scaling": YARN},
}


def model_of(name: str) -> PreTrainedModel:
    model = build.build(architecture(**FAMILIES[name]), seed=5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0) if parameter.dim() > 1 else parameter.add_(0.1)
    return model


def ids_of(count: int) -> torch.Tensor:
    return torch.randint(3, 512, (1, count), generator=torch.Generator().manual_seed(1), dtype=torch.int32)


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((found - wanted).abs().max() <= 2e-5 * max(1.0, float(wanted.abs().max())))


@pytest.mark.parametrize("name", FAMILIES)
def test_prefill_equals_the_model_on_real_positions(name: str) -> None:
    model, ids = model_of(name), ids_of(32)
    mask = torch.ones(1, 32)
    mask[:, 23:] = 0
    logits, keys, values = reference(model, ids[0, :23].tolist())
    with torch.no_grad():
        found = Prefill(model, 32)(ids, mask)
    assert close(found[0][:, :23], logits)
    assert close(found[1][:, :, :23], keys)
    assert close(found[2][:, :, :23], values)


@pytest.mark.parametrize("name", FAMILIES)
def test_decode_equals_the_model_whatever_stands_in_slots_not_yet_written(name: str) -> None:
    model, ids, at = model_of(name), ids_of(20), 19
    sizes = heads_of(model)
    logits, keys, values = reference(model, ids[0].tolist())
    cache = [torch.full((sizes["layers"], sizes["heads"], 40, sizes["head_dim"]), fill) for fill in (50.0, -50.0)]
    for whole, written in zip(cache, (keys, values), strict=True):
        whole[:, :, :at] = written[:, :, :at]
    with torch.no_grad():
        found = Decode(model, 40)(ids[:, at:], torch.tensor([at], dtype=torch.int32), *cache)
    assert close(found[0][0, 0], logits[0, at])
    assert close(found[1], keys[:, :, at : at + 1])
    assert close(found[2], values[:, :, at : at + 1])


def test_decode_at_position_zero_sees_only_itself() -> None:
    model, ids = model_of("llama with shared heads"), ids_of(1)
    cache = torch.full((3, 2, 24, 32), 9.0)
    with torch.no_grad():
        found = Decode(model, 24)(ids, torch.tensor([0], dtype=torch.int32), cache, cache)
    assert close(found[0], reference(model, ids[0].tolist())[0])


def test_a_lost_causal_mask_changes_the_answer() -> None:
    """The comparison above is able to fail."""
    model, ids = model_of("llama with shared heads"), ids_of(16)
    function = Prefill(model, 16)
    function.causal.fill_(1.0)
    with torch.no_grad():
        found = function(ids, torch.ones(1, 16))[0]
    assert not close(found, reference(model, ids[0].tolist())[0])


def test_the_callers_model_is_unchanged_and_its_weights_are_shared() -> None:
    model = model_of("llama with shared heads")
    functions = [Prefill(model, 8), Prefill(model, 16), Decode(model, 16)]
    assert not isinstance(model.get_decoder().rotary_emb, RopeTable)
    assert model.config._attn_implementation == "eager"
    for function in functions:
        assert function.model.config._attn_implementation == ATTENTION
        for mine, shared in zip(model.parameters(), function.model.parameters(), strict=True):
            assert mine.data_ptr() == shared.data_ptr()


def test_a_mask_value_that_is_finite_in_float16_gives_exactly_zero_weight() -> None:
    model, ids = model_of("llama with shared heads"), ids_of(12)
    with torch.no_grad():
        first = Prefill(model, 12, -1e4)(ids, torch.ones(1, 12))[0]
        second = Prefill(model, 12, -4e4)(ids, torch.ones(1, 12))[0]
    assert torch.equal(first, second)


def test_rotary_variants_that_depend_on_the_prompt_are_refused() -> None:
    config = AutoConfig.for_model("olmo2", **TINY, rope_parameters={"rope_type": "dynamic", "factor": 2.0})
    with pytest.raises(Refusal, match="dynamic"):
        check_family(AutoModelForCausalLM.from_config(config))


def test_an_attention_with_a_meaning_that_would_be_lost_is_refused() -> None:
    """A soft cap, sinks or a window must not vanish from the exported graph."""
    query, mask = torch.ones(1, 2, 3, 4), torch.zeros(1, 1, 3, 3)
    grouped_attention(torch.nn.Identity(), query, query, query, mask, 0.5, sliding_window=None, use_cache=True)
    with pytest.raises(Refusal, match="softcap"):
        grouped_attention(torch.nn.Identity(), query, query, query, mask, 0.5, softcap=50.0)
    with pytest.raises(Refusal, match="dropout"):
        grouped_attention(torch.nn.Identity(), query, query, query, mask, 0.5, dropout=0.1)


def test_a_family_without_rotary_positions_is_refused() -> None:
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 32, "n_positions": 16}
    with pytest.raises(Refusal, match="rotary"):
        Prefill(GPT2LMHeadModel(GPT2Config(**sizes)), 8)


TINY = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


@pytest.mark.parametrize(("family", "more"), [("falcon", {}), ("lfm2", {"full_attn_idxs": [1]}), ("falcon_h1", {})])
def test_a_family_that_keeps_more_than_keys_and_values_is_refused_in_a_sentence(
    family: str, more: dict[str, Any]
) -> None:
    sizes = {key: value for key, value in TINY.items() if (family, key) != ("falcon", "head_dim")}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes, **more), attn_implementation="eager")
    with torch.no_grad(), pytest.raises(Refusal, match=f"`{family}` cannot be exported: it keeps more than keys"):
        Prefill(model.eval(), 8)(torch.ones(1, 8, dtype=torch.int32), torch.ones(1, 8))


@pytest.mark.parametrize("family", ["mixtral", "olmoe", "qwen3_moe", "granitemoe"])
def test_a_mixture_is_not_refused_for_how_it_reports_its_routing(family: str) -> None:
    """Before: "attention asks for output_router_logits", which means nothing to attention."""
    torch.manual_seed(2)
    config = AutoConfig.for_model(family, **TINY)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    ids = torch.arange(3, 11, dtype=torch.int32)[None]
    with torch.no_grad():
        found = Prefill(model, 8)(ids, torch.ones(1, 8))[0]
        wanted = model(input_ids=ids.long(), use_cache=False).logits
    assert close(found, wanted)


def test_sliding_windows_are_refused() -> None:
    model = model_of("qwen3 with its own head width")
    model.config.layer_types = ["full_attention", "sliding_attention", "full_attention"]
    with pytest.raises(Refusal, match="sliding"):
        Prefill(model, 8)


@pytest.mark.parametrize(
    ("lengths", "context", "vocabulary", "what"),
    [
        ([64, 300], 300, 512, "256 positions"),
        ([64], 300, 512, "256 positions"),
        ([64, 64], 128, 512, "repeat"),
        ([128], 64, 512, "does not fit a cache"),
        ([64], 128, 500, "500 tokens"),
        ([0, 64], 128, 512, "do not fit"),
    ],
)
def test_shapes_the_checkpoint_cannot_serve_are_refused(
    lengths: list[int], context: int, vocabulary: int, what: str
) -> None:
    with pytest.raises(Refusal, match=what):
        check_shapes(model_of("llama with shared heads"), lengths, context, vocabulary)
