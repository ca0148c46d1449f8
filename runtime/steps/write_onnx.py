"""An exported program → an ONNX file per function, all of which share one file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.contract import Context, Params, Port, Step


class WriteOnnxParams(Params):
    pass


def run(takes: Mapping[str, Path], params: WriteOnnxParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="write_onnx",
    version=1,
    params=WriteOnnxParams,
    takes={"program": Port(kind="program")},
    gives={"onnx": Port(kind="onnx")},
    backend="onnx",
    run=run,
    code=(
        "runtime.models.onnx_files",
        "runtime.mil.archives",
        "runtime.contract.program",
        "runtime.contract.authoring",
        "runtime.contract.targets",
        "runtime.contract.heads",
    ),
    lighter="take a smaller student, or fewer and shorter shapes.prefill",
)
