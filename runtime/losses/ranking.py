"""Student logits → how far the verdict of a pair stands above everything else that might be said there, by a margin.

The Bradley-Terry model of a comparison with a margin m: -log σ(z_winner - z_rivals - m) in nats, where z_rivals is the
log-sum-exp of every other token (Bradley and Terry 1952; RankNet, Burges et al. 2005; the margin as in Llama 2,
arXiv 2307.09288, section 3.2.2). Without a margin it is the cross-entropy of the verdict; a margin goes on pulling
pairs apart that are already ranked rightly, though not by enough.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from runtime.contract import Loss, Params
from runtime.contract.objective import odds, semantics
from runtime.contract.units import unit


class RankingParams(Params):
    margin: float = Field(
        default=1.0,
        ge=0,
        le=20,
        description="By how many nats of log-odds the verdict is to stand above all else; 0 gives the cross-entropy.",
        examples=[1.0],
        json_schema_extra=unit("nat"),
    )


def value(student_NV: Any, _teacher_NV: Any, target_N: Any, params: RankingParams) -> Any:
    """log(1 + exp(m - d)), d the log-odds of the verdict; stable at both ends. loss_N."""
    odds_N, _, _ = odds(student_NV, target_N)
    short_N = params.margin - odds_N
    return short_N.logaddexp(short_N.new_zeros(()))


def gradient(student_NV: Any, _teacher_NV: Any, target_N: Any, params: RankingParams) -> tuple[Any, Any]:
    """σ(m - d) · (softmax over the rivals - [v = target])."""
    odds_N, rivals_N, rivals_NV = odds(student_NV, target_N)
    short_N = params.margin - odds_N
    pull_N1 = short_N.sigmoid().unsqueeze(-1)
    gradient_NV = (rivals_NV - rivals_N.unsqueeze(-1)).exp() * pull_N1
    return short_N.logaddexp(short_N.new_zeros(())), gradient_NV.scatter(-1, target_N.unsqueeze(-1), -pull_N1)


LOSS = Loss(
    name="ranking",
    version=1,
    params=RankingParams,
    needs=frozenset(),
    mask="choice",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="log(1 + exp(m - (z_y - logsumexp over v != y of z_v))), y the row's verdict",
        direction="the verdict of the row over everything else that might stand there",
        mask="choice",
        tail="every other token of the vocabulary is a rival",
        vocabulary="the student's own",
    ),
    hurts="with a large margin and wrong verdicts among the rows: it goes on pulling at what is already ranked as the "
    "row says",
    source="Bradley and Terry (1952); Burges et al., RankNet (2005); the margin as in Llama 2 (arXiv 2307.09288)",
)
