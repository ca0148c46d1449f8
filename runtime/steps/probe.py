"""Checkpoint → proof that it is causal, ignores padding and buckets, and decodes as it prefills."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Step
from runtime.contract.authoring import Profile
from runtime.contract.placing import Device, Tolerance, promise
from runtime.contract.targets import Strategy


class ProbeParams(Params):
    #: the enumerated prefill lengths
    lengths: list[int] = Field(min_length=1)
    decode_context: int = Field(ge=8)
    #: "multifunction": one prefill function per length; "enumerated": one for all of them
    strategy: Strategy = Field(default="multifunction", exclude_if=lambda kept: kept == "multifunction")
    #: largest difference of logits that counts as equal, relative to the largest logit where that is above 1
    tolerance: float = Field(default=1e-4, gt=0)
    #: the unit that the functions are written for
    profile: Profile = Field(default="gpu", exclude_if=lambda profile: profile == "gpu")
    threads: int = Field(default=2, ge=1)
    device: Device = "cpu"


def promised(params: ProbeParams) -> str:
    return promise(params.device)


def run(takes: Mapping[str, Path], params: ProbeParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="probe",
    version=1,
    params=ProbeParams,
    takes={"dataset": Port(kind="dataset"), "tokenizer": Port(kind="tokenizer"), "checkpoint": Port(kind="checkpoint")},
    gives={"report": Port(kind="report", report="probes")},
    backend="torch",
    run=run,
    promise=promised,
    tolerance=Tolerance(absolute=0.0, relative=0.0, of=("passed",)),
    code=(
        "runtime.models.threads",
        "runtime.models.device",
        "runtime.contract.placing",
        "runtime.models.probes",
        "runtime.models.prompts",
        "runtime.models.build",
        "runtime.models.pouring",
        "runtime.models.capping",
        "runtime.models.enumerated",
        "runtime.models.rotation",
        "runtime.models.wrapper",
        "runtime.models.chunking",
        "runtime.contract.chunks",
        "runtime.contract.recipe",
        "runtime.models.bc1s",
        "runtime.mil.fed",
        "runtime.contract.authoring",
        "runtime.contract.program",
        "runtime.contract.targets",
        "runtime.models.tokenizer",
        "runtime.contract.shards",
        "runtime.contract.conversation",
        "runtime.contract.templates",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.scenario",
        "runtime.contract.pairs",
        "runtime.contract.report",
        "runtime.contract.vocabulary",
        "runtime.contract.architecture",
        "runtime.contract.families",
        "runtime.contract.rotation",
        "runtime.contract.targets",
        "runtime.contract.windows",
        "runtime.contract.strict_json",
        "runtime.steps.tokenizer",
        "runtime.contract.heads",
        "runtime.models.heads",
    ),
    lighter="take a smaller student, or fewer and shorter shapes.prefill",
)
