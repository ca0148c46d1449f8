"""A checkpoint, a recipe and rows → the stored form of each matrix whose outputs on these rows are nearest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Port, Step
from runtime.contract.calibration import Calibration
from runtime.contract.recipe import Recipe


class CalibrateParams(Calibration):
    recipe: Recipe
    #: linear layers that read integers, by name (`runtime.contract.activations`)
    activations: list[str] = Field(default_factory=list, exclude_if=lambda patterns: not patterns)
    threads: int = Field(default=2, ge=1)


def run(takes: Mapping[str, Path], params: CalibrateParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="calibrate",
    version=1,
    params=CalibrateParams,
    takes={"checkpoint": Port(kind="checkpoint"), "tokenizer": Port(kind="tokenizer"), "dataset": Port(kind="dataset")},
    gives={
        "stored": Port(kind="stored"),
        "report": Port(kind="report", report="quantization.calibration"),
    },
    backend="torch",
    run=run,
    code=(
        "runtime.models.threads",
        "runtime.models.calibration",
        "runtime.models.calibrating",
        "runtime.models.samples",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.tokenizer",
        "runtime.mil.activations",
        "runtime.mil.gptq",
        "runtime.mil.kmeans",
        "runtime.mil.quantize",
        "runtime.mil.stored",
        "runtime.mil.lazy",
        "runtime.data.conditions",
        "runtime.data.encode",
        "runtime.steps.tokenizer",
        "runtime.contract.activations",
        "runtime.contract.calibration",
        "runtime.contract.architecture",
        "runtime.contract.conversation",
        "runtime.contract.families",
        "runtime.contract.pairs",
        "runtime.contract.rotation",
        "runtime.contract.rows",
        "runtime.contract.scenario",
        "runtime.contract.shards",
        "runtime.contract.spool",
        "runtime.contract.strict_json",
        "runtime.contract.templates",
        "runtime.contract.vocabulary",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.windows",
        "runtime.contract.recipe",
        "runtime.contract.report",
        "runtime.contract.heads",
        "runtime.models.heads",
    ),
    lighter="take fewer rows of calibration, or a smaller student",
)
