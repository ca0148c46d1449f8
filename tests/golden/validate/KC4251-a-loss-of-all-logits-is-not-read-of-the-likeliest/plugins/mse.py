"""The squared difference of two logits, after each side's mean is taken off."""

from typing import Any

from runtime.contract import Loss
from runtime.contract.objective import Plain, semantics


def value(student_NV: Any, teacher_NV: Any, _target_N: Any, _params: Plain) -> Any:
    mine_NV, theirs_NV = (one - one.mean(-1, keepdim=True) for one in (student_NV, teacher_NV))
    return ((mine_NV - theirs_NV) ** 2).mean(-1)


LOSS = Loss(
    name="logit_mse",
    version=1,
    params=Plain,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    semantics=semantics(formula="mean_v (s_v - t_v)^2, each less its mean", unit="nat^2/token"),
    divergence=True,
)
