"""The functions of the profile `ane` are the checkpoint's, whichever family, and their norms never overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from runtime.contract import Refusal
from runtime.models import bc1s, build, chunking, goldens, probes
from runtime.models import tokenizer as tokenizers
from runtime.models.prompts import texts_of
from runtime.steps.probe import ProbeParams
from tests.longer import longer
from tests.tensor.export import world
from tests.tensor.export.conftest import Exported

LENGTH, CONTEXT = 32, 48
#: family → what its tiny student has that others have not
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama-mqa": {"num_key_value_heads": 1, "tie_word_embeddings": False},
    "llama-scaled": {"rope_scaling": world.ROTATIONS["llama3"]},
    "mistral": {"sliding_window": 6},
    "qwen2": {},
    "qwen3": {"head_dim": 48},
    "phi3": {"sliding_window": 5},
    "phi3-longrope": {"rope_scaling": world.ROTATIONS["longrope"]},
    "gemma": {"head_dim": 48},
    "gemma2": {"sliding_window": 6, "sliding_window_pattern": 2, "final_logit_softcapping": 30.0},
    "gemma3_text": {"sliding_window": 6, **world.MIXED},
}


def model_of(kind: str, tmp: Any, **changes: Any) -> Any:
    family = kind.partition("-")[0]
    shape = world.architecture(family, **{**FAMILIES[kind], **changes})
    return build.load(world.checkpoint(tmp, shape, {"pad": 0, "bos": 1, "eos": 2}))


def prefilled(model: Any, ids: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    function, made = bc1s.Prefill(model), bc1s.authored(model)
    free = LENGTH - len(ids)
    by = {
        "input_ids": torch.tensor([[*ids, *[7] * free]], dtype=torch.int32),
        "attention_mask": torch.tensor([[1.0] * len(ids) + [0.0] * free]),
    }
    with torch.no_grad():
        logits, keys, values = bc1s.called(function, made, by)
    real = len(ids)
    return logits[:, :real], keys[:, :, :real], values[:, :, :real]


def apart(first: Tensor, second: Tensor) -> float:
    return float((first - second).detach().abs().max() / second.detach().abs().max())


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_prefill_is_the_checkpoints(kind: str, tmp_path: Any) -> None:
    model = model_of(kind, tmp_path)
    ids = np.random.default_rng(1).integers(3, 512, 21).tolist()
    for found, wanted in zip(prefilled(model, ids), goldens.reference(model, ids).values(), strict=True):
        assert apart(found, wanted) < 1e-5


@pytest.mark.parametrize(("kind", "count"), [("llama", 5), ("gemma2", 2), ("gemma3_text", 3)])
def test_chunks_one_after_the_other_are_the_whole(kind: str, count: int, tmp_path: Any) -> None:
    """Three layers, an embedding and a head; of five chunks the first and the last have no layers."""
    model = model_of(kind, tmp_path)
    ids = np.random.default_rng(3).integers(3, 512, LENGTH).tolist()
    stream, keys, taken = torch.tensor([ids], dtype=torch.int32), list[Tensor](), list[set[str]]()
    with torch.no_grad():
        for chunk in chunking.planned(model, count):
            if chunk.layers[0] == chunk.layers[1]:
                (stream,) = bc1s.Ends(model, chunk)(stream)
                continue
            made = bc1s.authored(model, chunk=chunk)
            by = {chunk.enters or "input_ids": stream, "attention_mask": torch.ones(1, LENGTH)}
            taken.append(set(bc1s.fed(made, by)))
            stream, key, _ = bc1s.called(bc1s.Prefill(model, chunk), made, by)
            keys.append(key)
    wanted = list(goldens.reference(model, ids).values())
    assert apart(stream, wanted[0]) < 1e-5
    assert apart(torch.cat(keys), wanted[1]) < 1e-5
    if kind == "gemma3_text":
        # masks and angles of its own layers alone
        assert {"mask_sliding", "cos_sliding"} <= taken[0]
        assert {"mask", "cos"}.isdisjoint(taken[0])
        assert {"mask", "cos"} <= taken[-1]


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_decode_is_the_checkpoints(kind: str, tmp_path: Any) -> None:
    """Token by token from nothing, with garbage in the slots that nobody wrote."""
    model = model_of(kind, tmp_path)
    ids = np.random.default_rng(2).integers(3, 512, 15).tolist()
    function, made = bc1s.Decode(model), bc1s.authored(model)
    wanted, all_keys, all_values = goldens.reference(model, ids).values()
    layers, heads, _, width = all_keys.shape
    keys = torch.full((layers, heads, CONTEXT, width), 3.0)
    values = keys.clone()
    rows = []
    with torch.no_grad():
        for position, token in enumerate(ids):
            by = {
                "input_ids": torch.tensor([[token]], dtype=torch.int32),
                "position": torch.tensor([position], dtype=torch.int32),
                "key_cache": keys,
                "value_cache": values,
            }
            logits, key, value = bc1s.called(function, made, by)
            keys[:, :, position : position + 1], values[:, :, position : position + 1] = key, value
            rows.append(logits[0, 0])
    assert apart(torch.stack(rows), wanted[0]) < 1e-5
    assert apart(keys[:, :, : len(ids)], all_keys) < 1e-5
    assert apart(values[:, :, : len(ids)], all_values) < 1e-5


def test_no_weight_is_copied(tmp_path: Any) -> None:
    model = model_of("llama", tmp_path)
    function = bc1s.Prefill(model)
    lies = {one.data_ptr(): name for name, one in model.named_parameters()}
    found = {name.removeprefix("model."): one for name, one in function.named_parameters(remove_duplicate=False)}
    assert {name for name in found if "lm_head" not in name} == {name for name, _ in model.named_parameters()}
    assert all(lies[one.data_ptr()] in (name, "model.embed_tokens.weight") for name, one in found.items())


class Plain(nn.Module):
    eps = 1e-5

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 64))


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 300.0, 2000.0, 6e4])
def test_a_norm_holds_in_float16_at_every_size(size: float) -> None:
    norm = bc1s.RMSNorm(Plain(), 3, offset=False)
    hidden = torch.randn(1, 64, 1, 5, generator=torch.Generator().manual_seed(1)).clamp(-1, 1) * size
    wanted = hidden.double() * torch.rsqrt(hidden.double().pow(2).mean(1, keepdim=True) + 1e-5)
    wanted = wanted * norm.weight.double()
    with torch.no_grad():
        assert apart(norm(hidden).double(), wanted) < 1e-6
        half = norm.half()(hidden.half())
    assert apart(half.double(), wanted) < (5e-2 if size < 1e-5 else 3e-3)


def test_zeros_stay_zeros() -> None:
    with torch.no_grad():
        assert not bc1s.RMSNorm(Plain(), 3, offset=False).half()(torch.zeros(1, 64, 1, 2).half()).any()


def test_a_family_that_cannot_be_expressed_is_refused_by_name(tmp_path: Any) -> None:
    model = build.load(world.checkpoint(tmp_path, world.architecture("phi"), {"pad": 0, "bos": 1, "eos": 2}))
    with pytest.raises(Refusal, match="does not express model type `phi`: its attention and MLP stand side by side"):
        bc1s.Prefill(model)


ANE = ProbeParams(lengths=[16, 32], decode_context=40, threads=1, profile="ane")


def lost(exported: Exported) -> set[str]:
    """Probes of the functions that do not hold; those of the checkpoint do."""
    words = tokenizers.load(exported.takes["tokenizer"])
    sequences = probes.sequences_of(texts_of(exported.takes["dataset"], words), ANE.lengths)
    data = probes.data_of(build.load(exported.takes["checkpoint"]), sequences, ANE, words.pad_id)
    assert data["passed"]["n"] == 9
    found = {(one["subject"], one["probe"]) for one in data["probes"] if one["passed"]["value"] is not True}
    assert all(subject == "functions" for subject, _ in found)
    return {probe for _, probe in found}


@longer
def test_functions_of_the_profile_hold_every_probe(exported: Exported) -> None:
    assert lost(exported) == set()


def unscaled(patch: pytest.MonkeyPatch) -> None:
    made = bc1s.Attention.__init__

    def forgot(self: bc1s.Attention, *given: Any) -> None:
        made(self, *given)
        self.scaling = 1.0

    patch.setattr(bc1s.Attention, "__init__", forgot)


def exchanged(patch: pytest.MonkeyPatch) -> None:
    turned = bc1s.turned
    patch.setattr(bc1s, "turned", lambda heads, cos, sin: turned(heads, sin, cos))


def transposed(patch: pytest.MonkeyPatch) -> None:
    made = bc1s.feeding.fed

    def turned_over(*given: Any) -> dict[str, Any]:
        return {
            name: one.swapaxes(1, 3).copy() if one.shape[1] == one.shape[3] else one
            for name, one in made(*given).items()
        }

    patch.setattr(bc1s.feeding, "fed", turned_over)


def plain_keys(patch: pytest.MonkeyPatch) -> None:
    """Every query head attends to the first key/value head."""
    mixed = bc1s.Attention.forward

    def forgot(self: bc1s.Attention, hidden: Tensor, angles: Any, mask: Tensor, past: Any) -> Any:
        own = self._projected
        self._projected = lambda value: [
            one if i == 0 else one[:, :1].expand_as(one) for i, one in enumerate(own(value))
        ]  # type: ignore[method-assign]
        try:
            return mixed(self, hidden, angles, mask, past)
        finally:
            del self._projected

    patch.setattr(bc1s.Attention, "forward", forgot)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (unscaled, {"equals_checkpoint"}),
        (exchanged, {"equals_checkpoint"}),
        (transposed, {"causality", "padding", "prefill_decode", "equals_checkpoint"}),
        (plain_keys, {"equals_checkpoint"}),
    ],
)
def test_what_is_authored_wrongly_fails_a_probe(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None], found: set[str]
) -> None:
    fault(monkeypatch)
    assert lost(exported) >= found
