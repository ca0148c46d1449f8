"""`verify --on-device`: what it measures where nobody says, by the contract of the delivery."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from kcompiler.cli import verifying


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was to be measured; nothing is."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(verifying, "_report", lambda _folder, wanted: asked.append(dict(wanted)) or {})
    monkeypatch.setattr(verifying, "_write", lambda *_: None)
    monkeypatch.setattr(verifying, "_answer", lambda *_: None)
    return asked


@pytest.mark.parametrize(
    ("units", "options", "found"),
    [
        ("all", (), "all"),
        ("cpu_and_gpu", (), "cpu_and_gpu"),
        ("cpu_and_gpu", ("--units", "cpu_and_ne"), "cpu_and_ne"),
        ("cpu_only", ("--units", "all"), "all"),
        ("cpu_only", (), ""),
    ],
)
def test_the_delivery_says_where_it_computes(
    units: str,
    options: tuple[str, ...],
    found: str,
    measured: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "delivery").mkdir()
    whole = SimpleNamespace(golden=object(), packages=[SimpleNamespace(precision="fp16")], compute_units=units)
    monkeypatch.setattr(verifying, "_whole", lambda _folder: whole)
    arguments = ["--on-device", str(tmp_path / "delivery"), "--to", str(tmp_path / "r.json"), *options]
    ended = CliRunner().invoke(verifying.verify, arguments)
    if found:
        assert (ended.exit_code, [one["units"] for one in measured]) == (0, [found]), ended.output
    else:
        assert ended.exit_code == 2
        assert "for the CPU alone" in ended.output
        assert measured == []
