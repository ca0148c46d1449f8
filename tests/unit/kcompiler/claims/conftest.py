"""A document, or answers, in a folder of its own → how `kcompiler claims` ends on it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from kcompiler.cli import cli


@dataclass
class Ended:
    """Called with a text, it gives the exit code; what was printed stands in `output`."""

    folder: Path
    output: str = ""

    def __call__(self, text: str, name: str = "d.md", *options: str) -> int:
        (self.folder / name).write_text(text)
        done = CliRunner().invoke(cli, ["claims", *options, name])
        assert "itself failed" not in done.output
        self.output = done.output
        return int(getattr(done.exception, "code", done.exit_code))


@pytest.fixture
def ended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Ended(tmp_path)
