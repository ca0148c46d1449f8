"""Student and teacher logits → reverse KL(student ‖ teacher) per token: the student must not say what the teacher
would not."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss
from runtime.contract.objective import Softened, divergence, reverse_gradient, semantics, softened


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Softened) -> Any:
    """T² · Σ_v q_v (log q_v - log p_v) in nats, p and q softened by T. Mode-seeking (MiniLLM, arXiv 2306.08543).

    Infinite where the teacher excludes (-inf) what the student does not: a run ends there, naming the term.
    """
    t = params.temperature
    return divergence(softened(student_NV, t), softened(teacher_NV, t), t)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Softened) -> tuple[Any, Any]:
    return reverse_gradient(student_NV, teacher_NV, params.temperature)


LOSS = Loss(
    name="reverse_kl",
    version=1,
    params=Softened,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="T^2 * sum_v q_v * (log q_v - log p_v), p = softmax(teacher / T), q = softmax(student / T)",
        direction="reverse: KL(student || teacher)",
        temperature="both sides",
        temperature_squared=True,
        vocabulary="equal widths, else refused",
    ),
    divergence=True,
)
