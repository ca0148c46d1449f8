"""Student logits → cross-entropy against the tokens of the dataset row: what a language model is trained on."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss
from runtime.contract.objective import OF_THE_ROW, Plain, cross_entropy, cross_entropy_gradient, semantics


def value(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: Plain) -> Any:
    """-log q of the row's token in nats."""
    return cross_entropy(student_NV, target_N)


def gradient(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: Plain) -> tuple[Any, Any]:
    return cross_entropy_gradient(student_NV, target_N)


LOSS = Loss(
    name="ce_truth",
    version=1,
    params=Plain,
    needs=frozenset(),
    mask="response",
    value=value,
    gradient=gradient,
    semantics=semantics(**OF_THE_ROW),
    hurts="beside a teacher that answers better than the rows do: the two pull apart; and where rows repeat an answer,"
    " which is then learnt by heart",
    source="cross-entropy of a language model",
)
