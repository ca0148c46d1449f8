"""ONNX files × golden vectors × the converted program → who is wrong where the three do not agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Port, Step
from runtime.contract.covering import Covering
from runtime.contract.units import unit


class VerifyOnnxParams(Covering):
    #: largest difference over the largest value of two executions of one float32 function
    tolerance: float = Field(gt=0, le=1e-4, json_schema_extra=unit("1"))
    threads: int = Field(default=2, ge=1)


def run(takes: Mapping[str, Path], params: VerifyOnnxParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="verify_onnx",
    version=1,
    params=VerifyOnnxParams,
    takes={
        "onnx": Port(kind="onnx"),
        "float32": Port(kind="float32"),
        "goldens": Port(kind="goldens"),
        "checkpoint": Port(kind="checkpoint"),
        "tokenizer": Port(kind="tokenizer"),
        "dataset": Port(kind="dataset"),
    },
    gives={"report": Port(kind="report", report="onnx.parity")},
    backend="onnx",
    run=run,
    code=(
        "runtime.mil",
        "runtime.steps.verify",
        "runtime.contract.program",
        "runtime.contract.covering",
        "runtime.contract.authoring",
        "runtime.contract.targets",
        "runtime.contract.recipe",
        "runtime.contract.report",
        "runtime.contract.heads",
    ),
    lighter="take a smaller student, or shorter shapes",
)
