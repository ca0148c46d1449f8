"""ExportedPrograms → saved Core ML packages: float16, and with the quantization recipe applied.

The same programs in float32 are kept beside them, to be compared and never to be shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step
from runtime.contract.errata import KNOWN
from runtime.contract.recipe import Recipe
from runtime.contract.targets import ComputeUnits, Deployment, Strategy


class ConvertParams(Params):
    deployment: Deployment = "iOS18"
    #: known defects of coremltools (`kcompiler/tables/errata.yaml`) of which the report says how they were avoided
    errata: list[str] = Field(default_factory=lambda: [*KNOWN], exclude_if=lambda ids: ids == [*KNOWN])
    #: where a host is to let Core ML compute: it stands in the contract, nothing of the package follows from it
    compute_units: ComputeUnits = Field(default="all", exclude_if=lambda units: units == "all")
    #: "multifunction": one package, one function per shape, weights shared; "enumerated": one prefill for all of them
    strategy: Strategy = "multifunction"
    recipe: Recipe
    #: kinds of module whose arithmetic stays float32 (`runtime.mil.islands`)
    islands: list[str]
    #: "outputs": the host keeps keys and values; "state": Core ML does, and every function writes its own
    cache: Literal["outputs", "state"] = Field(default="outputs", exclude_if=lambda kept: kept == "outputs")
    #: whether stored forms that calibration chose are taken
    calibrated: bool = Field(default=False, exclude_if=lambda chosen: not chosen)
    #: linear layers that read integers (`runtime.contract.activations`), by scales that calibration chose
    activations: list[str] = Field(default_factory=list, exclude_if=lambda patterns: not patterns)


def takes(params: ConvertParams) -> Ports:
    ports = {"program": Port(kind="program")}
    return {**ports, "stored": Port(kind="stored")} if params.calibrated else ports


def run(takes: Mapping[str, Path], params: ConvertParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="convert",
    version=1,
    params=ConvertParams,
    takes=takes,
    gives={
        "package": Port(kind="package"),
        "float32": Port(kind="float32"),
        "report": Port(kind="report", report="conversion"),
    },
    backend="coreml",
    run=run,
    code=(
        "runtime.mil.convert",
        "runtime.mil.activation_ops",
        "runtime.mil.conversion",
        "runtime.mil.convertible",
        "runtime.mil.errata",
        "runtime.mil.archives",
        "runtime.mil.weights",
        "runtime.mil.islands",
        "runtime.mil.stateful",
        "runtime.mil.quantize",
        "runtime.mil.kmeans",
        "runtime.mil.normalise",
        "runtime.mil.numerics",
        "runtime.mil.older",
        "runtime.mil.quiet",
        "runtime.mil.stored",
        "runtime.mil.lazy",
        "runtime.contract.activations",
        "runtime.contract.chunks",
        "runtime.contract.errata",
        "runtime.contract.families",
        "runtime.contract.rotation",
        "runtime.contract.windows",
        "runtime.contract.program",
        "runtime.contract.authoring",
        "runtime.contract.recipe",
        "runtime.contract.report",
        "runtime.contract.targets",
        "runtime.contract.heads",
    ),
    lighter="take a smaller student, or fewer shapes.prefill",
)
