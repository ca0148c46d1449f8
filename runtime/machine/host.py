"""This machine → the few words for it that enter keys and reports. Standard library only; starts no process."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from pathlib import Path


def words() -> dict[str, str]:
    """What an action key knows of the machine: Python's minor version, operating system, instruction set."""
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "system": platform.system(),
        "machine": platform.machine(),
    }


def hardware() -> dict[str, str | int]:
    """What a report says of the machine: operating system, instruction set, processor model, logical processors."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count() or 0,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return "unknown"


def python() -> str:
    """Full version of this interpreter."""
    return platform.python_version()
