"""Section `export`: which systems the packages are made for, and where on them Core ML may compute."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.targets import ComputeUnits, Deployment


class Export(Section):
    """What coremltools is asked for."""

    deployment: Deployment = Field(
        default="iOS18",
        description="The oldest system that loads the packages, by its iOS release; macOS 15 is of the year of iOS18, "
        "macOS 26 of iOS26. A newer one has newer operators.",
        examples=["iOS18"],
    )
    compute_units: ComputeUnits = Field(
        default="all",
        description="Where Core ML may compute. No property of a package: whoever loads one configures it, as hosts of "
        "a delivery, `verify --on-device` and the runner `coreml` do by this, and `mil lint` looks for it.",
        examples=["cpu_and_gpu"],
    )
