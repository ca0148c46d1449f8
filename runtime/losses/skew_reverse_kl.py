"""Student and teacher logits → skew reverse KL(student ‖ mixture of both): reverse KL that stays finite.

DistiLLM (Ko et al. 2024, arXiv 2402.03898, section 3.1): the teacher is mixed with some of the student before the
student is held against it. What the teacher finds impossible then costs at most -log α for each token.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, OfTop, outcomes
from runtime.contract.objective import OF_TOP, Top, semantics
from runtime.contract.outcomes import Between, Skewed, apart, mixed, weighed


def _between(alpha: float) -> Between:
    """q · log(q / m) with m = (1 - α) · p + α · q, and log(q / m) - α · q / m."""

    def found(log_p: Any, log_q: Any) -> tuple[Any, Any]:
        of_q = mixed(apart(log_p, log_q), 1.0 - alpha)
        return weighed(log_q, -of_q), -of_q - alpha * (-of_q).exp()

    return found


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Skewed) -> Any:
    """T² · Σ_v q_v log(q_v / m_v) in nats, p and q softened by T."""
    return outcomes.value(_between(params.alpha), student_NV, teacher_NV, params.temperature)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, params: Skewed) -> tuple[Any, Any]:
    return outcomes.gradient(_between(params.alpha), student_NV, teacher_NV, params.temperature)


def of_top(student_NV: Any, top: Top, _target_N: Any, params: Skewed) -> Any:
    """The same over the teacher's likeliest tokens and one outcome for all others, in nats."""
    return outcomes.of_top(_between(params.alpha), student_NV, top, params.temperature)


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, params: Skewed) -> tuple[Any, Any]:
    return outcomes.of_top_gradient(_between(params.alpha), student_NV, top, params.temperature)


_MEANS: dict[str, str | bool] = {
    "formula": "T^2 * sum_v q_v * log(q_v / ((1 - a) * p_v + a * q_v)), p = softmax(teacher / T), "
    "q = softmax(student / T)",
    "direction": "reverse: KL(student || (1 - a) * teacher + a * student), at most -T^2 * log a",
    "temperature": "both sides",
    "temperature_squared": True,
}

LOSS = Loss(
    name="skew_reverse_kl",
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
    hurts="as reverse KL, though less: answers of the teacher that the student does not give are not pulled up; with a "
    "large alpha little is left to learn",
    source="Ko et al., DistiLLM (arXiv 2402.03898), section 3.1",
)
