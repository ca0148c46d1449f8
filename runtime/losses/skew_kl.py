"""Student and teacher logits → skew forward KL(teacher ‖ mixture of both): forward KL that no token can make large.

DistiLLM (Ko et al. 2024, arXiv 2402.03898, section 3.1): the student is held against the teacher after some of the
teacher was mixed into it. What the student finds impossible then costs at most -log α for each token, and the gradient
of a token is at most 1 / α times its probability.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, OfTop, outcomes
from runtime.contract.objective import OF_TOP, Top, semantics
from runtime.contract.outcomes import Between, Skewed, apart, mixed, weighed


def _between(alpha: float) -> Between:
    """p · log(p / m) with m = α · p + (1 - α) · q, and -(1 - α) · p / m."""

    def found(log_p: Any, log_q: Any) -> tuple[Any, Any]:
        of_p = mixed(-apart(log_p, log_q), 1.0 - alpha)
        return weighed(log_p, -of_p), -(1.0 - alpha) * (-of_p).exp()

    return found


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Skewed) -> Any:
    """T² · Σ_v p_v log(p_v / m_v) in nats, p and q softened by T."""
    return outcomes.value(_between(params.alpha), student_NV, teacher_NV, params.temperature)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Skewed) -> tuple[Any, Any]:
    return outcomes.gradient(_between(params.alpha), student_NV, teacher_NV, params.temperature)


def of_top(student_NV: Any, top: Top, _target_N: Any, params: Skewed) -> Any:
    """The same over the teacher's likeliest tokens and one outcome for all others, in nats."""
    return outcomes.of_top(_between(params.alpha), student_NV, top, params.temperature)


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, params: Skewed) -> tuple[Any, Any]:
    return outcomes.of_top_gradient(_between(params.alpha), student_NV, top, params.temperature)


_MEANS: dict[str, str | bool] = {
    "formula": "T^2 * sum_v p_v * log(p_v / (a * p_v + (1 - a) * q_v)), p = softmax(teacher / T), "
    "q = softmax(student / T)",
    "direction": "forward: KL(teacher || a * teacher + (1 - a) * student), at most -T^2 * log a",
    "temperature": "both sides",
    "temperature_squared": True,
}

LOSS = Loss(
    name="skew_kl",
    version=1,
    params=Skewed,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    gradient=gradient,
    semantics=semantics(**_MEANS, vocabulary="equal widths, else refused"),
    divergence=True,
    top=OfTop(
        value=of_top,
        gradient=of_top_gradient,
        temperatures=lambda params: [params.temperature],
        semantics=semantics(**{**OF_TOP, **_MEANS}),
    ),
    hurts="with a large alpha: the mixture is then the teacher itself, and what is left to learn is little; a student "
    "that has to cover rare answers of the teacher is pulled there less than by kl",
    source="Ko et al., DistiLLM (arXiv 2402.03898), section 3.1",
)
