"""Training prompts × a file of recorded answers → the answers, bound to the rows they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Step


class ReplayParams(Params):
    #: who answered
    model: str = Field(min_length=1)
    #: subset of "text", "choices"
    signals: list[str] = Field(min_length=1)
    #: share of rows that may lack a usable answer
    allow_missing: float = Field(ge=0, lt=1)


def run(takes: Mapping[str, Path], params: ReplayParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="replay",
    version=1,
    params=ReplayParams,
    takes={"dataset": Port(kind="dataset"), "record": Port(kind="file")},
    gives={"answers": Port(kind="answers"), "report": Port(kind="report", report="teacher.answers")},
    backend="python",
    run=run,
    code=(
        "runtime.data.replay",
        "runtime.data.answers",
        "runtime.contract.conversation",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
        "runtime.contract.splits",
        "runtime.contract.pairs",
        "runtime.contract.record",
        "runtime.contract.report",
        "runtime.contract.strict_json",
    ),
    lighter="take fewer rows",
)
