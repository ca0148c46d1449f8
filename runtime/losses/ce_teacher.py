"""Student and teacher logits → cross-entropy against the token the teacher finds likeliest at that position."""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss, OfTop
from runtime.contract.objective import Plain, Top, cross_entropy, cross_entropy_gradient, semantics


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> Any:
    """-log q of argmax(teacher) in nats; of equal logits the lowest id counts.

    Hard-label distillation: it asks the teacher for logits only, not for text of its own.
    """
    return cross_entropy(student_NV, teacher_NV.argmax(-1))


def gradient(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> tuple[Any, Any]:
    return cross_entropy_gradient(student_NV, teacher_NV.argmax(-1))


def _label(top: Top) -> Any:
    """The likeliest of the stored tokens; their ids ascend, so that of equal ones the lowest counts here, too."""
    return top.ids_NK.gather(-1, top.log_NK.argmax(-1, keepdim=True)).squeeze(-1).long()


def of_top(student_NV: Any, top: Top, _target_N: Any, _params: Plain) -> Any:
    """The same number: the likeliest token is among the likeliest."""
    return cross_entropy(student_NV, _label(top))


def of_top_gradient(student_NV: Any, top: Top, _target_N: Any, _params: Plain) -> tuple[Any, Any]:
    return cross_entropy_gradient(student_NV, _label(top))


_MEANS = semantics(
    formula="-log softmax(student)[argmax_v teacher_v]",
    direction="cross-entropy; label = argmax of the teacher's logits at the same position, lowest id on a tie",
    vocabulary="equal widths, else refused",
)

LOSS = Loss(
    name="ce_teacher",
    version=1,
    params=Plain,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    gradient=gradient,
    semantics=_MEANS,
    top=OfTop(value=of_top, gradient=of_top_gradient, temperatures=lambda _params: [], semantics=_MEANS),
    hurts="where the teacher is unsure: the likeliest of several good tokens is taught as the only one, which kl would"
    " not do",
    source="Hinton, Vinyals and Dean (arXiv 1503.02531), hard labels",
)
