"""Small random Transformers models → saved packages, converted by coremltools the way its users do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from runtime.mil.numerics import Array

LENGTH, CONTEXT, REAL, MASK = 16, 32, 11, -1e4


def causal_lm(family: str) -> PreTrainedModel:
    """Two layers, grouped queries, 128 tokens; random weights of seed 0."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 128,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "attn_implementation": "eager",
    }
    match family:
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**sizes)).eval()
        case "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=16)).eval()
        case "phi":
            return PhiForCausalLM(PhiConfig(**sizes)).eval()
        case _:
            raise ValueError(family)


class Prefill(torch.nn.Module):
    """input_ids_1T, attention_mask_1T (1 = real) → logits_1TV, keys_LHTD, values_LHTD."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        places = torch.arange(input_ids.shape[1])
        causal = (places[None, :] <= places[:, None]).to(torch.float32)
        keep = causal[None, None] * attention_mask[:, None, None, :].to(torch.float32)
        out = self.model(
            input_ids=input_ids,
            attention_mask=(1 - keep) * MASK,
            position_ids=places[None],
            past_key_values=DynamicCache(),
            use_cache=True,
        )
        layers = out.past_key_values.layers
        return out.logits, torch.cat([x.keys for x in layers]), torch.cat([x.values for x in layers])


class Decode(torch.nn.Module):
    """input_ids_11, position_1, key_cache_LHCD, value_cache_LHCD → logits_11V, new_key_LH1D, new_value_LH1D."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, position: torch.Tensor, key_cache: torch.Tensor, value_cache: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        places = torch.arange(key_cache.shape[2])
        past = (places[None, :] >= position[:, None]).to(torch.float32) * MASK
        cache = DynamicCache([(key_cache[i : i + 1], value_cache[i : i + 1]) for i in range(key_cache.shape[0])])
        out = self.model(
            input_ids=input_ids,
            attention_mask=torch.cat([past, torch.zeros(1, 1)], 1)[:, None, None, :],
            position_ids=position[None],
            past_key_values=cache,
            use_cache=True,
        )
        layers = out.past_key_values.layers
        new = [torch.cat([getattr(x, name)[:, :, -1:] for x in layers]) for name in ("keys", "values")]
        return out.logits, *new


def exported(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], **options: Any) -> Any:
    """An ExportedProgram in the core dialect, without the aliases and assertions that coremltools refuses."""
    with torch.no_grad():
        found = torch.export.export(module, arguments, **options).run_decompositions({})
    graph = found.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and str(node.target).startswith("aten.alias"):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and "assert" in str(node.target).lower() and not node.users:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    found.graph_module.recompile()
    return found


@dataclass(frozen=True)
class Sample:
    """A module, its inputs by name, and what PyTorch yields for them in float32."""

    module: torch.nn.Module
    inputs: dict[str, Array]
    outputs: dict[str, Array]


def sample(family: str, kind: str) -> Sample:
    """The "prefill" (REAL tokens of LENGTH) or "decode" (at position 9 of CONTEXT) module of a family."""
    model, generator = causal_lm(family), np.random.default_rng(7)
    ids = generator.integers(0, 128, (1, LENGTH)).astype(np.int32)
    if kind == "prefill":
        mask = (np.arange(LENGTH)[None] < REAL).astype(np.int32)
        module: torch.nn.Module = Prefill(model)
        inputs: dict[str, Array] = {"input_ids": ids, "attention_mask": mask}
        names = ["logits", "keys", "values"]
    else:
        shape = (2, model.config.num_key_value_heads, CONTEXT, 16)
        # values a float16 input can hold, so that both sides compute on the same cache
        caches = [generator.normal(size=shape).astype(np.float16).astype(np.float32) for _ in range(2)]
        module = Decode(model)
        inputs = {"input_ids": ids[:, :1], "position": np.array([9], np.int32)}
        inputs |= {"key_cache": caches[0], "value_cache": caches[1]}
        names = ["logits", "new_key", "new_value"]
    with torch.no_grad():
        outputs = module(*[torch.from_numpy(value) for value in inputs.values()])
    return Sample(module, inputs, {name: value.numpy() for name, value in zip(names, outputs, strict=True)})


def converted(given: Sample, target: Any = ct.target.iOS18, precision: Any = ct.precision.FLOAT16) -> Any:
    """The sample's module as an ML Program with float16 outputs."""
    tensors = tuple(torch.from_numpy(value) for value in given.inputs.values())
    inputs = [
        ct.TensorType(name=name, shape=value.shape, dtype=np.int32 if value.dtype.kind == "i" else np.float16)
        for name, value in given.inputs.items()
    ]
    return ct.convert(
        exported(given.module, tensors),
        inputs=inputs,
        outputs=[ct.TensorType(name=name, dtype=np.float16) for name in given.outputs],
        minimum_deployment_target=target,
        compute_precision=precision,
        convert_to="mlprogram",
        skip_model_load=True,
    )


def saved(model: Any, path: Path) -> Path:
    """Save a converted model and give its path back."""
    model.save(str(path))
    return path
