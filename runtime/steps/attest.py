"""What a Mac measured × the package and golden vectors of the plan → the same, where it is about these."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.contract import Context, Port, Step
from runtime.contract.covering import Covering
from runtime.contract.delivery import Precision
from runtime.contract.ondevice import KIND, Tolerances, Units


class AttestParams(Covering):
    precision: Precision
    units: Units
    #: what the outputs were to be held to
    tolerances: Tolerances


def run(takes: Mapping[str, Path], params: AttestParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="attest",
    version=1,
    params=AttestParams,
    takes={"report": Port(kind="file"), "package": Port(kind="package"), "goldens": Port(kind="goldens")},
    gives={"report": Port(kind="report", report=KIND)},
    backend="python",
    run=run,
    again="runtime.data.attested:read",
    code=(
        "runtime.data.attested",
        "runtime.contract.delivery",
        "runtime.contract.ondevice",
        "runtime.contract.program",
        "runtime.contract.covering",
        "runtime.contract.lacking",
        "runtime.contract.authoring",
        "runtime.contract.targets",
        "runtime.contract.report",
        "runtime.contract.statistics",
        "runtime.contract.strict_json",
        "runtime.contract.heads",
    ),
)
