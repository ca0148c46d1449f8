"""Student and teacher logits → the generalised Jensen-Shannon divergence of the two, between forward and reverse KL.

JSD_β = β · KL(p ‖ m) + (1 - β) · KL(q ‖ m) with m = β · p + (1 - β) · q (Agarwal et al. 2024, GKD, arXiv 2306.13649,
section 2; β weighs the teacher p) is 0 at both ends, and near them β · KL(p ‖ q) and (1 - β) · KL(q ‖ p): where a
trainer puts forward and reverse KL at the ends (TRL), β = 0.0001 trains a ten-thousandth of what β = 0 does. Divided by
β · (1 - β) it is continuous, KL(p ‖ q) at 0 and KL(q ‖ p) at 1, and a weight means the same for every β (the scaled
skew Jensen divergence, Nielsen and Boltz 2011, arXiv 1004.5049). At β = 0.5 it is four times the Jensen-Shannon
divergence.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from runtime.contract import Loss, OfTop, outcomes
from runtime.contract.objective import (
    OF_TOP,
    Softened,
    Top,
    forward_gradient,
    forward_of_top,
    forward_of_top_gradient,
    reverse_gradient,
    reverse_of_top,
    reverse_of_top_gradient,
    semantics,
)
from runtime.contract.outcomes import Between, apart, mixed, weighed
from runtime.contract.units import unit


class JsdParams(Softened):
    beta: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Where between forward (0) and reverse (1) KL.",
        examples=[0.5],
        json_schema_extra=unit("1"),
    )


def _between(beta: float) -> Between:
    """(β · p · log(p / m) + (1 - β) · q · log(q / m)) / (β · (1 - β)), and log(q / m) / β."""

    def found(log_p: Any, log_q: Any) -> tuple[Any, Any]:
        ratio = apart(log_p, log_q)
        of_q, of_p = mixed(ratio, beta), mixed(-ratio, 1.0 - beta)
        slope = -of_q / beta
        return weighed(log_p, -of_p / (1.0 - beta)) + weighed(log_q, slope), slope

    return found


def value(student_NV: Any, teacher_NV: Any, target_N: Any, params: JsdParams) -> Any:
    """T² · JSD_β / (β · (1 - β)) in nats, p and q softened by T; at the ends T² · KL."""
    if 0.0 < params.beta < 1.0:
        return outcomes.value(_between(params.beta), student_NV, teacher_NV, params.temperature)
    return gradient(student_NV, teacher_NV, target_N, params)[0]


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, params: JsdParams) -> tuple[Any, Any]:
    if 0.0 < params.beta < 1.0:
        return outcomes.gradient(_between(params.beta), student_NV, teacher_NV, params.temperature)
    way = forward_gradient if params.beta == 0.0 else reverse_gradient
    return way(student_NV, teacher_NV, params.temperature)


def of_top(student_NV: Any, top: Top, _target_N: Any, params: JsdParams) -> Any:
    """The same over the teacher's likeliest tokens and one outcome for all others, in nats."""
    if 0.0 < params.beta < 1.0:
        return outcomes.of_top(_between(params.beta), student_NV, top, params.temperature)
    way = forward_of_top if params.beta == 0.0 else reverse_of_top
    return way(student_NV, top, params.temperature)


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, params: JsdParams) -> tuple[Any, Any]:
    if 0.0 < params.beta < 1.0:
        return outcomes.of_top_gradient(_between(params.beta), student_NV, top, params.temperature)
    way = forward_of_top_gradient if params.beta == 0.0 else reverse_of_top_gradient
    return way(student_NV, top, params.temperature)


_MEANS: dict[str, str | bool] = {
    "formula": "T^2 * (b * KL(p || m) + (1 - b) * KL(q || m)) / (b * (1 - b)), m = b * p + (1 - b) * q, "
    "p = softmax(teacher / T), q = softmax(student / T)",
    "direction": "both: KL(teacher || student) at b = 0, KL(student || teacher) at b = 1, continuous between; TRL's "
    "generalised JSD divided by b * (1 - b)",
    "temperature": "both sides",
    "temperature_squared": True,
}

LOSS = Loss(
    name="jsd",
    version=1,
    params=JsdParams,
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
    hurts="near beta 1 and at 1 as reverse KL does: a student that is far away keeps few of the teacher's answers and "
    "drops the rest. A recipe of TRL's with beta 0.5 trains a quarter of this for the same weight",
    source="Agarwal et al., GKD (arXiv 2306.13649); scaled as Nielsen and Boltz (arXiv 1004.5049)",
)
