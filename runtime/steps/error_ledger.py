"""Saved packages × checkpoint × golden vectors → what float32, float16 and quantization lose, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.contract import Context, Port, Step
from runtime.contract.covering import Covering
from runtime.contract.units import unit


class ErrorLedgerParams(Covering):
    #: the most that a block or the logits may be off, as the mean relative L2 of their positions: the float32 form and
    #: the float16 form from the checkpoint, the quantized one from either
    float32: float = Field(gt=0, le=1e-4, json_schema_extra=unit("1"))
    float16: float = Field(gt=0, le=0.02, json_schema_extra=unit("1"))
    quantized: float = Field(gt=0, le=1, json_schema_extra=unit("1"))
    threads: int = Field(default=2, ge=1)
    mode: Literal["exact32", "fp16_round", "fp16_strict"] = "fp16_round"


def run(takes: Mapping[str, Path], params: ErrorLedgerParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="error_ledger",
    version=1,
    params=ErrorLedgerParams,
    takes={
        "package": Port(kind="package"),
        "float32": Port(kind="float32"),
        "goldens": Port(kind="goldens"),
        "checkpoint": Port(kind="checkpoint"),
        "tokenizer": Port(kind="tokenizer"),
        "dataset": Port(kind="dataset"),
    },
    gives={"report": Port(kind="report", report="quantization.ledger")},
    backend="coreml",
    run=run,
    code=(
        "runtime.mil",
        "runtime.models.error_ledger",
        "runtime.models.blocks",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.threads",
        "runtime.contract.program",
        "runtime.contract.covering",
        "runtime.contract.chunks",
        "runtime.contract.authoring",
        "runtime.contract.targets",
        "runtime.contract.recipe",
        "runtime.contract.report",
        "runtime.contract.shards",
        "runtime.contract.architecture",
        "runtime.contract.families",
        "runtime.contract.rotation",
        "runtime.contract.windows",
        "runtime.contract.strict_json",
        "runtime.contract.heads",
        "runtime.models.heads",
    ),
    lighter="take a smaller student, or fewer and shorter shapes.prefill",
)
