"""Held-out rows × one further way to ask a model → its items of one suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from runtime import catalog
from runtime.contract import UNKEYED, Context, Params, Port, Ports, RunnerKind, Step
from runtime.contract.part import Part
from runtime.contract.placing import BITWISE, Device

#: what is asked, and how text becomes ids where the spec says so
MODEL, WORDS = "model", "tokenizer"


class AskParams(Params):
    suite: str
    suite_version: int
    #: parameters of the suite, already validated by its own model
    params: dict[str, Any] = Field(default_factory=dict)
    split: str = "test"
    #: which rows of the split; None: all
    rows: Part | None = None
    #: what the runner is called in the items
    runner: str
    use: str
    use_version: int
    #: parameters of the runner: what decides its answers, and what decides no bit of them
    settings: dict[str, Any] = Field(default_factory=dict)
    pace: Annotated[dict[str, Any], UNKEYED] = Field(default_factory=dict)
    #: kind of what is asked; "" for an address, or for nothing
    asks: str = ""
    #: whether the ids are those of the spec's tokenizer
    words: bool = False
    threads: int = Field(default=2, ge=1)
    device: Device = "cpu"
    #: US dollars at which asking stops, before they are exceeded, and whose they are
    usd: Annotated[float, UNKEYED] = Field(default=0.0, ge=0)
    purse: Annotated[str, UNKEYED] = Field(min_length=1)


def _kind(params: AskParams) -> RunnerKind | None:
    known: RunnerKind | None = catalog.load("runners", params.use) if params.use in catalog.names("runners") else None
    return known


def takes(params: AskParams) -> Ports:
    ports = {"dataset": Port(kind="dataset")}
    if params.asks:
        ports[MODEL] = Port(kind=params.asks)
    if params.words:
        ports[WORDS] = Port(kind="tokenizer")
    return ports


def plugs(params: AskParams) -> list[tuple[str, str]]:
    return [("suites", params.suite), ("runners", params.use)]


def promise(params: AskParams) -> str:
    """The same bytes again where no server, no card and no chip answers."""
    kind = _kind(params)
    return BITWISE if kind is not None and kind.repeatable and params.device == "cpu" else "none"


def run(takes: Mapping[str, Path], params: AskParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="ask",
    version=1,
    params=AskParams,
    takes=takes,
    gives={"items": Port(kind="items"), "report": Port(kind="report", report="asked")},
    backend="torch",
    run=run,
    promise=promise,
    plugs=plugs,
    code=(
        "runtime.models.device",
        "runtime.contract.part",
        "runtime.contract.placing",
        "runtime.models.asking",
        "runtime.contract.items",
        "runtime.contract.zoo",
        "runtime.contract.verdicts",
        "runtime.contract.lots",
        "runtime.contract.questioned",
        "runtime.models.runners",
        "runtime.models.scoring",
        "runtime.models.admission",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.tokenizer",
        "runtime.contract.shards",
        "runtime.contract.conversation",
        "runtime.contract.templates",
        "runtime.tools",
        "runtime.contract.toolbox",
        "runtime.contract.rows",
        "runtime.contract.pairs",
        "runtime.data.classic",
        "runtime.data.matching",
        "runtime.data.numbers",
        "runtime.data.called",
        "runtime.data.integration",
        "runtime.data.repeated",
        "runtime.data.denied",
        "runtime.data.personal",
        "runtime.contract.bounded",
        "runtime.contract.expressions",
        "runtime.contract.fixtures",
        "runtime.mil.package",
        "runtime.mil.description",
        "runtime.mil.inventory",
        "runtime.mil.blob",
        "runtime.mil.program",
        "runtime.mil.interpreter",
        "runtime.mil.compile",
        "runtime.mil.step",
        "runtime.mil.findings",
        "runtime.mil.errors",
        "runtime.mil.numerics",
        "runtime.mil.ops",
        "runtime.contract.program",
        "runtime.contract.architecture",
        "runtime.contract.statistics",
        "runtime.contract.calls",
        "runtime.contract.attempts",
        "runtime.contract.callforms",
        "runtime.contract.cells",
        "runtime.contract.agreement",
        "runtime.contract.wanted",
        "runtime.contract.scenario",
        "runtime.contract.jsonschemas",
        "runtime.contract.toolset",
        "runtime.contract.ecma",
        "runtime.contract.strict_json",
        "runtime.contract.report",
        "runtime.contract.vocabulary",
        "runtime.steps.tokenizer",
        "runtime.asking.ask",
        "runtime.asking.checkpoint",
        "runtime.asking.llama",
        "runtime.asking.packaged",
        "runtime.asking.recorded",
        "runtime.asking.server",
        "runtime.asking.truth",
        "runtime.asking.words",
        "runtime.contract.asked",
        "runtime.contract.gguf",
        "runtime.contract.gguf_model",
        "runtime.contract.gguf_words",
        "runtime.contract.hosted",
        "runtime.contract.record",
        "runtime.contract.secret",
        "runtime.contract.parity",
        "runtime.data.chat",
        "runtime.data.kept",
        "runtime.data.secrets",
        "runtime.data.spend",
        "runtime.generate.words",
    ),
    lighter="take fewer rows of the suite, or a smaller model",
)
