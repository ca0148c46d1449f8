"""The script for a lent card on a CPU: the same code in bfloat16, and what becomes of a part that fails."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.longer import also

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests/device/check.py"


@pytest.fixture(scope="module")
def check() -> dict[str, Any]:
    pytest.importorskip("torch")
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize(
    "part", ["card", also("resume"), also("repeated"), also("smollm2"), also("judged"), "memory", also("apart")]
)
def test_a_part_runs_on_the_processor(check: dict[str, Any], part: str) -> None:
    found = check["PARTS"][part][0](True)
    assert json.loads(json.dumps(found)) == found
    if part in ("resume", "repeated"):
        assert found["same_bytes"] is True
    if part == "smollm2":
        assert (found["teacher_held_in"], found["student_held_in"]) == ("torch.bfloat16", "torch.float32")
        assert found["kl"][1] < found["kl"][0]
    text = check["readable"]({part: {"outcome": "done", "found": found, "wall_s": 1.0}})
    assert f"## {part}: done" in text


def test_a_part_that_fails_stops_no_other_and_the_end_says_so(
    check: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def carried_out(name: str, _tiny: bool, limit: float) -> dict[str, Any]:
        assert limit > 0
        if name == "card":
            return {"outcome": "failed", "why": "RuntimeError: no card", "wall_s": 1.0}
        return {"outcome": "done", "found": {"number": 1}, "wall_s": 1.0}

    main = check["main"]
    monkeypatch.setitem(main.__globals__, "carried_out", carried_out)
    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["check.py", "--only", "card", "resume"])
    assert main() == 1
    found = json.loads((tmp_path / "device.json").read_text())
    assert {name: one["outcome"] for name, one in found.items()} == {"card": "failed", "resume": "done"}
    assert "RuntimeError: no card" in (tmp_path / "device.md").read_text()
    assert "## resume: done" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["check.py", "--only", "resume"])
    assert main() == 0


def test_a_part_has_a_process_and_a_limit(check: dict[str, Any]) -> None:
    over = check["carried_out"]("card", True, 0.05)
    assert (over["outcome"], over["why"][:8]) == ("failed", "not done")
