"""Training prompts × a teacher whose weights are here → what it answers, written once, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.contract import Context, Params, Port, Step
from runtime.contract.code import MIL
from runtime.contract.placing import Device, Tolerance, promise
from runtime.contract.units import unit


class GenerateAnswersParams(Params):
    #: which model answers, as the report calls it
    model: str = Field(min_length=1)
    signals: list[Literal["text"]] = Field(default=["text"], min_length=1)
    #: longest row in tokens, prompt, answer and end: an answer that has not ended there is of no use
    longest: int = Field(ge=2, json_schema_extra=unit("token"))
    #: share of the rows that may stay without a usable answer
    allow_missing: float = Field(ge=0, lt=1, json_schema_extra=unit("1"))
    threads: int = Field(default=2, ge=1)
    device: Device = "cpu"


def promised(params: GenerateAnswersParams) -> str:
    return promise(params.device)


def run(takes: Mapping[str, Path], params: GenerateAnswersParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="generate_answers",
    version=1,
    params=GenerateAnswersParams,
    takes={"dataset": Port(kind="dataset"), "tokenizer": Port(kind="tokenizer"), "teacher": Port(kind="checkpoint")},
    gives={"answers": Port(kind="answers"), "report": Port(kind="report", report="teacher.answers")},
    backend="torch",
    run=run,
    promise=promised,
    tolerance=Tolerance(absolute=0.02, relative=0.0, of=("missing_share",)),
    code=(
        "runtime.models.threads",
        "runtime.models.device",
        "runtime.contract.placing",
        "runtime.models.answering",
        "runtime.models.runners",
        "runtime.models.scoring",
        "runtime.models.admission",
        "runtime.models.capping",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.tokenizer",
        "runtime.data.answers",
        "runtime.contract.shards",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
        "runtime.contract.splits",
        "runtime.contract.pairs",
        "runtime.contract.record",
        "runtime.contract.strict_json",
        "runtime.contract.report",
        "runtime.contract.architecture",
        "runtime.contract.families",
        "runtime.contract.rotation",
        "runtime.contract.windows",
        "runtime.contract.conversation",
        "runtime.contract.program",
        "runtime.contract.authoring",
        "runtime.contract.targets",
        "runtime.contract.templates",
        "runtime.contract.vocabulary",
        "runtime.contract.code",
        *MIL,
        "runtime.steps.tokenizer",
        "runtime.contract.heads",
        "runtime.models.heads",
    ),
    lighter="take a smaller teacher, or shorter rows",
)
