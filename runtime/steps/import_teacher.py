"""A pinned local Transformers folder → a teacher checkpoint, loaded once to prove that it can be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.contract import Context, Params, Port, Step


class ImportTeacherParams(Params):
    #: "sha256:…" tree digest the folder must have
    revision: str
    vocab_size: int


def run(takes: Mapping[str, Path], params: ImportTeacherParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="import_teacher",
    version=1,
    params=ImportTeacherParams,
    takes={"model": Port(kind="hf_folder")},
    gives={"checkpoint": Port(kind="checkpoint"), "report": Port(kind="report", report="teacher.import")},
    backend="torch",
    run=run,
    code=(
        "runtime.models.build",
        "runtime.models.importing",
        "runtime.contract.report",
        "runtime.contract.architecture",
    ),
)
