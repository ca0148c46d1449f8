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
    WINDOW,
    Decode,
    Prefill,
    RopeTable,
    check_family,
    check_shapes,
    grouped_attention,
    heads_of,
)
from tests.tensor.export.world import MIXED, ROTATIONS, architecture

FAMILIES: dict[str, dict[str, Any]] = {
    "llama with shared heads": {"family": "llama"},
    "llama with one key head": {"family": "llama", "num_key_value_heads": 1},
    "llama without sharing, untied": {"family": "llama", "num_key_value_heads": 4, "tie_word_embeddings": False},
    "mistral without a window": {"family": "mistral", "head_dim": 48},
    "qwen2 with biases": {"family": "qwen2"},
    "qwen3 with its own head width": {"family": "qwen3", "head_dim": 48},
    "phi with partial rotation": {"family": "phi", "num_key_value_heads": 4, "tie_word_embeddings": False},
    "phi3 with joined projections": {"family": "phi3", "tie_word_embeddings": False},
    "phi3 with longrope": {"family": "phi3", "rope_scaling": ROTATIONS["longrope"]},
    "gemma": {"family": "gemma", "head_dim": 48},
    "gemma2 with a window": {"family": "gemma2", "sliding_window": 7},
    "gemma2 with bounded logits": {"family": "gemma2", "sliding_window": 7, "final_logit_softcapping": 0.05},
    "gemma3 with a window": {"family": "gemma3_text", "sliding_window": 5, **MIXED},
    "gemma3 with linear": {
        "family": "gemma3_text",
        "sliding_window": 40,
        "sliding_window_pattern": 2,
        "rope_theta": 1e6,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "mistral with a window": {"family": "mistral", "sliding_window": 6},
    "phi3 with a window": {"family": "phi3", "sliding_window": 1},
    "llama with linear": {"family": "llama", "rope_scaling": ROTATIONS["linear"]},
    "qwen2 with yarn": {"family": "qwen2", "rope_scaling": ROTATIONS["yarn"]},
    "qwen3 with yarn": {
        "family": "qwen3",
        "rope_scaling": {**ROTATIONS["yarn"], "attention_factor": 1.4, "beta_fast": 8.0},
    },
    "llama with llama3": {"family": "llama", "rope_scaling": ROTATIONS["llama3"]},
    "mistral with dynamic": {"family": "mistral", "rope_scaling": ROTATIONS["dynamic"]},
    "phi with yarn": {"family": "phi", "num_key_value_heads": 4, "rope_scaling": ROTATIONS["yarn"]},
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
    logits, keys, values = reference(model, ids[0, :23].tolist()).values()
    with torch.no_grad():
        found = Prefill(model, 32)(ids, mask)
    assert close(found[0][:, :23], logits)
    assert close(found[1][:, :, :23], keys)
    assert close(found[2][:, :, :23], values)


@pytest.mark.parametrize("name", FAMILIES)
def test_decode_equals_the_model_whatever_stands_in_slots_not_yet_written(name: str) -> None:
    model, ids, at = model_of(name), ids_of(20), 19
    sizes = heads_of(model)
    logits, keys, values = reference(model, ids[0].tolist()).values()
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
    assert close(found[0], reference(model, ids[0].tolist())["logits"])


def test_a_lost_causal_mask_changes_the_answer() -> None:
    """The comparison above is able to fail."""
    model, ids = model_of("llama with shared heads"), ids_of(16)
    function = Prefill(model, 16)
    function.causal.fill_(1.0)
    with torch.no_grad():
        found = function(ids, torch.ones(1, 16))[0]
    assert not close(found, reference(model, ids[0].tolist())["logits"])


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
    """Sinks must not vanish from the exported graph; a soft cap is expressed."""
    query, mask = torch.ones(1, 2, 3, 4), torch.zeros(1, 1, 3, 3)
    grouped_attention(torch.nn.Identity(), query, query, query, mask, 0.5, sliding_window=None, use_cache=True)
    with pytest.raises(Refusal, match="s_aux"):
        grouped_attention(torch.nn.Identity(), query, query, query, mask, 0.5, s_aux=mask)
    far = torch.arange(24.0).reshape(1, 2, 3, 4)
    plain, capped = (
        grouped_attention(torch.nn.Identity(), far, far, far, mask, 0.5, softcap=cap)[0] for cap in (None, 5.0)
    )
    assert not torch.allclose(plain, capped)
    with pytest.raises(Refusal, match="dropout"):
        grouped_attention(torch.nn.Identity(), query, query, query, mask, 0.5, dropout=0.1)


def test_a_window_that_the_mask_does_not_know_is_refused() -> None:
    query, mask, attention = torch.ones(1, 2, 3, 4), torch.zeros(1, 1, 3, 3), torch.nn.Identity()
    with pytest.raises(Refusal, match="a window of 4"):
        grouped_attention(attention, query, query, query, mask, 0.5, sliding_window=4)
    setattr(attention, WINDOW, 4)
    grouped_attention(attention, query, query, query, mask, 0.5, sliding_window=4)
    with pytest.raises(Refusal, match="a window of 5"):
        grouped_attention(attention, query, query, query, mask, 0.5, sliding_window=5)


@pytest.mark.parametrize("name", ["gemma2 with a window", "gemma3 with a window", "mistral with a window"])
def test_a_lost_window_changes_the_answer(name: str) -> None:
    """The comparison of families with a window is able to fail, in both functions."""
    model, ids, at = model_of(name), ids_of(24), 23
    logits, keys, values = reference(model, ids[0].tolist()).values()
    prefill, decode = Prefill(model, 24), Decode(model, 24)
    prefill.near.copy_(prefill.causal)
    decode.gone.fill_(at + 1)
    cache = (torch.nn.functional.pad(one[:, :, :at], (0, 0, 0, 1)) for one in (keys, values))
    with torch.no_grad():
        assert not close(prefill(ids, torch.ones(1, 24))[0], logits)
        position = torch.tensor([at], dtype=torch.int32)
        assert not close(decode(ids[:, at:], position, *cache)[0][0, 0], logits[0, at])


def test_a_window_as_long_as_the_function_leaves_no_second_mask() -> None:
    model = model_of("gemma2 with a window")
    assert (Prefill(model, 7).window, Prefill(model, 8).window) == (None, 7)


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
