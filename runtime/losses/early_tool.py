"""Student logits → how unlikely a call begins, at each token that a right call could have begun at and did not.

Only in rows whose call is right by what the row wants (`wanted.calls`): spoken words before a call cost the more the
longer they go on, and calling where no call is due is never learnt from it. Within the first tokens of an answer the
target is the token that opens the row's own call, at each place up to where it is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from runtime.contract import Loss, Params
from runtime.contract.objective import cross_entropy, cross_entropy_gradient, semantics
from runtime.contract.units import unit


class EarlyToolParams(Params):
    first: int = Field(
        default=25,
        ge=1,
        le=4096,
        description="Within how many tokens of the answer.",
        examples=[25],
        json_schema_extra=unit("token"),
    )


def _within(facts: Mapping[str, Any], params: EarlyToolParams) -> Any:
    return facts["place"] < params.first


def value(
    student_NV: Any, _teacher_NV: Any, _target_N: Any, params: EarlyToolParams, *, facts: Mapping[str, Any]
) -> Any:
    """-log q of the token that opens the call, in nats; 0 past the first tokens."""
    loss_N = cross_entropy(student_NV, facts["opens"])
    return loss_N * _within(facts, params).to(loss_N.dtype)


def gradient(
    student_NV: Any, _teacher_NV: Any, _target_N: Any, params: EarlyToolParams, *, facts: Mapping[str, Any]
) -> tuple[Any, Any]:
    loss_N, gradient_NV = cross_entropy_gradient(student_NV, facts["opens"])
    within_N = _within(facts, params).to(loss_N.dtype)
    return loss_N * within_N, gradient_NV * within_N.unsqueeze(-1)


LOSS = Loss(
    name="early_tool",
    version=1,
    params=EarlyToolParams,
    needs=frozenset(),
    facts=frozenset({"opens", "place"}),
    mask="before_call",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="-log softmax(student)[opening token of the row's call] at each of the first tokens up to the call",
        direction="calling now over going on, in rows whose call is right",
        mask="before_call",
        tail="every other token of the vocabulary goes on",
        vocabulary="the student's own",
    ),
    hurts="from the first step on: a student that cannot write a call yet learns to open one and no more; let a "
    "schedule begin at 0. Without rows where no call is due, every answer begins with one",
    source="early tool call of the origin's recipe, held to right calls; this program",
)
