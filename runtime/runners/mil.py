"""The saved Core ML package in our MIL interpreter, with keys and values kept by the host as an app keeps them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.contract import METHODS, Params, RunnerKind


class MilParams(Params):
    variant: Literal["quantized", "fp16"] = Field(
        default="quantized",
        description="Which package: what ships, or the float16 one beside it.",
        examples=["fp16"],
    )


RUNNER = RunnerKind(
    name="mil",
    version=1,
    params=MilParams,
    opens="runtime.asking.packaged:opened",
    can=frozenset(METHODS),
    backend="torch",
    takes="package",
)
