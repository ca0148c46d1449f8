"""One small model for all, and one plain server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tensor.generate import folders
from tests.tensor.serve import serving
from tests.tensor.serve.serving import Server


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("starlette", "uvicorn", "prometheus_client"):
        pytest.importorskip(name, reason=f"{name} is not installed (the extra `serve`)")
    return folders.llama(tmp_path_factory.mktemp("tiny") / "tiny", context=512)


@pytest.fixture(scope="session")
def plain(folder: Path) -> Iterator[Server]:
    """`kcompiler serve` as anybody starts it."""
    with serving.command("serve", str(folder), "--port", "0", "--max-tokens", "200") as server:
        yield server
