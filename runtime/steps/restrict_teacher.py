"""A teacher's checkpoint and a reduced tokenizer → the same model over the ids that are left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Step


class RestrictTeacherParams(Params):
    #: rows of each split on which it is measured what the ids that are gone were worth to the teacher
    rows: int = Field(ge=1)
    threads: int = Field(default=2, ge=1)


def run(takes: Mapping[str, Path], params: RestrictTeacherParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="restrict_teacher",
    version=1,
    params=RestrictTeacherParams,
    takes={"teacher": Port(kind="checkpoint"), "tokenizer": Port(kind="tokenizer"), "dataset": Port(kind="dataset")},
    gives={"checkpoint": Port(kind="checkpoint"), "report": Port(kind="report", report="teacher.restriction")},
    backend="torch",
    run=run,
    code=(
        "runtime.models.threads",
        "runtime.models.restricting",
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
