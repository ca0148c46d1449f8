"""What the shards of an evaluation were answered → the items and the report that one step leaves which asks everything.

The same bytes: a report is about the models and the rows, not about how the work was divided.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step, questioned
from runtime.contract.part import Part, Split
from runtime.contract.questioned import Runner


class GatherParams(Params):
    suite: str
    suite_version: int
    #: parameters of the suite, already validated by its own model
    params: dict[str, Any] = Field(default_factory=dict)
    split: Split = "test"
    #: which rows of the split; None: all
    rows: Part | None = None
    runners: list[Runner] = Field(min_length=1)
    shards: int = Field(ge=2)


def port_of(shard: int) -> str:
    """The port on which the lines of a shard are taken."""
    return f"shard_{shard}"


def takes(params: GatherParams) -> Ports:
    shards = {port_of(shard): Port(kind="shard") for shard in range(params.shards)}
    return {**questioned.ports(params.runners), **shards}


def gives(params: GatherParams) -> Ports:
    return {"report": Port(kind="report", report=f"eval.{params.suite}"), "items": Port(kind="items")}


def plugs(params: GatherParams) -> list[tuple[str, str]]:
    return [("suites", params.suite)]


def run(takes: Mapping[str, Path], params: GatherParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="gather",
    version=1,
    params=GatherParams,
    takes=takes,
    gives=gives,
    backend="torch",
    run=run,
    plugs=plugs,
    code=(
        "runtime.models.gathering",
        "runtime.models.questions",
        "runtime.contract.hosted",
        "runtime.contract.secret",
        "runtime.contract.items",
        "runtime.contract.lots",
        "runtime.contract.part",
        "runtime.contract.questioned",
        "runtime.contract.conversation",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.pairs",
        "runtime.contract.report",
        "runtime.contract.strict_json",
        "runtime.tools",
        "runtime.contract.toolbox",
        "runtime.contract.toolset",
        "runtime.contract.jsonschemas",
        "runtime.contract.ecma",
        "runtime.contract.bounded",
        "runtime.contract.expressions",
        "runtime.contract.fixture_set",
        "runtime.contract.fixtures",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
    ),
    lighter="take fewer rows of the suite",
)
