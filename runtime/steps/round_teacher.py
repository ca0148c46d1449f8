"""Teacher × rows → what is lost when its weights are rounded to few bits, as a training holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Step
from runtime.contract.code import TRAINING
from runtime.contract.placing import Card, Tolerance, promise
from runtime.contract.rounding import Rounded
from runtime.contract.units import unit


class RoundTeacherParams(Params):
    weights: Rounded
    #: longest row
    max_length: int = Field(ge=2, json_schema_extra=unit("token"))
    threads: int = Field(default=2, ge=1)
    #: where the teacher will teach
    device: Card = "cpu"


def promised(params: RoundTeacherParams) -> str:
    return promise(params.device.partition(":")[0])


def run(takes: Mapping[str, Path], params: RoundTeacherParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="round_teacher",
    version=1,
    params=RoundTeacherParams,
    takes={
        "dataset": Port(kind="dataset"),
        "tokenizer": Port(kind="tokenizer"),
        "teacher": Port(kind="checkpoint"),
    },
    gives={"report": Port(kind="report", report="teacher.rounding")},
    backend="torchao",
    run=run,
    promise=promised,
    # between processor and card the same rounded weights differ by rounding of bfloat16
    tolerance=Tolerance(absolute=0.02, relative=0.2, of=("divergence",)),
    code=TRAINING,
    lighter="take a smaller teacher",
)
