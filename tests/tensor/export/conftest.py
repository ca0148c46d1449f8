"""One world and one export for all tests of this folder: they only read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from runtime.models.export import export
from runtime.steps.export import ExportParams
from tests.tensor.export.world import Stage, world

PARAMS = ExportParams(prefill=[16, 64], decode_context=96, golden_prompts=2, decode_steps=6, threads=1)


@dataclass(frozen=True)
class Exported:
    takes: dict[str, Path]
    program: Path
    goldens: Path
    stage: Stage


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    root = tmp_path_factory.mktemp("exported")
    takes = world(root)
    stage = Stage(root / "out", takes)
    export(takes, PARAMS, stage)
    return Exported(takes, stage.root / "program", stage.root / "goldens", stage)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
