"""Name of a shipped folder → where it lies: inside the installed package, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `specs`, `schemas` or `policies` as shipped with this compiler."""
    installed = _HERE / "_assets" / name
    return installed if installed.is_dir() else _HERE.parent / name
