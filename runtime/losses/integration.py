"""Student logits → cross-entropy over the spans in which an answer carries over what a tool said, above all its facts.

A span of this kind is a sentence: a few tokens of it are what the tool said, the others are style. Counted alike, the
loss falls by style alone. So the tokens that share a byte with a span `fact` count 1, and those around them
`style_weight`; rows of which none says what in them is a fact are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from runtime.contract import Loss, Params
from runtime.contract.objective import OF_THE_ROW, cross_entropy, cross_entropy_gradient, semantics
from runtime.contract.units import unit


class IntegrationParams(Params):
    style_weight: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="How much a token of the span counts that carries no fact; one that does counts 1.",
        examples=[0.1],
        json_schema_extra=unit("1"),
    )


def _weight(fact_N: Any, params: IntegrationParams) -> Any:
    return params.style_weight + (1.0 - params.style_weight) * fact_N


def value(
    student_NV: Any, _teacher_NV: Any, target_N: Any, params: IntegrationParams, *, facts: Mapping[str, Any]
) -> Any:
    """w · -log q of the row's token in nats, w 1 or `style_weight`."""
    loss_N = cross_entropy(student_NV, target_N)
    return loss_N * _weight(facts["fact"].to(loss_N.dtype), params)


def gradient(
    student_NV: Any, _teacher_NV: Any, target_N: Any, params: IntegrationParams, *, facts: Mapping[str, Any]
) -> tuple[Any, Any]:
    loss_N, gradient_NV = cross_entropy_gradient(student_NV, target_N)
    weight_N = _weight(facts["fact"].to(loss_N.dtype), params)
    return loss_N * weight_N, gradient_NV * weight_N.unsqueeze(-1)


LOSS = Loss(
    name="integration",
    version=1,
    params=IntegrationParams,
    needs=frozenset(),
    facts=frozenset({"fact"}),
    mask="integration",
    value=value,
    gradient=gradient,
    semantics=semantics(
        **{**OF_THE_ROW, "formula": "w * -log softmax(student)[token], w 1 at tokens of a `fact`, else style_weight"},
        mask="integration",
    ),
    hurts="where a fact can be guessed without the tool's result: the student learns to say it from the question alone",
    source="cross-entropy over a span, weighed by what the tool said; this program",
)
