"""Held-out rows × models → the report of one evaluation suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from runtime import catalog
from runtime.contract import UNKEYED, Context, Params, Port, Ports, Step
from runtime.contract.code import ANSWERING
from runtime.contract.part import Part, Split
from runtime.contract.placing import BITWISE, Device, Tolerance, promise
from runtime.contract.questioned import Judging, Runner, ports


class Shard(Params):
    """Which lots of all are asked, where several steps share them: every `of`-th from `index` on."""

    index: int = Field(ge=0)
    of: int = Field(ge=2)


class Terms(Params):
    """How fast a server is asked, and whose money that costs: what decides no bit of its answers."""

    pace: dict[str, Any] = Field(default_factory=dict)
    #: US dollars at which asking stops, before they are exceeded, and whose they are
    usd: float = Field(ge=0)
    purse: str = Field(min_length=1)
    #: requests, and tokens of them and their answers, that may be in all; None: no bound
    teacher_calls: int | None = Field(default=None, ge=0)
    teacher_tokens: int | None = Field(default=None, ge=0)


class EvaluateParams(Params):
    suite: str
    suite_version: int
    #: parameters of the suite, already validated by its own model
    params: dict[str, Any] = Field(default_factory=dict)
    split: Split = "test"
    #: which rows of the split; None: all
    rows: Part | None = None
    runners: list[Runner] = Field(min_length=1)
    #: whether a judge is asked about others, or is itself what is evaluated, as `student`
    judging: Judging = ""
    #: settings of a judge behind a server (`runtime.contract.hosted.Server`); None: it is a folder, or there is none
    hosted: dict[str, Any] | None = None
    #: of that server
    terms: Annotated[Terms | None, UNKEYED] = None
    threads: int = Field(default=2, ge=1)
    device: Device = "cpu"
    #: None: every lot is asked, and judged
    shard: Shard | None = None


def takes(params: EvaluateParams) -> Ports:
    return ports(params.runners, params.judging, hosted=params.hosted is not None)


def gives(params: EvaluateParams) -> Ports:
    seconds = {"seconds": Port(kind="times")}
    if params.shard is not None:
        return {"lines": Port(kind="shard"), **seconds}
    return {"report": Port(kind="report", report=f"eval.{params.suite}"), "items": Port(kind="items"), **seconds}


def plugs(params: EvaluateParams) -> list[tuple[str, str]]:
    return [("suites", params.suite)]


def tolerance(params: EvaluateParams) -> Tolerance | None:
    """A greedy answer may turn at a tie, and a few of many questions with it."""
    known = params.suite in catalog.names("suites")
    figures = catalog.load("suites", params.suite).figures if known else ()
    return Tolerance(absolute=0.03, relative=0.02, of=tuple(figures)) if figures else None


def promised(params: EvaluateParams) -> str:
    """Of a suite without figures, and of a shard, which has none, nothing can be promised but on the processor; where
    a server answers, nothing anywhere."""
    if params.hosted is not None:
        return "none"
    said = promise(params.device)
    return said if said == BITWISE or (tolerance(params) is not None and params.shard is None) else "none"


def served(params: EvaluateParams) -> tuple[str, ...]:
    """What asks a server is the business of steps that do."""
    return SERVED if params.hosted is not None else ()


def run(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
    ctx.perform(takes, params)


#: our code behind an evaluation that asks a judge behind a server, beside that of any other
SERVED = (
    "runtime.asking.hosted_judge",
    "runtime.asking.served",
    "runtime.asking.server",
    "runtime.contract.hosted",
    "runtime.contract.record",
    "runtime.contract.secret",
    "runtime.data.chat",
    "runtime.data.kept",
    "runtime.data.secrets",
    "runtime.machine.purse",
)

STEP = Step(
    name="evaluate",
    version=1,
    params=EvaluateParams,
    takes=takes,
    gives=gives,
    backend="torch",
    run=run,
    promise=promised,
    tolerance=tolerance,
    plugs=plugs,
    code=(
        *ANSWERING,
        "runtime.models.threads",
        "runtime.models.evaluate",
        "runtime.models.questions",
        "runtime.asking.judging",
    ),
    code_under=served,
    lighter="take fewer rows of the suite, or a smaller model",
)
