"""Student and teacher logits → forward KL(teacher ‖ student): the student must cover what the teacher says."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from runtime.contract import Loss, Params
from runtime.contract.units import unit


class KlParams(Params):
    temperature: float = Field(
        default=2.0,
        ge=0.01,
        le=100,
        description="Divides both logits before the softmax.",
        examples=[2.0],
        json_schema_extra=unit("1"),
    )


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: KlParams) -> Any:
    """T² · Σ_v p_v (log p_v - log q_v) in nats, p and q softened by T.

    The factor T² keeps the size of the gradient while T changes (Hinton, Vinyals and Dean, arXiv 1503.02531, 2.1).
    """
    student = (student_NV / params.temperature).log_softmax(-1)
    teacher = (teacher_NV / params.temperature).log_softmax(-1)
    return (teacher.exp() * (teacher - student)).sum(-1) * params.temperature**2


LOSS = Loss(
    name="kl",
    version=1,
    params=KlParams,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    semantics={
        "formula": "T^2 * sum_v p_v * (log p_v - log q_v), p = softmax(teacher / T), q = softmax(student / T)",
        "direction": "forward: KL(teacher || student)",
        "temperature": "both sides",
        "temperature_squared": True,
        "mask": "response",
        "shift": "logits at position i-1 predict token i",
        "denominator": "supervised tokens of this term in the whole optimiser batch",
        "tail": "none: every entry of the vocabulary counts",
        "vocabulary": "equal widths, else refused",
        "unit": "nat/token",
    },
    divergence=True,
)
