"""Held-out rows × one further way to ask a model → its items of one suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from runtime import catalog
from runtime.contract import UNKEYED, Context, Params, Port, Ports, RunnerKind, Step
from runtime.contract.code import ANSWERING
from runtime.contract.part import Part, Split
from runtime.contract.placing import BITWISE, Device

#: what is asked, and how text becomes ids where the spec says so
MODEL, WORDS = "model", "tokenizer"


class AskParams(Params):
    suite: str
    suite_version: int
    #: parameters of the suite, already validated by its own model
    params: dict[str, Any] = Field(default_factory=dict)
    split: Split = "test"
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
    #: requests, and tokens of them and their answers, that may be in all; None: no bound
    teacher_calls: Annotated[int | None, UNKEYED] = Field(default=None, ge=0)
    teacher_tokens: Annotated[int | None, UNKEYED] = Field(default=None, ge=0)


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
        *ANSWERING,
        "runtime.asking.ask",
        "runtime.asking.checkpoint",
        "runtime.asking.llama",
        "runtime.asking.packaged",
        "runtime.asking.recorded",
        "runtime.asking.served",
        "runtime.asking.server",
        "runtime.asking.truth",
        "runtime.coreml",
        "runtime.mil.quiet",
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
        "runtime.machine.purse",
    ),
    lighter="take fewer rows of the suite, or a smaller model",
)
