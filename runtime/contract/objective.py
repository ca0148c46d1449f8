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
    return (logits_NV if temperature == 1.0 else logits_NV / temperature).log_softmax(-1)


def cross_entropy_gradient(student_NV: Any, target_N: Any) -> tuple[Any, Any]:
    """`cross_entropy` and its gradient with respect to the logits, q - [v = target]."""
    log_q_NV, at_N1 = student_NV.log_softmax(-1), target_N.unsqueeze(-1)
    loss_N = -log_q_NV.gather(-1, at_N1).squeeze(-1)
    gradient_NV = log_q_NV.exp_()
    return loss_N, gradient_NV.scatter_add_(-1, at_N1, gradient_NV.new_full(at_N1.shape, -1.0))


def forward_gradient(student_NV: Any, teacher_NV: Any, temperature: float) -> tuple[Any, Any]:
    """T² · KL(p ‖ q) of two logits softened by T, p the teacher's, and its gradient with respect to the student's:
    T · (q - p). Where p is 0 nothing is added, whatever q is."""
    log_p_NV, log_q_NV = softened(teacher_NV, temperature), softened(student_NV, temperature)
    p_NV = log_p_NV.exp()
    difference_NV = log_p_NV.sub_(log_q_NV)
    if bool((p_NV == 0.0).any()):
        difference_NV = difference_NV.masked_fill_(p_NV == 0.0, 0.0)
    loss_N = difference_NV.mul_(p_NV).sum(-1) * temperature**2
    return loss_N, log_q_NV.exp_().sub_(p_NV).mul_(temperature)


def reverse_gradient(student_NV: Any, teacher_NV: Any, temperature: float) -> tuple[Any, Any]:
    """T² · KL(q ‖ p) of two logits softened by T, q the student's, and its gradient with respect to the student's:
    T · q · (log q - log p - KL(q ‖ p)). Where q is 0 nothing is added, whatever p is."""
    log_p_NV, log_q_NV = softened(teacher_NV, temperature), softened(student_NV, temperature)
    q_NV = log_q_NV.exp()
    difference_NV = log_q_NV.sub_(log_p_NV)
    if bool((q_NV == 0.0).any()):
        difference_NV = difference_NV.masked_fill_(q_NV == 0.0, 0.0)
    apart_N = (difference_NV * q_NV).sum(-1)
    gradient_NV = difference_NV.sub_(apart_N.unsqueeze(-1)).mul_(q_NV)
    return apart_N * temperature**2, gradient_NV.mul_(temperature)


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
