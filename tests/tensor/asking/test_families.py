"""Every family and every rotation that a GGUF file can say is the same function in llama.cpp, and is read back as it was
written; what llama.cpp would compute otherwise is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.asking import llama
from runtime.contract import Refusal, gguf_model
from runtime.models import build
from runtime.models.unpacking import tensor_of
from tests.longer import also
from tests.tensor.asking.test_llama import asked, needs_llama, written
from tests.tensor.export.world import ROTATIONS, world

#: heads are 16 wide, half of `architecture`'s
NUMBERS = {"short_factor": [1.0 + i / 8 for i in range(8)], "long_factor": [2.0 + i for i in range(8)]}
LONGROPE = {**ROTATIONS["longrope"], **NUMBERS, "original_max_position_embeddings": 256}
WIDE = {"max_position_embeddings": 1024, "tie_word_embeddings": False}
STATED = {**ROTATIONS["yarn"], "attention_factor": 1.5, "beta_fast": 32.0}
MIXED = {"sliding_window": 6, "num_hidden_layers": 7}
#: name → family and what it has
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "phi3": ("phi3", {"tie_word_embeddings": False}),
    "phi3 with longrope": ("phi3", {"rope_scaling": LONGROPE, **WIDE}),
    "gemma": ("gemma", {"head_dim": 32}),
    "gemma2": ("gemma2", {"sliding_window": 6}),
    "gemma2 with bounded logits": ("gemma2", {"sliding_window": 6, "final_logit_softcapping": 0.5}),
    "gemma3": ("gemma3_text", {**MIXED, "rope_theta": 1e6}),
    "gemma3 with linear": ("gemma3_text", {**MIXED, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "llama with linear": ("llama", {"rope_scaling": ROTATIONS["linear"]}),
    "llama with dynamic": ("llama", {"rope_scaling": ROTATIONS["dynamic"]}),
    "llama with llama3": ("llama", {"rope_scaling": ROTATIONS["llama3"]}),
    "mistral with yarn": ("mistral", {"rope_scaling": ROTATIONS["yarn"]}),
    "qwen2 with yarn": ("qwen2", {"rope_scaling": STATED}),
}
QUICK = ("phi3 with longrope", "gemma3 with linear", "llama with llama3")


def made(root: Path, family: str, **more: Any) -> dict[str, Path]:
    sizes = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    return world(root, family, **{**sizes, **more})


@pytest.mark.parametrize("name", [name if name in QUICK else also(name) for name in WAYS])
def test_what_is_written_is_what_is_read(name: str, tmp_path: Path) -> None:
    family, more = WAYS[name]
    takes = made(tmp_path, family, **more)
    path = written(takes, "f32", tmp_path / "out") / llama.FILE
    found = gguf_model.read(path)
    model = build.load(takes["checkpoint"])
    weights = model.state_dict()
    assert {weight.name for weight in found.weights} == weights.keys() - (
        {"lm_head.weight"} if found_tied(found) else set()
    )
    for weight in found.weights:
        # one is added to a norm of Gemma's and taken away again: a last digit may be lost
        assert torch.allclose(tensor_of(path, weight), weights[weight.name], rtol=0, atol=2e-7 * weight.more), (
            weight.name
        )
    folder = tmp_path / "read"
    folder.mkdir()
    (folder / "config.json").write_text(gguf_model.text(found.documents[gguf_model.CONFIG]))
    (folder / "model.safetensors").write_bytes((takes["checkpoint"] / "model.safetensors").read_bytes())
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        wanted, again = (one(input_ids=ids).logits for one in (model, build.load(folder)))
    assert torch.allclose(again, wanted, atol=1e-4)


def found_tied(found: gguf_model.Model) -> bool:
    return bool(found.documents[gguf_model.CONFIG]["tie_word_embeddings"])


# llama.cpp keeps keys and values in float16, as it does wherever it runs
@needs_llama
@pytest.mark.parametrize("name", [name if name in QUICK else also(name) for name in WAYS])
def test_llama_cpp_computes_the_same_logits(name: str, tmp_path: Path) -> None:
    family, more = WAYS[name]
    takes = made(tmp_path, family, **more)
    runner = llama.opened(asked(written(takes, "f32", tmp_path / "out"), takes, tmp_path))
    model = build.load(takes["checkpoint"])
    ids = torch.randint(3, 512, (60,), generator=torch.Generator().manual_seed(2)).tolist()
    with torch.inference_mode():
        wanted_TV = model(input_ids=torch.tensor([ids])).logits[0].numpy()
    found_TV = runner._model.logits(ids)
    assert np.abs(found_TV - wanted_TV).max() < 2e-3 * max(1.0, np.abs(wanted_TV).max())
    assert (found_TV.argmax(-1) == wanted_TV.argmax(-1)).mean() > 0.98


@needs_llama
def test_a_context_that_changes_longropes_angles_is_refused(tmp_path: Path) -> None:
    takes = made(tmp_path, "phi3", rope_scaling={**LONGROPE, "original_max_position_embeddings": 128}, **WIDE)
    with pytest.raises(Refusal, match="in a context of 256, and the model shorter ones than 128"):
        llama.opened(asked(written(takes, "f32", tmp_path / "out"), takes, tmp_path))


def test_what_llama_cpp_computes_otherwise_is_refused(tmp_path: Path) -> None:
    """Each reason: tests/unit/runtime/contract/test_gguf_limits.py."""
    takes = made(tmp_path, "mistral", sliding_window=6, num_hidden_layers=1)
    with pytest.raises(Refusal, match=r"its attention has a window \(6\)") as caught:
        written(takes, "f32", tmp_path / "out")
    assert caught.value.code == "KR0221"
