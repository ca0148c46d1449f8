"""Section `export`: which systems and unit the packages are made for, where Core ML may compute, how many there are."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.authoring import Profile
from runtime.contract.chunks import MOST
from runtime.contract.targets import ComputeUnits, Deployment, Strategy
from runtime.contract.units import unit


class Export(Section):
    """What coremltools is asked for."""

    deployment: Deployment = Field(
        default="iOS18",
        description="The oldest system that loads the packages, by its iOS release; macOS 15 is of the year of iOS18, "
        "macOS 14 of iOS17, macOS 26 of iOS26. A newer one has newer operators; iOS17 has one function a package, and "
        "neither states nor four-bit integers nor scales of blocks.",
        examples=["iOS18"],
    )
    strategy: Strategy = Field(
        default="multifunction",
        description="How the lengths of `shapes.prefill` stand in a package. `multifunction`: a function for each, all "
        "of them static, as the Neural Engine wants them. `enumerated`: one function whose input has one of these "
        "lengths (EnumeratedShapes), which iOS 17 loads as well; it decides about shapes while it runs.",
        examples=["enumerated"],
        exclude_if=lambda kept: kept == "multifunction",
    )
    compute_units: ComputeUnits = Field(
        default="all",
        description="Where Core ML may compute. No property of a package: whoever loads one configures it, as hosts of "
        "a delivery, `verify --on-device` and the runner `coreml` do by this, and `mil lint` looks for it.",
        examples=["cpu_and_gpu"],
    )
    chunks: int = Field(
        default=1,
        ge=1,
        le=MOST,
        exclude_if=lambda count: count == 1,
        description="Over how many packages the layers are split, for a student that one package would be too large "
        "for (about 1 GB on a phone, 2 GB on a Mac, where the Neural Engine computes). Each is exported and converted "
        "by itself, in as much memory as it takes; hosts of a delivery run them one after the other. The split is the "
        "one whose largest package is smallest.",
        examples=[4],
        json_schema_extra=unit("package"),
    )
    profile: Profile = Field(
        default="gpu",
        exclude_if=lambda profile: profile == "gpu",
        description="The unit that the functions are written for. `ane`, the Neural Engine: values are "
        "(1, channels, 1, tokens), projections 1×1 convolutions, norms scaled before they square, masks and angles "
        "inputs that the host makes (contract.json says how). It changes no number but by rounding.",
        examples=["ane"],
    )
