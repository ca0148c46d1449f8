"""Deployment targets of Core ML → what a package for them may be. No tensors.

A target is named after the iOS release in which Core ML learnt its operators; macOS 15 and later releases of the same
year read the same packages. Source: `coremltools.target` of coremltools 9.0, `AvailableTarget`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Deployment = Literal["iOS17", "iOS18", "iOS26"]
#: how the lengths of a prefill stand in a package: a function for each, or one function whose input has one of several
#: shapes (Core ML's EnumeratedShapes)
Strategy = Literal["multifunction", "enumerated"]
STRATEGIES: tuple[Strategy, ...] = ("multifunction", "enumerated")
#: where Core ML may compute, as `coremltools.ComputeUnit` names it, in small letters; the CPU is always among them
ComputeUnits = Literal["all", "cpu_and_gpu", "cpu_and_ne", "cpu_only"]
Unit = Literal["gpu", "ane", "cpu"]
#: compute units → the units that may compute by them, as `hardware.targets.compute_unit` names one; the first is meant
UNITS: Mapping[ComputeUnits, tuple[Unit, ...]] = {
    "all": ("ane", "gpu", "cpu"),
    "cpu_and_gpu": ("gpu", "cpu"),
    "cpu_and_ne": ("ane", "cpu"),
    "cpu_only": ("cpu",),
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """`specification`: version of the model file; `opset`: n of "CoreML<n>"; `systems`: where its packages load.

    `several`: whether a package may have several functions, states, several enumerated inputs, scales and palettes of
    parts of a tensor, and integers of four bits: iOS 18 brought all of them.
    """

    specification: int
    opset: int
    systems: str
    several: bool = True


TARGETS: Mapping[Deployment, Target] = {
    "iOS17": Target(specification=8, opset=7, systems="iOS 17, macOS 14 and later", several=False),
    "iOS18": Target(specification=9, opset=8, systems="iOS 18, macOS 15 and later"),
    "iOS26": Target(specification=10, opset=9, systems="iOS 26, macOS 26 and later"),
}


def meant(package: Path) -> str:
    """The unit that a saved package is meant for, by the contract.json of its artifact or of its delivery: the first of
    `UNITS` that is no CPU; "" where none says. A package for the CPU alone is meant for "cpu"."""
    for folder, place in ((package.parent, ("package", "compute_units")), (package.parent.parent, ("compute_units",))):
        try:
            said = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
            for key in place:
                said = said[key]
            return UNITS[said][0]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""
