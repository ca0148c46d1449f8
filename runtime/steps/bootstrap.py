"""Dataset → a small real teacher with full logits, trained by cross-entropy on the spec's own training split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from runtime.contract import UNKEYED, Context, Params, Port, Step
from runtime.contract.architecture import Architecture
from runtime.contract.code import TRAINING
from runtime.contract.optimizer import Optimizer
from runtime.contract.placing import Device, Precision, Tolerance, promise


class BootstrapParams(Params):
    architecture: Architecture
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    #: longer rows are refused, not cut
    max_length: int = Field(ge=8)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    checkpoint_every: Annotated[int, UNKEYED] = Field(default=100, ge=1)
    threads: int = Field(default=2, ge=1)
    device: Device = "cpu"
    precision: Precision = "fp32"


def promised(params: BootstrapParams) -> str:
    return promise(params.device, params.precision)


def run(takes: Mapping[str, Path], params: BootstrapParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="bootstrap",
    version=1,
    params=BootstrapParams,
    takes={"dataset": Port(kind="dataset"), "tokenizer": Port(kind="tokenizer")},
    gives={"checkpoint": Port(kind="checkpoint"), "report": Port(kind="report", report="training")},
    backend="torch",
    run=run,
    promise=promised,
    tolerance=Tolerance(absolute=0.01, relative=0.05, of=("terms.*.final",)),
    code=(*TRAINING, "runtime.losses.ce_truth"),
)
