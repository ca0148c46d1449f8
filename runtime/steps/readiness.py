"""What the tests and scans of the code around the student left → how ready that code is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step


class ReadinessParams(Params):
    #: which files there are, by what they are about
    files: list[str] = Field(min_length=1)
    #: the commit that all of them must be of; "" where that is not asked
    revision: str = ""


def takes(params: ReadinessParams) -> Ports:
    return {name: Port(kind="file") for name in params.files}


def run(takes: Mapping[str, Path], params: ReadinessParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="readiness",
    version=1,
    params=ReadinessParams,
    takes=takes,
    gives={"report": Port(kind="report", report="readiness")},
    backend="python",
    run=run,
    again="runtime.data.readiness:read",
    code=(
        "runtime.data.readiness",
        "runtime.contract.ready",
        "runtime.contract.report",
        "runtime.contract.strict_json",
    ),
)
