"""Student logits → cross-entropy against the row's tokens inside the JSON-argument spans, and nowhere else."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, Params


class JsonArgsParams(Params):
    """Nothing to choose."""


def value(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: JsonArgsParams) -> Any:
    """-log q of the row's token in nats."""
    return -student_NV.log_softmax(-1).gather(-1, target_N.unsqueeze(-1)).squeeze(-1)


LOSS = Loss(
    name="json_args",
    version=1,
    params=JsonArgsParams,
    needs=frozenset(),
    mask="json_args",
    value=value,
    semantics={
        "formula": "-log softmax(student)[token]",
        "direction": "cross-entropy; label = token of the dataset row",
        "temperature": "none",
        "temperature_squared": False,
        "mask": "json_args",
        "shift": "logits at position i-1 predict token i",
        "denominator": "supervised tokens of this term in the whole optimiser batch",
        "tail": "none: every entry of the vocabulary counts",
        "vocabulary": "student width equals the tokenizer's size, else refused",
        "unit": "nat/token",
    },
)
