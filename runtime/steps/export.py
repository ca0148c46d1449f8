"""Checkpoint → one ExportedProgram per function, its contract, and golden vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Step
from runtime.contract.authoring import Profile
from runtime.contract.chunks import MOST
from runtime.contract.heads import Name
from runtime.contract.placing import Device, Tolerance, promise
from runtime.contract.targets import Strategy


class ExportParams(Params):
    prefill: list[int] = Field(min_length=1)
    #: cache length of the decode function, in tokens
    decode_context: int = Field(ge=8)
    #: "multifunction": one prefill function per length; "enumerated": one for all of them
    strategy: Strategy = Field(default="multifunction", exclude_if=lambda kept: kept == "multifunction")
    #: additive value of a masked position; finite in float16
    mask_value: float = Field(default=-1e4, le=-1e3, ge=-6e4)
    #: test prompts behind the golden vectors of each function
    golden_prompts: int = Field(default=2, ge=1)
    #: cached steps of every golden decode
    decode_steps: int = Field(default=4, ge=1)
    #: packages that the layers are split over (`runtime.contract.chunks`)
    chunks: int = Field(default=1, ge=1, le=MOST, exclude_if=lambda count: count == 1)
    #: the unit that the functions are written for
    profile: Profile = Field(default="gpu", exclude_if=lambda profile: profile == "gpu")
    #: what the student says beside the next token
    heads: list[Name] = Field(default_factory=list, exclude_if=lambda named: not named)
    threads: int = Field(default=2, ge=1)
    device: Device = "cpu"


def promised(params: ExportParams) -> str:
    return promise(params.device)


def run(takes: Mapping[str, Path], params: ExportParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="export",
    version=1,
    params=ExportParams,
    takes={"dataset": Port(kind="dataset"), "tokenizer": Port(kind="tokenizer"), "checkpoint": Port(kind="checkpoint")},
    gives={
        "program": Port(kind="program"),
        "goldens": Port(kind="goldens"),
        "report": Port(kind="report", report="export.lint"),
    },
    backend="torch",
    run=run,
    promise=promised,
    tolerance=Tolerance(absolute=0.0, relative=0.0, of=("violations",)),
    code=(
        "runtime.models.threads",
        "runtime.models.device",
        "runtime.contract.placing",
        "runtime.models.export",
        "runtime.models.capping",
        "runtime.models.enumerated",
        "runtime.mil.archives",
        "runtime.models.rotation",
        "runtime.models.wrapper",
        "runtime.models.chunking",
        "runtime.contract.chunks",
        "runtime.contract.recipe",
        "runtime.models.bc1s",
        "runtime.mil.fed",
        "runtime.models.fxlint",
        "runtime.models.handlers",
        "runtime.models.goldens",
        "runtime.models.prompts",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.aside",
        "runtime.models.tokenizer",
        "runtime.contract.shards",
        "runtime.contract.conversation",
        "runtime.contract.templates",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
        "runtime.contract.pairs",
        "runtime.contract.program",
        "runtime.contract.covering",
        "runtime.contract.authoring",
        "runtime.contract.targets",
        "runtime.contract.report",
        "runtime.contract.vocabulary",
        "runtime.contract.architecture",
        "runtime.contract.families",
        "runtime.contract.rotation",
        "runtime.contract.windows",
        "runtime.contract.strict_json",
        "runtime.steps.tokenizer",
        "runtime.contract.heads",
        "runtime.models.heads",
    ),
    lighter="take a smaller student, or fewer and shorter shapes.prefill",
)
