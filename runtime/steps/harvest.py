"""Training prompts × a teacher behind HTTP → its answers, each asked once and paid once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from runtime.contract import UNKEYED, Context, Port, Step
from runtime.contract.hosted import Asking


class HarvestParams(Asking):
    #: subset of "text", "choices"
    signals: list[str] = Field(min_length=1)
    #: US dollars at which asking stops, before they are exceeded
    usd: Annotated[float, UNKEYED] = Field(ge=0)
    #: whose money it is: everything that is asked under one name is paid from the same `usd`
    purse: Annotated[str, UNKEYED] = Field(min_length=1)
    #: requests, and tokens of them and their answers, that may be in all; None: no bound
    teacher_calls: Annotated[int | None, UNKEYED] = Field(default=None, ge=0)
    teacher_tokens: Annotated[int | None, UNKEYED] = Field(default=None, ge=0)


def run(takes: Mapping[str, Path], params: HarvestParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="harvest",
    version=1,
    params=HarvestParams,
    takes={"dataset": Port(kind="dataset")},
    gives={"answers": Port(kind="answers"), "report": Port(kind="report", report="teacher.answers")},
    backend="http",
    run=run,
    code=(
        "runtime.data.harvest",
        "runtime.data.chat",
        "runtime.data.kept",
        "runtime.machine.purse",
        "runtime.data.answers",
        "runtime.data.secrets",
        "runtime.contract.conversation",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
        "runtime.contract.splits",
        "runtime.contract.pairs",
        "runtime.contract.record",
        "runtime.contract.hosted",
        "runtime.contract.secret",
        "runtime.contract.report",
        "runtime.contract.strict_json",
    ),
    promise="none",
    lighter="take a lower teacher.concurrency, or fewer rows",
)
