"""A divergence that forgets the factor T²."""

from pydantic import Field

from runtime.contract import Loss, Params


class SoftParams(Params):
    temperature: float = Field(default=4.0, gt=0)


def value(student_NV, teacher_NV, _target_N, params):
    student = (student_NV / params.temperature).log_softmax(-1)
    teacher = (teacher_NV / params.temperature).log_softmax(-1)
    return (teacher.exp() * (teacher - student)).sum(-1)


LOSS = Loss(
    name="soft",
    version=1,
    params=SoftParams,
    needs=frozenset({"logits"}),
    mask="response",
    value=value,
    semantics={"temperature": "both sides", "temperature_squared": False},
)
