"""Saved packages × golden vectors → parity, shapes, finiteness and the recipe as it stands in the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.contract import Context, Port, Ports, Step
from runtime.contract.authoring import Profile
from runtime.contract.chunks import MOST
from runtime.contract.covering import Covering
from runtime.contract.qat import KIND
from runtime.contract.recipe import Recipe
from runtime.contract.targets import ComputeUnits, Deployment, Strategy


class VerifyParams(Covering):
    recipe: Recipe
    islands: list[str]
    #: who keeps keys and values: the host, or states of the package
    cache: Literal["outputs", "state"] = Field(default="outputs", exclude_if=lambda kept: kept == "outputs")
    deployment: Deployment = Field(default="iOS18", exclude_if=lambda target: target == "iOS18")
    strategy: Strategy = Field(default="multifunction", exclude_if=lambda kept: kept == "multifunction")
    #: where a host is to let Core ML compute: it stands in the contract, nothing of the package follows from it
    compute_units: ComputeUnits = Field(default="all", exclude_if=lambda units: units == "all")
    #: packages that the layers are split over
    chunks: int = Field(default=1, ge=1, le=MOST, exclude_if=lambda count: count == 1)
    #: the unit that the functions are written for
    profile: Profile = Field(default="gpu", exclude_if=lambda profile: profile == "gpu")
    #: whether stored forms that calibration chose are taken
    calibrated: bool = Field(default=False, exclude_if=lambda chosen: not chosen)
    #: linear layers that read integers (`runtime.contract.activations`), by scales that calibration chose
    activations: list[str] = Field(default_factory=list, exclude_if=lambda patterns: not patterns)
    #: matrices that were trained with rounded weights, by name: the package holds what the training says of them
    qat: list[str] = Field(default_factory=list, exclude_if=lambda tensors: not tensors)
    mode: Literal["exact32", "fp16_round", "fp16_strict"] = "fp16_round"


def takes(params: VerifyParams) -> Ports:
    ports = {
        "package": Port(kind="package"),
        "float32": Port(kind="float32"),
        "goldens": Port(kind="goldens"),
        "checkpoint": Port(kind="checkpoint"),
        "tokenizer": Port(kind="tokenizer"),
        "dataset": Port(kind="dataset"),
    }
    if params.calibrated:
        ports["stored"] = Port(kind="stored")
    return {**ports, "training": Port(kind="report", report=KIND)} if params.qat else ports


def run(takes: Mapping[str, Path], params: VerifyParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="verify",
    version=1,
    params=VerifyParams,
    takes=takes,
    gives={"report": Port(kind="report", report="coreml.parity")},
    backend="coreml",
    run=run,
    code=(
        "runtime.mil",
        "runtime.contract.program",
        "runtime.contract.activations",
        "runtime.contract.covering",
        "runtime.contract.chunks",
        "runtime.contract.authoring",
        "runtime.contract.qat",
        "runtime.contract.recipe",
        "runtime.contract.report",
        "runtime.contract.strict_json",
        "runtime.contract.targets",
        "runtime.contract.heads",
    ),
    lighter="take a smaller student, or shorter shapes",
)
