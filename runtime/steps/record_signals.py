"""Rows × teacher → what it says at every supervised token, computed once for all that is trained by it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step
from runtime.contract.code import TRAINING
from runtime.contract.placing import Card, Device, Precision, Tolerance, promise
from runtime.contract.rounding import Rounded
from runtime.contract.signals import Stored
from runtime.contract.units import unit


class RecordSignalsParams(Params):
    store: Stored
    #: those at which losses read the mass of what is not stored, and 1; of form `top_k`
    temperatures: list[Annotated[float, Field(gt=0)]]
    #: whose response a row is trained on: the data's own, or the teacher's
    responses: Literal["data", "teacher"] = "data"
    #: longest row
    max_length: int = Field(ge=2, json_schema_extra=unit("token"))
    threads: int = Field(default=2, ge=1)
    #: where the student will be trained, and where its teacher then is if not there; in which floats both compute
    device: Device = "cpu"
    teacher_device: Card | None = None
    precision: Precision = "fp32"
    #: the teacher's linear layers rounded to so many bits, the rest in bfloat16; None: as its checkpoint is
    teacher_weights: Rounded | None = None


def promised(params: RecordSignalsParams) -> str:
    return promise(params.device, params.precision, params.teacher_device)


def takes(params: RecordSignalsParams) -> Ports:
    ports = {
        "dataset": Port(kind="dataset"),
        "tokenizer": Port(kind="tokenizer"),
        "teacher": Port(kind="checkpoint"),
    }
    if params.responses == "teacher":
        ports["answers"] = Port(kind="answers")
    return ports


def run(takes: Mapping[str, Path], params: RecordSignalsParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="record_signals",
    version=1,
    params=RecordSignalsParams,
    takes=takes,
    gives={"signals": Port(kind="signals"), "report": Port(kind="report", report="teacher.signals")},
    backend="torch",
    run=run,
    promise=promised,
    # how likely the rows are to the teacher: rounding moves it by thousandths
    tolerance=Tolerance(absolute=0.02, relative=0.02, of=("nll",)),
    code=TRAINING,
    lighter="take a smaller teacher, or shorter rows",
)
