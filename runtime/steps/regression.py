"""A benchmark and the pinned report of an earlier one → how much slower or faster, where both were measured alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.contract import Context, Params, Port, Step
from runtime.contract.regression import KIND as COMPARED
from runtime.contract.speed import KIND


class RegressionParams(Params):
    id: str


def run(takes: Mapping[str, Path], params: RegressionParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="regression",
    version=2,
    params=RegressionParams,
    takes={"now": Port(kind="report", report=KIND), "baseline": Port(kind="file")},
    gives={"report": Port(kind="report", report=COMPARED)},
    backend="python",
    run=run,
    again="runtime.timing.comparing:quotients",
    code=(
        "runtime.timing.comparing",
        "runtime.contract.regression",
        "runtime.contract.speed",
        "runtime.contract.statistics",
        "runtime.contract.report",
        "runtime.contract.strict_json",
    ),
)
