"""A file of tool declarations → a checked list of tools with JSON-Schema parameters, and its fingerprint.

What a registry may hold is decided in runtime/contract/toolset.py, which the compiler asks as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, cast

from runtime.contract import Refusal, toolset
from runtime.contract.strict_json import Json, loads
from runtime.contract.toolset import fingerprint, validators

__all__ = ["Tool", "checked", "fingerprint", "load", "validators"]


class Tool(TypedDict):
    """One declared tool."""

    name: str
    description: str
    parameters: dict[str, Json]


def checked(value: Json, place: str) -> list[Tool]:
    """A JSON value as a registry. Raises Refusal naming the tool that is wrong."""
    wrong = toolset.faults(value)
    if wrong:
        raise Refusal(f"no registry of tools: {wrong[0]}", place=place, action="correct the registry")
    return cast(list[Tool], value)


def load(path: Path) -> list[Tool]:
    """The tools of a registry file. Raises Refusal for anything that is not one."""
    try:
        value = loads(path.read_bytes())
    except ValueError as error:
        raise Refusal(f"not JSON: {error}", place=path.name, action="correct the registry") from None
    return checked(value, path.name)
