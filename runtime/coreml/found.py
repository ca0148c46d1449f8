"""This machine → coremltools with Core ML behind it, or why there is none, each reason in its own words."""

from __future__ import annotations

import importlib
import plistlib
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from runtime.contract import Unavailable
from runtime.coreml.api import DEVICES, UNITS, USED, CoreML, drift
from runtime.mil.quiet import quiet

ANYWHERE = "`kcompiler mil run` and runner `mil` execute the same package anywhere, by an interpreter"
INSTALL = "pip install 'kcompiler[device]', on the Mac"
#: where a Mac says which Core ML it has
FRAMEWORK = Path("/System/Library/Frameworks/CoreML.framework/Versions/A/Resources/Info.plist")


def coreml() -> CoreML:
    """Raises Unavailable: another system than macOS, no coremltools, one without its native library, or one whose API
    is not the one that is used here."""
    if sys.platform != "darwin":
        raise Unavailable(f"Core ML predicts on a Mac, and this is {sys.platform}", needs=f"a Mac; {ANYWHERE}")
    try:
        with quiet():
            classes = _classes()
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "coremltools":
            raise
        raise Unavailable("coremltools is not installed here", needs=INSTALL) from None
    version = metadata.version("coremltools")
    native = importlib.import_module("coremltools.models.model")
    if getattr(native, "_MLModelProxy", None) is None:
        raise Unavailable(
            f"coremltools {version} is here without its native library, libcoremlpython: a wheel of another system or "
            "Python, or one that was built without it",
            needs=INSTALL,
        )
    if apart := drift(classes):
        raise Unavailable(
            f"coremltools {version} has another API than the one that is used: {'; '.join(apart[:3])}", needs=INSTALL
        )
    plans: Any = classes["MLComputePlan"]
    proxy = getattr(importlib.import_module("coremltools.models.compute_plan"), "_MLComputePlanProxy", None)
    models: Any = classes["MLModel"]
    units: Any = classes["ComputeUnit"]
    return CoreML(
        models=models,
        plans=plans,
        units={name.lower(): getattr(units, name) for name in UNITS},
        versions={"coremltools": version, "coreml": framework()},
        no_plans="" if proxy is not None else "this system has no MLComputePlan: macOS 14.4 or later has it",
    )


def _classes() -> dict[str, type]:
    found: dict[str, type] = {}
    wanted = {name: module for name, (module, _) in USED.items()}
    wanted |= {**dict.fromkeys(DEVICES, "coremltools.models.compute_device"), "ComputeUnit": "coremltools"}
    for name, module in wanted.items():
        one = getattr(importlib.import_module(module), name, None)
        if one is not None:
            found[name] = one
    return found


def framework() -> str:
    """The version of Core ML as its framework says it; "" where it does not."""
    try:
        with FRAMEWORK.open("rb") as file:
            said = plistlib.load(file)
    except (OSError, ValueError, plistlib.InvalidFileException):
        return ""
    return str(said.get("CFBundleVersion") or said.get("CFBundleShortVersionString") or "")
