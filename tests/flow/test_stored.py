"""`teacher.store` on the real command line: recorded once for all cells, trained from without the teacher, judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.flow.world import LIGHT, make


def storing(data: dict[str, Any]) -> None:
    data["teacher"] |= {"steps": 100, "store": {"form": "hidden"}}
    data["teacher"]["optimizer"]["learning_rate"] = 1e-2
    data["matrix"] = {"training.stages.kd.batch_size": [4, 8]}
    data["evaluation"]["baselines"] = []


def test_two_students_share_one_recording_and_no_training_opens_the_teacher(tmp_path: Path) -> None:
    home = make(tmp_path / "project")
    home.change(storing)
    planned = home.run("plan", "specs/tiny.yaml", code=LIGHT).ended(0, "")
    cells = [f"train-kd@batch_size={size}" for size in (4, 8)]
    assert [line.split()[1] for line in planned.out.splitlines() if " signals" in line and "run" in line] == ["signals"]
    assert "signals  at most 128 B a supervised token" in planned.out
    home.apply("--only", "signals").ended(0, "")
    # whoever trains a student could not read the teacher if it wanted to
    home.lose("teacher", "checkpoint")
    second = home.apply("--only", cells[1])
    second.ended(0, "")
    assert second.steps()["signals"] == "reused"
    assert second.steps()[cells[1]] == "committed"
    told = json.loads((home.stored(cells[1], "report") / "report.json").read_text())["data"]["signals"]
    assert told["covered"]["value"] == 1
    assert told["margin"]["value"] > 0
    verdict = json.loads((home.evidence / "verdict.json").read_text())
    outcomes = {(one["rule"], one["step"]): one["outcome"] for one in verdict["outcomes"] if "signals-" in one["rule"]}
    rules = ("aligned", "recorded", "repeat")
    assert set(outcomes) == {(f"caws/core/signals-{name}", "signals") for name in rules}
    assert set(outcomes.values()) == {"pass"}
