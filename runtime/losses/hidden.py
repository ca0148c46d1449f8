"""Hidden states of student and teacher → how far a layer of the one is from a layer of the other, at each token.

Intermediate-layer matching (FitNets, Romero et al., arXiv 1412.6550; Patient Knowledge Distillation, Sun et al., arXiv
1908.09355; TinyBERT, Jiao et al., arXiv 1909.10351). Where the widths differ a matrix that is trained beside the
student brings its states to the teacher's width; it is no part of what is exported.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from runtime.contract import Loss
from runtime.contract.layers import STATES, Layers, Mapped
from runtime.contract.objective import semantics

#: below this a state counts as none, so that nothing is divided by zero
LEAST = 1e-12


class HiddenParams(Mapped):
    distance: Literal["mse", "cosine"] = Field(
        default="mse",
        description="`mse`: the mean over a state's numbers of their squared difference. `cosine`: 1 - the cosine of "
        "the angle between the two states, whatever their lengths.",
        examples=["mse"],
    )
    normalise: bool = Field(
        default=False,
        description="Divide `mse` by the mean square of the teacher's state, so that layers of any scale count alike.",
    )

    @model_validator(mode="after")
    def _is_read(self) -> HiddenParams:
        if self.normalise and self.distance == "cosine":
            raise ValueError("`normalise` has no effect on a cosine, which has no scale: remove it")
        return self


def value(student_NH: Any, teacher_NH: Any, _target_N: Any, params: HiddenParams) -> Any:
    """mean_h (x_h - y_h)², with `normalise` divided by mean_h y_h²; or 1 - x·y / (‖x‖ ‖y‖). loss_N, without unit."""
    if params.distance == "cosine":
        lengths = [one.square().sum(-1).clamp(min=LEAST).sqrt() for one in (student_NH, teacher_NH)]
        return 1.0 - (student_NH * teacher_NH).sum(-1) / (lengths[0] * lengths[1])
    apart_N = (student_NH - teacher_NH).square().mean(-1)
    return apart_N / teacher_NH.square().mean(-1).clamp(min=LEAST) if params.normalise else apart_N


LOSS = Loss(
    name="hidden",
    version=1,
    params=HiddenParams,
    needs=frozenset({STATES}),
    mask="response",
    value=value,
    semantics=semantics(
        formula="mse: mean_h (x_h - y_h)^2, with normalise / mean_h y_h^2; cosine: 1 - x.y / (|x| |y|); "
        "x = W state_s of the student, y = state_t of the teacher; mean over the pairs (s, t)",
        direction="the student's states towards the teacher's, which are constant",
        layers="as hidden_states of Transformers: 0 the embedding, the last after the final normalisation",
        projection="W: teacher width x student width, no bias, trained, not exported; none where the widths are equal",
        shift="states at position i-1, which predict token i",
        tail="none: no vocabulary is read",
        vocabulary="the teacher reads the student's ids",
        unit="1/token",
    ),
    divergence=True,
    shift_invariant=False,
    layers=Layers(signal=STATES, projects=True),
    hurts="where states grow with depth, so that late layers drown other terms: normalise, or take a cosine or a small "
    "weight; and a student much smaller than its teacher, which spends on states what it needs for words",
    source="FitNets (Romero et al., arXiv 1412.6550), TinyBERT (Jiao et al., arXiv 1909.10351)",
)
