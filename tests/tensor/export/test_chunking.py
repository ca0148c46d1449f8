"""The chunks of a student, one after the other, compute what the Transformers model computes, and hold each tensor where
the split says."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.contract.chunks import HIDDEN, Chunk, split
from runtime.models import chunking
from runtime.models.export import island_nodes, planned, traced
from runtime.models.goldens import reference
from runtime.models.wrapper import heads_of
from tests.tensor.export.test_wrapper import close, ids_of, model_of

#: of each kind of forward pass one: a scaled embedding, windows in some layers, a cap, LayerNorm and a biased head
SPLIT = [
    ("llama with shared heads", 2),
    ("llama without sharing, untied", 5),
    ("qwen3 with its own head width", 4),
    ("phi with partial rotation", 3),
    ("phi3 with joined projections", 2),
    ("gemma", 3),
    ("gemma2 with a window", 5),
    ("gemma2 with bounded logits", 2),
    ("gemma3 with a window", 3),
    ("mistral with a window", 2),
]


def run(model: PreTrainedModel, count: int, name: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """A function by its chunks, as a host runs it: caches are cut, what was given is put together along the layers."""
    kept: dict[str, list[Tensor]] = {}
    for chunk in chunking.planned(model, count):
        (plan,) = (one for one in planned(model, [32], 40, -1e4, chunk=chunk) if one.name == name)
        first, end = chunk.layers
        fed = {**given, **{key: value[first:end] for key, value in given.items() if key.endswith("_cache")}}
        fed |= {key: value[-1] for key, value in kept.items() if key.startswith(HIDDEN)}
        with torch.no_grad():
            found = plan.module(*(fed[key] for key in plan.inputs))
        for key, value in zip(plan.outputs, found if isinstance(found, tuple) else (found,), strict=True):
            kept.setdefault(key, []).append(value)
    return {key: torch.cat(value) if value[0].dim() == 4 else value[-1] for key, value in kept.items()}


@pytest.mark.parametrize(("name", "count"), SPLIT)
def test_chunks_equal_the_model(name: str, count: int) -> None:
    model, ids, at = model_of(name), ids_of(32), 23
    mask = torch.ones(1, 32)
    mask[:, at:] = 0
    logits, keys, values = reference(model, ids[0, : at + 1].tolist()).values()
    found = run(model, count, "prefill_32", {"input_ids": ids, "attention_mask": mask})
    assert close(found["logits"][:, :at], logits[:, :at])
    assert close(found["keys"][:, :, :at], keys[:, :, :at])
    assert close(found["values"][:, :, :at], values[:, :, :at])
    cache = [
        torch.full((heads_of(model)["layers"], *keys.shape[1:2], 40, keys.shape[3]), fill) for fill in (50.0, -50.0)
    ]
    for whole, written in zip(cache, (keys, values), strict=True):
        whole[:, :, :at] = written[:, :, :at]
    position = torch.tensor([at], dtype=torch.int32)
    given = {"input_ids": ids[:, at : at + 1], "position": position, "key_cache": cache[0], "value_cache": cache[1]}
    found = run(model, count, "decode", given)
    assert close(found["logits"][0, 0], logits[0, at])
    assert close(found["new_key"], keys[:, :, at : at + 1])
    assert close(found["new_value"], values[:, :, at : at + 1])


def test_a_chunk_holds_its_own_tensors_alone_and_a_tied_one_at_both_ends() -> None:
    model = model_of("llama with shared heads")
    before = dict(model.named_parameters())
    places: dict[int, list[int]] = {}
    for chunk in chunking.planned(model, 5):
        for plan in planned(model, [8], 16, -1e4, chunk=chunk):
            held = {id(one) for one in plan.module.parameters()}
            assert sum(one.numel() for one in plan.module.parameters()) * 2 == chunk.bytes
        for one in held:
            places.setdefault(one, []).append(chunk.number)
    assert places == {
        id(one): [1, 5] if "embed" in name else [5] if name == "model.norm.weight" else [int(name.split(".")[2]) + 2]
        for name, one in before.items()
    }
    assert dict(model.named_parameters()) == before, "the caller's model is unchanged"
    assert model.config.num_hidden_layers == 3


def test_a_head_that_stands_alone_is_called_as_the_converter_calls_it() -> None:
    """An island is known by the names of its nodes."""
    model = model_of("gemma2 with bounded logits")
    *_, last = chunking.planned(model, 5)
    program = traced(next(planned(model, [8], 16, -1e4, chunk=last)))
    modules = island_nodes(program)
    assert modules["logits"]["lm_head"][0] == "linear_0"
    assert list(modules["rms_norm"]) == ["model.norm"]
    assert {kind: len(paths) for kind, paths in modules.items()} == {
        "rms_norm": 1, "layer_norm": 0, "residual": 0, "softmax": 0, "logits": 1
    }  # fmt: skip


def test_a_family_whose_forward_pass_is_not_declared_is_not_split() -> None:
    model = model_of("llama with shared heads")
    model.config.model_type = "granite"
    with pytest.raises(Refusal, match="granite"):
        chunking.planned(model, 2)


def test_more_chunks_than_parts_are_refused() -> None:
    with pytest.raises(Refusal, match="3 layers") as refused:
        chunking.planned(model_of("llama with shared heads"), 6)
    assert "5" in refused.value.action


def layers(found: list[Chunk]) -> list[tuple[int, int]]:
    return [one.layers for one in found]


def test_the_largest_chunk_is_as_small_as_can_be_and_the_split_even() -> None:
    assert layers(split(1, [4] * 8, 1, 3)) == [(0, 2), (2, 5), (5, 8)]
    # a head larger than all layers together stands alone, and so does an embedding
    assert layers(split(50, [10] * 4, 50, 3)) == [(0, 0), (0, 4), (4, 4)]
    assert [one.heads for one in split(50, [10] * 4, 50, 3)] == [False, False, True]
    for count in range(1, 11):
        found = split(7, [5, 1, 9, 2, 2, 8, 3, 3], 6, count)
        assert sum(one.bytes for one in found) == 46
        assert [one.layers[0] for one in found[1:]] == [one.layers[1] for one in found[:-1]]
        parts = (7, 5, 1, 9, 2, 2, 8, 3, 3, 6)
        every = (
            max(sum(parts[first:end]) for first, end in zip((0, *ends), (*ends, len(parts)), strict=True))
            for ends in combinations(range(1, len(parts)), count - 1)
        )
        assert max(one.bytes for one in found) == min(every)
    with pytest.raises(ValueError, match="no 11 chunks"):
        split(7, [5, 1, 9, 2, 2, 8, 3, 3], 6, 11)
