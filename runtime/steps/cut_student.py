"""A teacher's checkpoint and a declared map → the student made of what is kept, and what the choice was made by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Port, Step
from runtime.contract.architecture import Architecture
from runtime.contract.cut import Parts


class CutStudentParams(Parts):
    #: what the cut must leave
    architecture: Architecture
    #: training rows on which importance is measured and the cut is judged
    rows: int = Field(ge=1)
    threads: int = Field(default=2, ge=1)


def run(takes: Mapping[str, Path], params: CutStudentParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="cut_student",
    version=1,
    params=CutStudentParams,
    takes={"teacher": Port(kind="checkpoint"), "tokenizer": Port(kind="tokenizer"), "dataset": Port(kind="dataset")},
    gives={"checkpoint": Port(kind="checkpoint"), "report": Port(kind="report", report="student.cut")},
    backend="torch",
    run=run,
    code=(
        "runtime.models.threads",
        "runtime.models.students",
        "runtime.models.samples",
        "runtime.models.cutting",
        "runtime.models.admission",
        "runtime.models.capping",
        "runtime.models.device",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.tokenizer",
        "runtime.contract.shards",
        "runtime.contract.conversation",
        "runtime.contract.templates",
        "runtime.data.conditions",
        "runtime.data.encode",
        "runtime.contract.cut",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
        "runtime.contract.pairs",
        "runtime.contract.report",
        "runtime.contract.architecture",
        "runtime.contract.families",
        "runtime.contract.rotation",
        "runtime.contract.windows",
        "runtime.contract.vocabulary",
        "runtime.contract.strict_json",
        "runtime.steps.tokenizer",
        "runtime.contract.heads",
        "runtime.models.heads",
    ),
    lighter="take a smaller teacher",
)
