"""Student logits and the teacher's k likeliest tokens → forward KL over these, with a declared rule for all others.

What is made of the tokens beside the k decides what is learnt, and trainers differ in it: zero, renormalised, one
bucket, a random draw (reference: "Sparse logit sampling", arXiv 2503.16870). Two rules are here. `bucket` takes all
others as one outcome, by their mass: it never is more than the KL over the vocabulary. `renormalise` looks at the k
alone, on both sides made to add up to 1: nothing is learnt of how much there is beside them. Of random logits (2,000
words, k 16, Adam) `bucket` ended nearer to the teacher at any mass of the k from 0.08 to 0.9997. So `auto` takes
`renormalise` only where the mass of the teacher's k likeliest tokens, measured at the run's own tokens and at the
loss's temperature before the first step, leaves nothing worth a bucket.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from runtime.contract import Loss, OfTop, Refusal, Settled
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
from runtime.contract.units import unit

#: mean mass of the k likeliest from which on `auto` takes them for all there is
WHOLE = 0.9999


class TopKKlParams(Softened):
    k: int = Field(
        default=64,
        ge=2,
        le=65536,
        description="How many of the teacher's likeliest tokens are compared one by one.",
        examples=[64],
        json_schema_extra=unit("token"),
    )
    tail: Literal["auto", "bucket", "renormalise"] = Field(
        default="bucket",
        description="What becomes of all other tokens: one outcome (`bucket`), nothing (`renormalise`), or what the "
        "measured mass of the k likeliest decides (`auto`).",
        examples=["auto"],
    )


def _of(teacher_NV: Any, params: TopKKlParams) -> Top:
    """The teacher's k likeliest tokens, and the mass of all others at the temperature."""
    log_NV = teacher_NV.log_softmax(-1)
    log_NK, ids_NK = log_NV.topk(min(params.k, log_NV.shape[-1]), -1)
    rest_NV = log_NV.scatter(-1, ids_NK, float("-inf"))
    return Top(ids_NK, log_NK, {params.temperature: (rest_NV / params.temperature).logsumexp(-1)})


def _fewer(top: Top, params: TopKKlParams) -> Top:
    """The k likeliest of more that are known: those that are left out go to the others."""
    if top.log_NK.shape[-1] <= params.k:
        return top
    log_NK, at_NK = top.log_NK.topk(params.k, -1)
    left_NK = top.log_NK.scatter(-1, at_NK, float("-inf")) / params.temperature
    rest_N = top.rest[params.temperature].logaddexp(left_NK.logsumexp(-1))
    return Top(top.ids_NK.gather(-1, at_NK), log_NK, {params.temperature: rest_N})


def _renormalised(student_NV: Any, top: Top, temperature: float) -> tuple[Any, Any, Any]:
    """(ids_NK, log p_NK, log q_NK), each made to add up to 1 over the k."""
    ids_NK = top.ids_NK.long()
    log_q_NK = (student_NV.gather(-1, ids_NK) / temperature).log_softmax(-1)
    return ids_NK, (top.log_NK / temperature).log_softmax(-1), log_q_NK


def _unsettled(params: TopKKlParams) -> bool:
    """Whether the rule is `renormalise`. Raises Refusal while nothing has been measured yet."""
    if params.tail == "auto":
        raise Refusal("the rule for the tail of `top_k_kl` is not settled yet", action="measure the teacher's mass")
    return params.tail == "renormalise"


def of_top(student_NV: Any, top: Top, _target_N: Any, params: TopKKlParams) -> Any:
    """T² · KL(p ‖ q) over the k likeliest tokens, with or without one outcome for all others, in nats."""
    top = _fewer(top, params)
    if not _unsettled(params):
        return forward_of_top(student_NV, top, params.temperature)
    _, log_p_NK, log_q_NK = _renormalised(student_NV, top, params.temperature)
    return divergence(log_p_NK, log_q_NK, params.temperature)


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, params: TopKKlParams) -> tuple[Any, Any]:
    """Renormalised: T · (q - p) at the k tokens, nothing at any other."""
    top = _fewer(top, params)
    if not _unsettled(params):
        return forward_of_top_gradient(student_NV, top, params.temperature)
    ids_NK, log_p_NK, log_q_NK = _renormalised(student_NV, top, params.temperature)
    pull_NK = (log_q_NK.exp() - log_p_NK.exp()) * params.temperature
    gradient_NV = student_NV.new_zeros(student_NV.shape).scatter_(-1, ids_NK, pull_NK)
    return divergence(log_p_NK, log_q_NK, params.temperature), gradient_NV


def value(student_NV: Any, teacher_NV: Any, target_N: Any, params: TopKKlParams) -> Any:
    """The same of a teacher of which all logits are known; with k as large as the vocabulary it is `kl`."""
    if params.k >= student_NV.shape[-1]:
        t = params.temperature
        return divergence(softened(teacher_NV, t), softened(student_NV, t), t)
    return of_top(student_NV, _of(teacher_NV, params), target_N, params)


def gradient(student_NV: Any, teacher_NV: Any, target_N: Any, params: TopKKlParams) -> tuple[Any, Any]:
    if params.k >= student_NV.shape[-1]:
        return forward_gradient(student_NV, teacher_NV, params.temperature)
    return of_top_gradient(student_NV, _of(teacher_NV, params), target_N, params)


def _may_become(params: TopKKlParams) -> list[TopKKlParams]:
    tails = ["bucket", "renormalise"] if params.tail == "auto" else [params.tail]
    return [params.model_copy(update={"tail": tail}) for tail in tails]


def _choose(params: TopKKlParams, mass: float) -> TopKKlParams:
    bucket, *more = _may_become(params)
    return more[0] if more and mass >= WHOLE else bucket


_MEANS: dict[str, str | bool] = {
    "formula": "bucket: T^2 * (sum_v p_v * (log p_v - log q_v) over the k likeliest v, + P * (log P - log Q)), P and Q "
    "the mass of all other v; renormalise: T^2 * sum_v p_v * (log p_v - log q_v) over the k, p and q renormalised over "
    "them; p = softmax(teacher / T), q = softmax(student / T)",
    "direction": "forward: KL(teacher || student)",
    "temperature": "both sides",
    "temperature_squared": True,
    "tail": "as declared: bucket (all others are one outcome, on both sides) or renormalise (the k alone, on both "
    f"sides); auto: renormalise where the mean mass of the k at T at the run's tokens is at least {WHOLE:g}, else "
    "bucket",
    "bound": "bucket: never more than over the whole vocabulary; renormalise: no bound",
}

LOSS = Loss(
    name="top_k_kl",
    version=1,
    params=TopKKlParams,
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
    settled=Settled(
        parameter="tail",
        tokens=lambda params: params.k,
        temperature=lambda params: params.temperature,
        may_become=_may_become,
        choose=_choose,
    ),
    hurts="`renormalise` with a teacher that spreads over more than the k: how much the student says beside them is "
    "then nobody's concern; a small k with either rule teaches nothing of the order among the others",
    source="arXiv 2503.16870 (what a tail that is left out does); ms-swift and ModelOpt renormalise, TRL's server uses "
    "one bucket",
)
