"""The folder of a dataset → its tools, and the fixtures they are answered from where there are any."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from runtime.contract import Refusal, fixtures, toolset
from runtime.contract.fixture_set import FixtureSet
from runtime.contract.strict_json import loads

#: in the folder of a dataset
FOLDER = "fixtures"


class Toolbox(list[Any]):
    """A registry's tools; `fixtures` are what they answer, None where they are not answered here."""

    def __init__(self, tools: Iterable[Any] = (), held: FixtureSet | None = None) -> None:
        super().__init__(tools)
        self.fixtures = held


def of_dataset(folder: Path) -> Toolbox:
    """The tools of a dataset. Raises Refusal for files that are not what the data step wrote."""
    declared = folder / "tools.json"
    tools = _registry(declared) if declared.is_file() else []
    held = fixtures.load(folder / FOLDER, tools, place=FOLDER) if (folder / FOLDER).is_dir() else None
    return Toolbox(tools, held)


def _registry(path: Path) -> list[Any]:
    """Raises Refusal for anything that is no registry."""
    try:
        value = loads(path.read_bytes())
    except ValueError as error:
        raise Refusal(f"not JSON: {error}", place=path.name, action="correct the registry") from None
    if wrong := toolset.faults(value):
        raise Refusal(f"no registry of tools: {wrong[0]}", place=path.name, action="correct the registry")
    return cast(list[Any], value)


def fixtures_of(tools: object) -> FixtureSet:
    """The fixtures beside the tools. Raises Refusal where there are none."""
    held = getattr(tools, "fixtures", None)
    if not isinstance(held, FixtureSet):
        raise Refusal("no fixtures answer the tools", action="name their folder in data.fixtures")
    return held
