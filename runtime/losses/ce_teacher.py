"""Student and teacher logits → cross-entropy against the token the teacher finds likeliest at that position."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, Params


class CeTeacherParams(Params):
    """Nothing to choose."""


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: CeTeacherParams) -> Any:
    """-log q of argmax(teacher) in nats; of equal logits the lowest id counts.

    Hard-label distillation: it asks the teacher for logits only, not for text of its own.
    """
    label_N1 = teacher_NV.argmax(-1, keepdim=True)
    return -student_NV.log_softmax(-1).gather(-1, label_N1).squeeze(-1)


LOSS = Loss(
    name="ce_teacher",
    version=1,
    params=CeTeacherParams,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    semantics={
        "formula": "-log softmax(student)[argmax_v teacher_v]",
        "direction": "cross-entropy; label = argmax of the teacher's logits at the same position, lowest id on a tie",
        "temperature": "none",
        "temperature_squared": False,
        "mask": "response",
        "shift": "logits at position i-1 predict token i",
        "denominator": "supervised tokens of this term in the whole optimiser batch",
        "tail": "none: every entry of the vocabulary counts",
        "vocabulary": "equal widths, else refused",
        "unit": "nat/token",
    },
)
