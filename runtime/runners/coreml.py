"""The saved Core ML package, predicted by Core ML itself on a Mac; elsewhere it is refused as unavailable."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.contract import METHODS, Params, RunnerKind
from runtime.contract.targets import ComputeUnits


class CoreMLParams(Params):
    variant: Literal["quantized", "fp16"] = Field(
        default="quantized",
        description="Which package: what ships, or the float16 one beside it.",
        examples=["fp16"],
    )
    compute_units: ComputeUnits | None = Field(
        default=None,
        description="Where Core ML may compute; absent: as the package's contract has it, from `export.compute_units`.",
        examples=["cpu_only"],
    )


RUNNER = RunnerKind(
    name="coreml",
    version=1,
    params=CoreMLParams,
    opens="runtime.asking.packaged:predicted",
    can=frozenset(METHODS),
    backend="coreml",
    takes="package",
    repeatable=False,
)
