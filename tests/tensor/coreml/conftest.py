"""One checkpoint, exported and converted once for all tests of this folder: they only read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil.convert import convert
from runtime.models.export import export
from runtime.steps.convert import ConvertParams
from runtime.steps.export import ExportParams
from tests.tensor.export.world import Stage, world

EXPORT = ExportParams(prefill=[16, 32], decode_context=48, golden_prompts=2, decode_steps=4, threads=1)
#: over what its functions are to be compared
COVERING: dict[str, Any] = {
    "prefill": [16, 32],
    "decode_context": 48,
    "layers": 2,
    "golden_prompts": 2,
    "decode_steps": 4,
}
RECIPE = Recipe(default=Weights(weights="int8"), rules=[Rule(match="*norm*", weights="fp16")])
CONVERT = ConvertParams(recipe=RECIPE, islands=["rms_norm"])


@dataclass(frozen=True)
class Converted:
    """Folders by port, ready to be taken by `verify`; `program` is what they were converted from."""

    takes: dict[str, Path]
    program: Path
    stage: Stage


def make(
    root: Path,
    family: str = "llama",
    recipe: Recipe = RECIPE,
    islands: tuple[str, ...] = ("rms_norm",),
    **changes: Any,
) -> Converted:
    """A world of its own, exported and converted below `root`."""
    takes = world(root, family, **{"num_hidden_layers": 2, **changes})
    first = Stage(root / "exported", takes)
    export(takes, EXPORT, first)
    program = first.root / "program"
    second = Stage(root / "converted", {"program": program})
    convert({"program": program}, ConvertParams(recipe=recipe, islands=list(islands)), second)
    made = {"goldens": first.root / "goldens", **{port: second.root / port for port in ("package", "float32")}}
    return Converted({**takes, **made}, program, second)


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return make(tmp_path_factory.mktemp("converted"))


def converted_again(program: Path, root: Path, params: ConvertParams) -> Stage:
    """The program converted below `root`, by other parameters."""
    stage = Stage(root, {"program": program})
    convert({"program": program}, params, stage)
    return stage


@pytest.fixture(scope="session")
def stateful(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The same program with its cache in states."""
    params = CONVERT.model_copy(update={"cache": "state"})
    stage = converted_again(converted.program, tmp_path_factory.mktemp("stateful"), params)
    made = {port: stage.root / port for port in ("package", "float32")}
    return Converted({**converted.takes, **made}, converted.program, stage)
