"""What llama.cpp computes otherwise has a reason, and what it computes alike has none."""

import pytest

from runtime.contract import gguf_limits
from runtime.contract.gguf_model import types

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


@pytest.mark.parametrize(
    ("architecture", "said", "why"),
    [
        ("qwen2", {}, ""),
        ("qwen2", {"rope_type": "dynamic", "factor": 2.0}, ""),
        ("gemma3", {"rope_type": "linear", "factor": 2.0}, ""),
        ("llama", {"rope_type": "llama3"}, ""),
        ("qwen2", {"rope_type": "llama3"}, "llama.cpp reads that of a llama and of no qwen2"),
        ("phi3", {"rope_type": "longrope"}, ""),
        ("llama", {"rope_type": "longrope"}, "llama.cpp reads that of a phi3"),
        ("qwen3", {**YARN, "beta_fast": 32.0, "beta_slow": None}, ""),
        ("qwen3", {**YARN, "beta_slow": 2.0}, "between other numbers of turns than 32 and 1"),
        ("gemma3", YARN, "would scale that of its windows, too"),
        ("llama", {"rope_type": "spiral"}, "is scaled (spiral)"),
    ],
)
def test_rotations(architecture, said, why):
    found = gguf_limits.rotation(architecture, said)
    assert why in found
    assert bool(found) == bool(why)


@pytest.mark.parametrize(
    ("architecture", "window", "layers", "tied", "why"),
    [
        ("llama", None, [], False, ""),
        ("llama", 6, [], True, "a window (6), which llama.cpp does not compute in a llama"),
        ("phi3", 6, [], True, "does not compute in a phi3"),
        ("gemma2", 6, types(2, 5), True, ""),
        ("gemma2", 6, types(3, 5), True, "the last of every 2 layers of a gemma2"),
        ("gemma3", 6, types(6, 13), True, ""),
        ("gemma3", 6, types(2, 13), True, "the last of every 6 layers of a gemma3"),
        ("gemma", None, [], True, ""),
        ("gemma", None, [], False, "its head is not its embedding"),
    ],
)
def test_windows_and_heads(architecture, window, layers, tied, why):
    found = gguf_limits.attention(architecture, window, layers, tied=tied)
    assert why in found
    assert bool(found) == bool(why)
