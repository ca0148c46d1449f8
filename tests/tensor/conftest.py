"""What tests share that convert with coremltools themselves; the product converts to memory and writes by itself."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from types import SimpleNamespace

import pytest


class Folder:
    """A temporary folder that is gone once nobody holds it."""

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, self.name)


@pytest.fixture(scope="session")
def converter_folders() -> Iterator[None]:
    """coremltools 9.0's `_mil_convert` (every `ct.convert` to an ML Program, every function of `ct.optimize.coreml`)
    keeps its weights in a TemporaryDirectory that it never closes: Python warns of each. Here it is given folders that
    end with their holder as well, but on purpose, so that a ResourceWarning in this suite is one of ours."""
    from coremltools.converters.mil import converter

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converter, "_tempfile", SimpleNamespace(TemporaryDirectory=Folder))
        yield
