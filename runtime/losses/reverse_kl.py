"""Student and teacher logits → reverse KL(student ‖ teacher) per token: the student must not say what the teacher
would not."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from runtime.contract import Loss, Params
from runtime.contract.units import unit


class ReverseKlParams(Params):
    temperature: float = Field(
        default=2.0,
        ge=0.01,
        le=100,
        description="Divides both logits before the softmax.",
        examples=[2.0],
        json_schema_extra=unit("1"),
    )


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: ReverseKlParams) -> Any:
    """T² · Σ_v q_v (log q_v - log p_v) in nats, p and q softened by T.

    Mode-seeking direction (MiniLLM, arXiv 2306.08543); T² as in arXiv 1503.02531, section 2.1.
    """
    student = (student_NV / params.temperature).log_softmax(-1)
    teacher = (teacher_NV / params.temperature).log_softmax(-1)
    return (student.exp() * (student - teacher)).sum(-1) * params.temperature**2


LOSS = Loss(
    name="reverse_kl",
    version=1,
    params=ReverseKlParams,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    semantics={
        "formula": "T^2 * sum_v q_v * (log q_v - log p_v), p = softmax(teacher / T), q = softmax(student / T)",
        "direction": "reverse: KL(student || teacher)",
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
