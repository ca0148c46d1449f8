"""Student and teacher logits → mean squared difference of the two after each has lost its mean over the vocabulary.

Matching logits (Ba and Caruana 2014, arXiv 1312.6184; against KL, Kim et al. 2021, arXiv 2105.08919) is the limit of
distillation at a high temperature (Hinton, Vinyals and Dean, arXiv 1503.02531, 2.1), where logits have no mean. A
constant that is added to all logits of a token changes no distribution, and many models have one: without the mean
taken off, a student would be trained to copy it. So a teacher that is stored as log-probabilities is the same teacher.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss
from runtime.contract.objective import Plain, semantics


def _apart(student_NV: Any, teacher_NV: Any) -> Any:
    """Difference of the logits without its mean."""
    apart_NV = student_NV - teacher_NV
    return apart_NV - apart_NV.mean(-1, keepdim=True)


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> Any:
    """Mean over v of (s_v - mean s - t_v + mean t)²: twice what T² · KL comes to as T grows, and so in nats.

    Infinite where the teacher excludes a token (-inf): a run ends there, naming the term.
    """
    return _apart(student_NV, teacher_NV).square().mean(-1)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> tuple[Any, Any]:
    """2 / V times the difference without its mean."""
    apart_NV = _apart(student_NV, teacher_NV)
    return apart_NV.square().mean(-1), apart_NV * (2.0 / apart_NV.shape[-1])


LOSS = Loss(
    name="mse",
    version=1,
    params=Plain,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="mean over v of (s_v - mean(s) - t_v + mean(t))^2, s and t the logits of student and teacher",
        direction="both: a difference of logits has no direction",
        vocabulary="equal widths, else refused",
    ),
    divergence=True,
    hurts="with a large vocabulary: every token counts alike, those that nobody says as well, which is most of what a "
    "small student then learns; its size is that of squared logits, so that beside a divergence its weight means "
    "something else",
    source="Ba and Caruana (arXiv 1312.6184); Kim et al. (arXiv 2105.08919)",
)
