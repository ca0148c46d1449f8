"""Student logits → cross-entropy against the tokens of the clause that decides a pair, and nowhere else."""

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
    name="clause",
    version=1,
    params=Plain,
    needs=frozenset(),
    mask="clause",
    value=value,
    gradient=gradient,
    semantics=semantics(**OF_THE_ROW, mask="clause"),
    hurts="alone: the verdict and the end of the answer stay untrained",
    source="cross-entropy over a span; this program",
)
