"""What llama.cpp computes otherwise than Transformers, whatever a GGUF file says: known before a file is written.

Tried with llama-cpp-python 0.3.36 (tests/tensor/asking/test_families.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract.gguf_model import PATTERNS, types
from runtime.contract.rotation import BETA_FAST, BETA_SLOW


def rotation(architecture: str, said: Mapping[str, Any]) -> str:
    """Why llama.cpp cannot turn by these `rope_parameters`, or ""."""
    kind = said.get("rope_type", "default")
    scaled = f"its rotary embedding is scaled ({kind})"
    ends = {"beta_fast": BETA_FAST, "beta_slow": BETA_SLOW}
    if kind not in ("default", "dynamic", "linear", "llama3", "yarn", "longrope"):
        return scaled
    if kind == "llama3" and architecture != "llama":
        return f"{scaled}, and llama.cpp reads that of a llama and of no {architecture}"
    if kind == "longrope" and architecture != "phi3":
        return f"{scaled}, and llama.cpp reads that of a phi3"
    if kind == "yarn" and architecture == "gemma3":
        return f"{scaled}, and llama.cpp would scale that of its windows, too"
    if kind == "yarn" and any((said.get(name) or usual) != usual for name, usual in ends.items()):
        return f"{scaled} between other numbers of turns than 32 and 1, which llama.cpp does not read"
    return ""


def attention(architecture: str, window: int | None, layers: Sequence[str], *, tied: bool) -> str:
    """Why llama.cpp attends otherwise to this window in layers of these types, or has another head, or ""."""
    every = PATTERNS.get(architecture)
    if window is not None and every is None:
        return f"its attention has a window ({window}), which llama.cpp does not compute in a {architecture}"
    if every is not None and list(layers) != types(every, len(layers)):
        return f"llama.cpp lets the last of every {every} layers of a {architecture} attend to the whole text"
    if architecture.startswith("gemma") and not tied:
        return "its head is not its embedding, which llama.cpp takes for it"
    return ""
