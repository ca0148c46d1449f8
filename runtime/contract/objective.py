"""What losses share: the log-probability of a token, the divergence of two distributions, and the words for both.

Written with the methods of the tensors that come in, so that no tensor library is imported. N runs over supervised
tokens, V over the vocabulary; everything is in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit


class Plain(Params):
    """Nothing to choose."""


class Softened(Params):
    temperature: float = Field(
        default=2.0,
        ge=0.01,
        le=100,
        description="Divides both logits before the softmax.",
        examples=[2.0],
        json_schema_extra=unit("1"),
    )


def cross_entropy(student_NV: Any, target_N: Any) -> Any:
    """-log q of each target, loss_N."""
    return -student_NV.log_softmax(-1).gather(-1, target_N.unsqueeze(-1)).squeeze(-1)


def divergence(first_NV: Any, second_NV: Any, temperature: float) -> Any:
    """T² · KL(first ‖ second) of two log-probabilities softened by T, loss_N.

    The factor T² keeps the size of the gradient while T changes (Hinton, Vinyals and Dean, arXiv 1503.02531, 2.1).
    Where `first` is impossible (-inf) it adds nothing, whatever `second` says: 0 · log 0 is 0.
    """
    difference_NV = (first_NV - second_NV).masked_fill(first_NV.isinf(), 0.0)
    return (first_NV.exp() * difference_NV).sum(-1) * temperature**2


def softened(logits_NV: Any, temperature: float) -> Any:
    """Log-probabilities of logits / T."""
    return (logits_NV / temperature).log_softmax(-1)


def semantics(**own: str | bool) -> Mapping[str, str | bool]:
    """The choices of a loss, for the lock: those that all losses make alike, and its own."""
    return {
        "temperature": "none",
        "temperature_squared": False,
        "mask": "response",
        "shift": "logits at position i-1 predict token i",
        "denominator": "supervised tokens of this term in the whole optimiser batch",
        "tail": "none: every entry of the vocabulary counts",
        "unit": "nat/token",
        **own,
    }


#: of a term against the tokens of a dataset row
OF_THE_ROW = {
    "formula": "-log softmax(student)[token]",
    "direction": "cross-entropy; label = token of the dataset row",
    "vocabulary": "student width equals the tokenizer's size, else refused",
}
