"""What a student says beside the next token: one number for each position, by a head of its own.

A head is a linear layer of width one over the last normalised hidden state. What it says are log-odds, in nats: their
logistic is a probability. The next token's logits do not change by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Name = Literal["halt", "self_eval"]

HALT: Name = "halt"
SELF_EVAL: Name = "self_eval"
#: head → what its number is the log-odds of
MEANING: Mapping[str, str] = {
    "halt": "the answer ends with the next token",
    "self_eval": "the answer that is written so far is right",
}
#: the file of a checkpoint in which heads lie, and how their tensors are called
FILE = "heads.safetensors"
PREFIX = "heads."


def tensors(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a head over hidden states so wide."""
    return {f"{PREFIX}{name}.weight": (1, width), f"{PREFIX}{name}.bias": (1,)}
