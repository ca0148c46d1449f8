"""Student logits and the teacher's own answer → cross-entropy against that answer, token by token.

Distillation without a shared vocabulary: the teacher gives text, the student's tokenizer makes it into targets.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss
from runtime.contract.objective import Plain, cross_entropy, cross_entropy_gradient, semantics


def value(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: Plain) -> Any:
    """-log q of the token that the teacher's answer holds, in nats (Kim and Rush, arXiv 1606.07947, section 3.2)."""
    return cross_entropy(student_NV, target_N)


def gradient(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: Plain) -> tuple[Any, Any]:
    return cross_entropy_gradient(student_NV, target_N)


LOSS = Loss(
    name="sequence_kd",
    version=1,
    params=Plain,
    needs=frozenset({"text"}),
    mask="response",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="-log softmax(student)[token i of the teacher's answer]",
        direction="cross-entropy against one answer of the teacher, as it was sampled",
        temperature="of the teacher's sampling",
        tail="none: the answer alone counts",
        vocabulary="the student's; the teacher gives text",
    ),
    hurts="with few answers of the teacher: one sample stands for all that it might have said",
    source="Kim and Rush (arXiv 1606.07947)",
)
