"""Student logits → cross-entropy against the row's tokens inside the spans of what the answer must claim."""

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
    name="claims",
    version=1,
    params=Plain,
    needs=frozenset(),
    mask="claims",
    value=value,
    gradient=gradient,
    semantics=semantics(**OF_THE_ROW, mask="claims"),
    hurts="where a claim is not proven by what stands before it: the student learns to claim it anyway",
    source="cross-entropy over a span; this program",
)
