"""What the bench of a long run makes is a run that an audit finds sound: else it measures how a fault is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.long_run import audited, project


def test_the_run_that_is_measured_is_sound(tmp_path: Path) -> None:
    project(tmp_path, 10)
    audited(tmp_path, 10)
    (tmp_path / "generated/long/evidence/verdict.json").write_text("{}")
    with pytest.raises(AssertionError):
        audited(tmp_path, 10)
