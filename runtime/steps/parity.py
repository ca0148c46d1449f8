"""One suite's items by several runners → how far each two of them are apart, and on which rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step
from runtime.contract.parity import OWN_ITEMS, port_of


class ParityParams(Params):
    suite: str
    #: runner → whose answers it gives, "" for a model of its own
    models: dict[str, str] = Field(min_length=2)
    #: those whose items stand in an artifact of their own
    further: list[str]


def takes(params: ParityParams) -> Ports:
    return {port: Port(kind="items") for port in (OWN_ITEMS, *map(port_of, params.further))}


def run(takes: Mapping[str, Path], params: ParityParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="parity",
    version=3,
    params=ParityParams,
    takes=takes,
    gives={"report": Port(kind="report", report="parity")},
    backend="python",
    run=run,
    code=(
        "runtime.asking.parity",
        "runtime.contract.apart",
        "runtime.contract.parity",
        "runtime.contract.items",
        "runtime.contract.statistics",
        "runtime.contract.report",
        "runtime.contract.strict_json",
        "runtime.contract.conversation",
        "runtime.contract.pairs",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
        "runtime.contract.rows",
        "runtime.contract.spool",
    ),
)
