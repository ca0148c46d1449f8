"""A divergence given outcome by outcome → its value and gradient, over the vocabulary or over a teacher's likeliest.

A divergence of two distributions p (the teacher's) and q (the student's) is here a function of their log-probabilities
that returns two numbers for each outcome: what it adds to the sum, and the derivative of the sum with respect to q
there, up to a constant that is the same for all outcomes (softmax takes it away). With respect to the logits z of
q = softmax(z / T) the gradient is then q · (g - Σ q · g) / T; of an outcome that stands for many tokens, each has its
own share q of it. Written with the methods of the tensors that come in.

Letters: N supervised tokens, V vocabulary, K likeliest tokens of a teacher. Everything is in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from runtime.contract import objective
from runtime.contract.objective import Softened, Top, softened
from runtime.contract.units import unit

#: log p, log q (of any equal shape) → (what each outcome adds, derivative with respect to q); zero where both are
#: impossible, and where q is impossible the derivative times q
Between = Callable[[Any, Any], tuple[Any, Any]]

#: log p - log q up to which exp(·) - 1 is computed as it stands: far from the end of float32
_NEAR = 30.0


class Skewed(Softened):
    """Parameters of a divergence from a mixture of both."""

    alpha: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="How much of the one is mixed into the other; the divergence is at most -log of it.",
        examples=[0.1],
        json_schema_extra=unit("1"),
    )


def apart(log_p: Any, log_q: Any) -> Any:
    """log p - log q; 0 where both are impossible."""
    both = (log_p == log_q) & log_p.isinf()
    return log_p.masked_fill(both, 0.0) - log_q.masked_fill(both, 0.0)


def mixed(ratio: Any, share: float) -> Any:
    """log(1 - share + share · exp(ratio)): a mixture over its first part, for 0 < share < 1.

    Through exp(·) - 1 and log(1 + ·), so that it keeps its digits where the share or the ratio is small: what is
    divided by the share afterwards would be rounding alone otherwise.
    """
    low, high = ratio.clamp(max=_NEAR), ratio.clamp(min=_NEAR)
    if share <= 0.5:
        near = (low.expm1() * share).log1p()
    else:
        near = (low.clamp(min=-1.0).expm1() * share).log1p()
        near = near.where(ratio > -1.0, (1.0 - share + share * low.exp()).log())
    return near.where(ratio <= _NEAR, high + (share + (1.0 - share) * (-high).exp()).log())


def weighed(log_weight: Any, value: Any) -> Any:
    """exp(log_weight) · value, and 0 where the weight is 0, whatever the value."""
    weight = log_weight.exp()
    return weight * value.masked_fill(weight == 0.0, 0.0)


def value(between: Between, student_NV: Any, teacher_NV: Any, temperature: float) -> Any:
    """T² · Σ over the vocabulary, loss_N."""
    added_NV, _ = between(softened(teacher_NV, temperature), softened(student_NV, temperature))
    return added_NV.sum(-1) * temperature**2


def gradient(between: Between, student_NV: Any, teacher_NV: Any, temperature: float) -> tuple[Any, Any]:
    """`value` and its gradient with respect to the student's logits, T · q · (g - Σ q · g)."""
    log_q_NV = softened(student_NV, temperature)
    added_NV, slope_NV = between(softened(teacher_NV, temperature), log_q_NV)
    pull_NV = weighed(log_q_NV, slope_NV)
    gradient_NV = pull_NV - log_q_NV.exp() * pull_NV.sum(-1, keepdim=True)
    return added_NV.sum(-1) * temperature**2, gradient_NV * temperature


def of_top(between: Between, student_NV: Any, top: Top, temperature: float) -> Any:
    """The same over K + 1 outcomes: each of the teacher's likeliest tokens, and any other. loss_N."""
    _, _, log_q_NK, rest_q_N = objective.buckets(student_NV, top, temperature)
    log_p_NK, rest_p_N = top.softened(temperature)
    return (between(log_p_NK, log_q_NK)[0].sum(-1) + between(rest_p_N, rest_q_N)[0]) * temperature**2


def of_top_gradient(between: Between, student_NV: Any, top: Top, temperature: float) -> tuple[Any, Any]:
    """`of_top` and its gradient: any other token has the derivative of all others together."""
    ids_NK, log_q_NV, log_q_NK, rest_q_N = objective.buckets(student_NV, top, temperature)
    log_p_NK, rest_p_N = top.softened(temperature)
    added_NK, slope_NK = between(log_p_NK, log_q_NK)
    added_N, slope_N = between(rest_p_N, rest_q_N)
    pull_NK = weighed(log_q_NK, slope_NK)
    mean_N = pull_NK.sum(-1) + weighed(rest_q_N, slope_N)
    # of no other token there is nothing to pull
    slope_N = slope_N.masked_fill(rest_q_N.isinf(), 0.0)
    gradient_NV = log_q_NV.exp() * (slope_N - mean_N).unsqueeze(-1)
    gradient_NV.scatter_(-1, ids_NK, pull_NK - log_q_NK.exp() * mean_N.unsqueeze(-1))
    return (added_NK.sum(-1) + added_N) * temperature**2, gradient_NV * temperature
