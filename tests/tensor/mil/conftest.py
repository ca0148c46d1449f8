"""Converted models of this folder, each made once per worker, on first use. Tests only read them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import coremltools as ct
import pytest

from runtime.mil import package
from runtime.mil.package import Package
from tests.tensor.mil import models
from tests.tensor.mil.models import Sample


class Zoo:
    """Samples, converted models and opened packages by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sample: Callable[[str, str], Sample] = cache(models.sample)
        self.model: Callable[[str, str], Any] = cache(lambda family, kind: models.converted(self.sample(family, kind)))
        #: the Llama prefill for the older deployment target, whose compressed constants have another form
        self.ios17: Callable[[], Any] = cache(
            lambda: models.converted(self.sample("llama", "prefill"), target=ct.target.iOS17)
        )
        self.package: Callable[[str, str], Package] = cache(
            lambda family, kind: self.opened(f"{family}_{kind}", self.model(family, kind))
        )

    def opened(self, name: str, model: Any) -> Package:
        """Save a model under a name and open it with our reader."""
        return package.open(models.saved(model, self.folder / f"{name}.mlpackage"))


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory, converter_folders: None) -> Zoo:
    """The models of this worker."""
    return Zoo(tmp_path_factory.mktemp("zoo"))
