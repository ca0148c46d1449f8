"""Student and teacher logits → total variation distance of the two: the share of drafts that are rejected.

1 - Σ_v min(p_v, q_v), half the sum of |p_v - q_v| (Wen et al. 2023, arXiv 2307.15190; for drafters Zhou et al. 2024,
DistillSpec, arXiv 2310.08461). Bounded by 1, so that no outlier rules a batch; where both hardly overlap its gradient
vanishes, which `acceptance` mends.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, OfTop, outcomes
from runtime.contract.objective import OF_TOP, Plain, Top, semantics


def _between(log_p: Any, log_q: Any) -> tuple[Any, Any]:
    """What the teacher says more than the student; -1 there, and 0 where the student says as much."""
    short = log_q < log_p
    p, q = log_p.exp(), log_q.exp()
    return (p - q).masked_fill(~short, 0.0), -short.to(q.dtype)


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> Any:
    """Σ_v max(p_v - q_v, 0): what `acceptance` comes to as both agree, and so beside nats."""
    return outcomes.value(_between, student_NV, teacher_NV, 1.0)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> tuple[Any, Any]:
    return outcomes.gradient(_between, student_NV, teacher_NV, 1.0)


def of_top(student_NV: Any, top: Top, _target_N: Any, _params: Plain) -> Any:
    """The same over the teacher's likeliest tokens and one outcome for all others."""
    return outcomes.of_top(_between, student_NV, top, 1.0)


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, _params: Plain) -> tuple[Any, Any]:
    return outcomes.of_top_gradient(_between, student_NV, top, 1.0)


_MEANS: dict[str, str | bool] = {
    "formula": "sum_v max(p_v - q_v, 0), p = softmax(teacher), q = softmax(student)",
    "direction": "both: half of sum_v |p_v - q_v|",
}

LOSS = Loss(
    name="tvd",
    version=1,
    params=Plain,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    gradient=gradient,
    semantics=semantics(**_MEANS, vocabulary="equal widths, else refused"),
    top=OfTop(
        value=of_top,
        gradient=of_top_gradient,
        temperatures=lambda _params: [1.0],
        semantics=semantics(**{**OF_TOP, **_MEANS}),
    ),
    hurts="far from the teacher: its gradient is as small as the overlap of the two is, so that a student from nothing "
    "hardly moves; begin with kl",
    source="Wen et al. (arXiv 2307.15190); DistillSpec (arXiv 2310.08461)",
)
