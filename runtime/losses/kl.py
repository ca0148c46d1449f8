"""Student and teacher logits → forward KL(teacher ‖ student): the student must cover what the teacher says."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, OfTop
from runtime.contract.objective import (
    OF_TOP,
    Softened,
    Top,
    divergence,
    forward_gradient,
    forward_of_top,
    forward_of_top_gradient,
    semantics,
    softened,
)


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Softened) -> Any:
    """T² · Σ_v p_v (log p_v - log q_v) in nats, p and q softened by T; what the teacher excludes adds nothing."""
    t = params.temperature
    return divergence(softened(teacher_NV, t), softened(student_NV, t), t)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Softened) -> tuple[Any, Any]:
    return forward_gradient(student_NV, teacher_NV, params.temperature)


def of_top(student_NV: Any, top: Top, _target_N: Any, params: Softened) -> Any:
    """The same over the teacher's likeliest tokens and one outcome for all others, in nats."""
    return forward_of_top(student_NV, top, params.temperature)


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, params: Softened) -> tuple[Any, Any]:
    return forward_of_top_gradient(student_NV, top, params.temperature)


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
    top=OfTop(
        value=of_top,
        gradient=of_top_gradient,
        temperatures=lambda params: [params.temperature],
        semantics=semantics(
            **OF_TOP,
            formula="T^2 * (sum_v p_v * (log p_v - log q_v) over the stored v, "
            "+ P * (log P - log Q)), "
            "P and Q the mass of all other v; p = softmax(teacher / T), q = softmax(student / T)",
            direction="forward: KL(teacher || student)",
            temperature="both sides",
            temperature_squared=True,
        ),
    ),
    hurts="with a student that is much smaller than its teacher: it spreads over answers that it cannot tell apart "
    "(mode-covering)",
    source="Hinton, Vinyals and Dean (arXiv 1503.02531)",
)
