"""Saved packages × golden vectors → parity, shapes, finiteness and the recipe as it stands in the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from runtime.contract import Context, Params, Port, Step
from runtime.contract.recipe import Recipe


class VerifyParams(Params):
    recipe: Recipe
    islands: list[str]
    mode: Literal["exact32", "fp16_round", "fp16_strict"] = "fp16_round"


def run(takes: Mapping[str, Path], params: VerifyParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="verify",
    version=1,
    params=VerifyParams,
    takes={
        "package": Port(kind="package"),
        "goldens": Port(kind="goldens"),
        "checkpoint": Port(kind="checkpoint"),
        "tokenizer": Port(kind="tokenizer"),
        "dataset": Port(kind="dataset"),
    },
    gives={"report": Port(kind="report", report="coreml.parity")},
    backend="coreml",
    run=run,
    code=("runtime.mil", "runtime.contract.program", "runtime.contract.recipe", "runtime.contract.report"),
)
