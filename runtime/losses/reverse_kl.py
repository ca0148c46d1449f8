"""Student and teacher logits → reverse KL(student ‖ teacher) per token: the student must not say what the teacher
would not."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, OfTop
from runtime.contract.objective import (
    OF_TOP,
    Softened,
    Top,
    divergence,
    reverse_gradient,
    reverse_of_top,
    reverse_of_top_gradient,
    semantics,
    softened,
)


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Softened) -> Any:
    """T² · Σ_v q_v (log q_v - log p_v) in nats, p and q softened by T. Mode-seeking (MiniLLM, arXiv 2306.08543).

    Infinite where the teacher excludes (-inf) what the student does not: a run ends there, naming the term.
    """
    t = params.temperature
    return divergence(softened(student_NV, t), softened(teacher_NV, t), t)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Softened) -> tuple[Any, Any]:
    return reverse_gradient(student_NV, teacher_NV, params.temperature)


def of_top(student_NV: Any, top: Top, _target_N: Any, params: Softened) -> Any:
    """The same over the teacher's likeliest tokens and one outcome for all others, in nats."""
    return reverse_of_top(student_NV, top, params.temperature)


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, params: Softened) -> tuple[Any, Any]:
    return reverse_of_top_gradient(student_NV, top, params.temperature)


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
    top=OfTop(
        value=of_top,
        gradient=of_top_gradient,
        temperatures=lambda params: [params.temperature],
        semantics=semantics(
            **OF_TOP,
            formula="T^2 * (sum_v q_v * (log q_v - log p_v) over the stored v, "
            "+ Q * (log Q - log P)), "
            "Q and P the mass of all other v; p = softmax(teacher / T), q = softmax(student / T)",
            direction="reverse: KL(student || teacher)",
            temperature="both sides",
            temperature_squared=True,
        ),
    ),
    hurts="from a student that is far away: it keeps the few answers it has and drops the rest of the teacher's (mode-"
    "seeking); infinite where the teacher excludes a token",
    source="Gu et al., MiniLLM (arXiv 2306.08543)",
)
