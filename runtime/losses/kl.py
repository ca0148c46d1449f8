"""Student and teacher logits → forward KL(teacher ‖ student): the student must cover what the teacher says."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss
from runtime.contract.objective import Softened, divergence, forward_gradient, semantics, softened


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Softened) -> Any:
    """T² · Σ_v p_v (log p_v - log q_v) in nats, p and q softened by T; what the teacher excludes adds nothing."""
    t = params.temperature
    return divergence(softened(teacher_NV, t), softened(student_NV, t), t)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Softened) -> tuple[Any, Any]:
    return forward_gradient(student_NV, teacher_NV, params.temperature)


LOSS = Loss(
    name="kl",
    version=1,
    params=Softened,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="T^2 * sum_v p_v * (log p_v - log q_v), p = softmax(teacher / T), q = softmax(student / T)",
        direction="forward: KL(teacher || student)",
        temperature="both sides",
        temperature_squared=True,
        vocabulary="equal widths, else refused",
    ),
    divergence=True,
)
