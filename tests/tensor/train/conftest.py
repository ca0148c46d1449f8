"""One dataset, tokenizer and teacher for all tests of this folder: they only read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.train.distill import fit
from tests.tensor.train import world


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("training")
    data = world.dataset(root / "dataset")
    words = world.tokenizer(root / "tokenizer", data)
    world.validation(data)
    # No training may look at the test split: a line that nothing accepts makes sure.
    (data / "test.jsonl").write_text("this is not a row\n", encoding="utf-8")
    return {"dataset": data, "tokenizer": words}


@pytest.fixture(scope="session")
def taught(base: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base and a teacher, trained far enough to differ from a fresh student."""
    stage = world.Stage(tmp_path_factory.mktemp("teacher"), base)
    shape = world.architecture(hidden_size=48, num_hidden_layers=1)
    fit(base, world.params(architecture=shape, steps=30), stage, made_by="bootstrap")
    return {**base, "teacher": stage.root / "checkpoint"}
