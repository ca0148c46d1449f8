"""A checkpoint with its own tokenizer, and the spec's → the checkpoint over the spec's ids, and the record of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Port, Step
from runtime.contract.migration import Migration


class MigrateStudentParams(Migration):
    threads: int = Field(default=2, ge=1)


def run(takes: Mapping[str, Path], params: MigrateStudentParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="migrate_student",
    version=1,
    params=MigrateStudentParams,
    takes={
        "original": Port(kind="checkpoint"),
        "folder": Port(kind="hf_folder"),
        "tokenizer": Port(kind="tokenizer"),
        "dataset": Port(kind="dataset"),
    },
    gives={
        "checkpoint": Port(kind="checkpoint"),
        "record": Port(kind="migration"),
        "report": Port(kind="report", report="student.migration"),
    },
    backend="torch",
    run=run,
    code=(
        "runtime.models.threads",
        "runtime.models.migrating",
        "runtime.models.samples",
        "runtime.models.admission",
        "runtime.models.capping",
        "runtime.models.device",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.tokenizer",
        "runtime.contract.migration",
        "runtime.contract.shards",
        "runtime.contract.conversation",
        "runtime.contract.templates",
        "runtime.data.conditions",
        "runtime.data.encode",
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
    lighter="take a smaller checkpoint",
)
