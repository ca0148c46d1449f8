"""One suite's items and the tokenizer → tokens that a right answer takes, beside the teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.contract import Context, Params, Port, Step
from runtime.contract.efficiency import KIND
from runtime.contract.part import Split


class EfficiencyParams(Params):
    split: Split


def run(takes: Mapping[str, Path], params: EfficiencyParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="efficiency",
    version=1,
    params=EfficiencyParams,
    takes={"dataset": Port(kind="dataset"), "tokenizer": Port(kind="tokenizer"), "items": Port(kind="items")},
    gives={"report": Port(kind="report", report=KIND)},
    backend="torch",
    run=run,
    again="runtime.timing.spending:spent",
    code=(
        "runtime.timing.spending",
        "runtime.contract.efficiency",
        "runtime.contract.conversation",
        "runtime.contract.items",
        "runtime.contract.pairs",
        "runtime.contract.part",
        "runtime.contract.parity",
        "runtime.contract.report",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.scenario",
        "runtime.contract.statistics",
        "runtime.contract.strict_json",
        "runtime.contract.templates",
        "runtime.contract.vocabulary",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.models.tokenizer",
        "runtime.steps.tokenizer",
    ),
)
