"""Student logits and the teacher's own answer → cross-entropy against that answer, token by token.

Distillation without a shared vocabulary: the teacher gives text, the student's tokenizer makes it into targets.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, Params


class SequenceKdParams(Params):
    """Nothing to choose."""


def value(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: SequenceKdParams) -> Any:
    """-log q of the token that the teacher's answer holds, in nats (Kim and Rush, arXiv 1606.07947, section 3.2)."""
    return -student_NV.log_softmax(-1).gather(-1, target_N.unsqueeze(-1)).squeeze(-1)


LOSS = Loss(
    name="sequence_kd",
    version=1,
    params=SequenceKdParams,
    needs=frozenset({"text"}),
    mask="response",
    value=value,
    semantics={
        "formula": "-log softmax(student)[token i of the teacher's answer]",
        "direction": "cross-entropy against one answer of the teacher, as it was sampled",
        "temperature": "of the teacher's sampling",
        "temperature_squared": False,
        "mask": "response",
        "shift": "logits at position i-1 predict token i",
        "denominator": "supervised tokens of this term in the whole optimiser batch",
        "tail": "none: the answer alone counts",
        "vocabulary": "the student's; the teacher gives text",
        "unit": "nat/token",
    },
)
