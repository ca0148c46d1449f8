"""The student, as checkpoint and as package × prompt lengths → how long answers take, and what they take of memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step
from runtime.contract.code import MIL
from runtime.contract.placing import Device
from runtime.contract.speed import KIND, RUNNERS, Name, Price, Target

#: what is run → the port that gives it
PORT_OF = {"checkpoint": "checkpoint", "package": "package"}


class BenchmarkParams(Params):
    id: str
    runners: list[Name] = Field(min_length=1)
    #: tokens of the prompts
    prompts: list[int] = Field(min_length=1)
    new_tokens: int = Field(ge=2)
    warm_up: int = Field(ge=1)
    repetitions: int = Field(ge=1)
    price: Price | None = None
    target: Target | None = None
    threads: int = Field(default=2, ge=1)
    device: Device = "cpu"


def takes(params: BenchmarkParams) -> Ports:
    kinds = {RUNNERS[name].of for name in params.runners}
    return {"tokenizer": Port(kind="tokenizer"), **{PORT_OF[kind]: Port(kind=kind) for kind in sorted(kinds)}}


def run(takes: Mapping[str, Path], params: BenchmarkParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="benchmark",
    version=2,
    params=BenchmarkParams,
    takes=takes,
    gives={"report": Port(kind="report", report=KIND)},
    backend="torch",
    run=run,
    # two measurements are never of the same bytes
    promise="none",
    timed=True,
    code=(
        "runtime.timing",
        "runtime.asking.packaged",
        "runtime.coreml",
        "runtime.mil.quiet",
        "runtime.contract.speed",
        "runtime.contract.statistics",
        "runtime.contract.report",
        "runtime.contract.placing",
        "runtime.contract.architecture",
        "runtime.contract.families",
        "runtime.contract.rotation",
        "runtime.contract.windows",
        "runtime.contract.conversation",
        "runtime.contract.footprint",
        "runtime.contract.pairs",
        "runtime.contract.program",
        "runtime.contract.authoring",
        "runtime.contract.targets",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.scenario",
        "runtime.contract.shards",
        "runtime.contract.strict_json",
        "runtime.contract.templates",
        "runtime.contract.vocabulary",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.asked",
        "runtime.machine.host",
        "runtime.contract.code",
        *MIL,
        "runtime.models.admission",
        "runtime.models.capping",
        "runtime.models.build",
        "runtime.models.device",
        "runtime.models.gauge",
        "runtime.models.pouring",
        "runtime.models.runners",
        "runtime.models.scoring",
        "runtime.models.threads",
        "runtime.models.tokenizer",
        "runtime.steps.tokenizer",
        "runtime.contract.heads",
        "runtime.models.heads",
    ),
    lighter="take shorter prompts, or a smaller model",
)
