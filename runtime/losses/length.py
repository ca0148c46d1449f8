"""Student logits → how unlikely it is that the answer ends, at each token past the length that is allowed.

Only where the answer lacks a text that is required: what is long because it is complete costs nothing. The allowed
length is the teacher's and a margin of 15 per cent. Past it, the student's choice at each token is to go on or to end:
-log q(end) is the logarithm of one and the odds of going on against ending, so that the sum over an answer grows with
every token past the margin (a hinge in its length) and has a gradient at each of them. The length of a row alone is a
number that no weight of the student changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from runtime.contract import Loss, Params
from runtime.contract.objective import cross_entropy, cross_entropy_gradient, semantics
from runtime.contract.units import unit


class LengthParams(Params):
    margin: float = Field(
        default=0.15,
        ge=0,
        le=10,
        description="Share of the teacher's length by which an answer may be longer.",
        examples=[0.15],
        json_schema_extra=unit("1"),
    )


def _past(facts: Mapping[str, Any], params: LengthParams) -> Any:
    return facts["excess"] >= params.margin


def value(student_NV: Any, _teacher_NV: Any, _target_N: Any, params: LengthParams, *, facts: Mapping[str, Any]) -> Any:
    """-log q of the token that ends an answer, in nats, past the margin; 0 before it."""
    loss_N = cross_entropy(student_NV, facts["end"])
    return loss_N * _past(facts, params).to(loss_N.dtype)


def gradient(
    student_NV: Any, _teacher_NV: Any, _target_N: Any, params: LengthParams, *, facts: Mapping[str, Any]
) -> tuple[Any, Any]:
    loss_N, gradient_NV = cross_entropy_gradient(student_NV, facts["end"])
    past_N = _past(facts, params).to(loss_N.dtype)
    return loss_N * past_N, gradient_NV * past_N.unsqueeze(-1)


LOSS = Loss(
    name="length",
    version=1,
    params=LengthParams,
    needs=frozenset(),
    facts=frozenset({"end", "excess"}),
    mask="longer",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="-log softmax(student)[end] where the token begins past (1 + margin) of the teacher's length, else 0",
        direction="ending over going on, in answers that lack a required text",
        mask="longer",
        tail="every other token of the vocabulary goes on",
        vocabulary="the student's own; lengths are bytes of UTF-8",
    ),
    hurts="beside ce_truth over the same rows: one pulls on, the other ends; and in late stages, where an answer is "
    "cut short that thinks before it speaks: let a schedule bring the weight to 0",
    source="length-aware distillation as a hinge, on the student's own choice to end; this program",
)
