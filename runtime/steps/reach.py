"""The terms of all stages × the student as it starts → does each term train, and is it what it says, before any does?

A few short rows go through the student once for each term, beside a teacher that is made up: what a term's gradient
reaches does not depend on what the teacher says, so that nothing is asked of the real one, which may cost money.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step
from runtime.contract.architecture import Architecture
from runtime.contract.code import TRAINING


class Tried(Params):
    """A term as training has it, but for its weight."""

    term: str
    version: int
    params: dict[str, Any] = Field(default_factory=dict)
    semantics: dict[str, Any] = Field(default_factory=dict)


class ReachParams(Params):
    #: of a student that starts from nothing; one that starts from weights takes them at port `from`
    architecture: Architecture | None = None
    terms: list[Tried] = Field(min_length=1)
    #: whether of a teacher's logits the likeliest alone are known
    of_top: bool = False
    #: tokens that a row may have at most
    max_length: int = Field(ge=8)
    threads: int = Field(default=2, ge=1)


def takes(params: ReachParams) -> Ports:
    ports = {"dataset": Port(kind="dataset"), "tokenizer": Port(kind="tokenizer")}
    return ports if params.architecture is not None else {**ports, "from": Port(kind="checkpoint")}


def plugs(params: ReachParams) -> list[tuple[str, str]]:
    return [("losses", term.term) for term in params.terms]


def run(takes: Mapping[str, Path], params: ReachParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="reach",
    version=1,
    params=ReachParams,
    takes=takes,
    gives={"report": Port(kind="report", report="training.reach")},
    backend="torch",
    run=run,
    plugs=plugs,
    code=TRAINING,
    lighter="take a smaller student or vocabulary, or shorter rows",
)
