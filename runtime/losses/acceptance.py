"""Student and teacher logits → how seldom speculative decoding keeps what the student drafts, as -log of how often.

A drafted token is kept with probability min(1, p / q) (Leviathan et al. 2023, arXiv 2211.17192), so that a share of
Σ_v min(p_v, q_v) of them is, p the teacher's distribution and q the student's. This is -log of that share (Samarin et
al. 2026, arXiv 2602.23881, which calls it the likelihood form of the LK loss; `nla` in vllm-project/speculators). The
logarithm keeps a gradient where the two hardly overlap, which the share alone has not.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, OfTop, objective
from runtime.contract.objective import OF_TOP, Plain, Top, semantics


def _less(log_p: Any, log_q: Any) -> Any:
    """log min(p, q); where both are equal it is p, of which the student has no gradient."""
    return log_q.where(log_q < log_p, log_p)


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> Any:
    """-log Σ_v min(p_v, q_v) in nats.

    Zero where both agree, though with a kink there: close by, the gradient has the size that it has far away.
    """
    return -_less(teacher_NV.log_softmax(-1), student_NV.log_softmax(-1)).logsumexp(-1)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> tuple[Any, Any]:
    """q · Σ w - w, w the share of each token in the overlap where the student says less than the teacher, else 0."""
    log_p_NV, log_q_NV = teacher_NV.log_softmax(-1), student_NV.log_softmax(-1)
    less_NV = _less(log_p_NV, log_q_NV)
    overlap_N = less_NV.logsumexp(-1)
    short_NV = (less_NV - overlap_N.unsqueeze(-1)).exp().masked_fill(log_q_NV >= log_p_NV, 0.0)
    return -overlap_N, log_q_NV.exp() * short_NV.sum(-1, keepdim=True) - short_NV


def of_top(student_NV: Any, top: Top, _target_N: Any, _params: Plain) -> Any:
    """The same over the teacher's likeliest tokens and one outcome for all others, in nats."""
    _, _, log_q_NK, rest_q_N = objective.buckets(student_NV, top, 1.0)
    log_p_NK, rest_p_N = top.softened(1.0)
    return -_less(log_p_NK, log_q_NK).logsumexp(-1).logaddexp(_less(rest_p_N, rest_q_N))


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, _params: Plain) -> tuple[Any, Any]:
    """As `gradient`, where any other token has its share of what all others together are short of."""
    ids_NK, log_q_NV, log_q_NK, rest_q_N = objective.buckets(student_NV, top, 1.0)
    log_p_NK, rest_p_N = top.softened(1.0)
    less_NK, less_N = _less(log_p_NK, log_q_NK), _less(rest_p_N, rest_q_N)
    overlap_N = less_NK.logsumexp(-1).logaddexp(less_N)
    short_NK = (less_NK - overlap_N.unsqueeze(-1)).exp().masked_fill(log_q_NK >= log_p_NK, 0.0)
    short_N = (less_N - overlap_N).exp().masked_fill(rest_q_N >= rest_p_N, 0.0)
    sum_N1 = (short_NK.sum(-1) + short_N).unsqueeze(-1)
    # of the others together q · short / Q: in logarithms, as Q may be smaller than any number
    share_NV = (log_q_NV - rest_q_N.masked_fill(rest_q_N.isinf(), 0.0).unsqueeze(-1)).exp()
    gradient_NV = log_q_NV.exp() * sum_N1 - share_NV * short_N.unsqueeze(-1)
    gradient_NV.scatter_(-1, ids_NK, log_q_NK.exp() * sum_N1 - short_NK)
    return -overlap_N, gradient_NV


_MEANS: dict[str, str | bool] = {
    "formula": "-log sum_v min(p_v, q_v), p = softmax(teacher), q = softmax(student)",
    "direction": "both: the overlap of two distributions has no direction",
}

LOSS = Loss(
    name="acceptance",
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
    hurts="alone from a random start: a token that the student already says more often than the teacher has no pull of "
    "its own, so that begin with kl and let a schedule bring this in; and for a drafter that is verified greedily, "
    "where only the likeliest token counts",
    source="Samarin et al., LK losses (arXiv 2602.23881)",
)
