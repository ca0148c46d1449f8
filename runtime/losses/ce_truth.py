"""Student logits → cross-entropy against the tokens of the dataset row: what a language model is trained on."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, Params


class CeTruthParams(Params):
    """Nothing to choose."""


def value(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: CeTruthParams) -> Any:
    """-log q of the row's token in nats."""
    return -student_NV.log_softmax(-1).gather(-1, target_N.unsqueeze(-1)).squeeze(-1)


LOSS = Loss(
    name="ce_truth",
    version=1,
    params=CeTruthParams,
    needs=frozenset(),
    mask="response",
    value=value,
    semantics={
        "formula": "-log softmax(student)[token]",
        "direction": "cross-entropy; label = token of the dataset row",
        "temperature": "none",
        "temperature_squared": False,
        "mask": "response",
        "shift": "logits at position i-1 predict token i",
        "denominator": "supervised tokens of this term in the whole optimiser batch",
        "tail": "none: every entry of the vocabulary counts",
        "vocabulary": "student width equals the tokenizer's size, else refused",
        "unit": "nat/token",
    },
)
