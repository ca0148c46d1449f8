from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import catalog
from tests.unit.runtime import machinery


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project, with the toy plug-in installed for the length of the test."""
    monkeypatch.syspath_prepend(str(machinery.TOY))
    catalog.forget()
    with machinery.quick_folder() as folder:
        yield folder
    catalog.forget()
