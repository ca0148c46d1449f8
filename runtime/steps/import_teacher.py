"""A pinned Transformers folder → the checkpoint of a teacher, or of a student's start, loaded once as a proof."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from runtime.contract import Context, Params, Port, Step


class ImportTeacherParams(Params):
    #: "sha256:…" tree digest the folder must have; or what the step that made the folder has proved: the commit at
    #: which it was fetched, the file ("file:sha256:…") that it was made of
    revision: str
    #: width the model must have; None: its own, which a reduced tokenizer then narrows
    vocab_size: int | None
    #: exact number of parameters, where the spec states it
    parameters: int | None = None
    #: floats in which the checkpoint is kept, and computes where a student learns from it
    dtype: Literal["fp32", "bf16"] = "fp32"


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
        "runtime.models.admission",
        "runtime.models.capping",
        "runtime.models.device",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.importing",
        "runtime.contract.shards",
        "runtime.contract.strict_json",
        "runtime.contract.report",
        "runtime.contract.architecture",
        "runtime.contract.families",
        "runtime.contract.rotation",
        "runtime.contract.windows",
        "runtime.contract.heads",
        "runtime.models.heads",
    ),
    lighter="take a smaller teacher",
)
