"""Student logits and the teacher's log-probabilities of the permitted answers → KL(teacher ‖ student) over these alone.

Distillation between different vocabularies where a row has few answers, such as A, B, C and D: both sides are
renormalised over them, so that nothing else of either vocabulary is compared.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from runtime.contract import Loss
from runtime.contract.objective import Softened, divergence, forward_gradient, semantics, softened
from runtime.contract.units import unit


class ChoiceKlParams(Softened):
    temperature: float = Field(
        default=1.0,
        ge=0.01,
        le=100,
        description="Divides both sides before the softmax.",
        examples=[1.0],
        json_schema_extra=unit("1"),
    )


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, params: ChoiceKlParams) -> Any:
    """T² · Σ_c p_c (log p_c - log q_c) in nats over the choices c; `teacher_NV` is -inf at every other entry."""
    t = params.temperature
    chosen_NV = student_NV.masked_fill(teacher_NV.isinf(), float("-inf"))
    return divergence(softened(teacher_NV, t), softened(chosen_NV, t), t)


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, params: ChoiceKlParams) -> tuple[Any, Any]:
    chosen_NV = student_NV.masked_fill(teacher_NV.isinf(), float("-inf"))
    return forward_gradient(chosen_NV, teacher_NV, params.temperature)


LOSS = Loss(
    name="choice_kl",
    version=1,
    params=ChoiceKlParams,
    needs=frozenset({"choices"}),
    mask="choice",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="T^2 * sum_c p_c * (log p_c - log q_c), p and q softmax over the choices of a row at T",
        direction="forward: KL(teacher || student)",
        temperature="both sides",
        temperature_squared=True,
        mask="choice",
        tail="dropped on both sides: only the row's choices count, renormalised",
        vocabulary="any two: a choice is one token of the student in its place",
    ),
    divergence=True,
    hurts="where the permitted answers are not what a model says there: nothing is learnt of how likely any of them is"
    " among all tokens",
    source="KL over the answers of a row; this program",
)
