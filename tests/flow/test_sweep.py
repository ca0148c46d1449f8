"""A sweep and a profile on the real command line: what cells share is made once, each cell is judged, audit agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flow.world import BLOCKED, LIGHT, QUALITY, make
from tests.longer import longer

SWEEP = {
    "execution.seed": [1, 2],
    "recipe": {
        "int8": {"quantization.default.weights": "int8"},
        "fp16": {"quantization.default.weights": "fp16"},
    },
}


def with_sweep(data: dict[str, Any]) -> None:
    data["matrix"] = {"recipe": SWEEP["recipe"]}
    data["profiles"] = {"smoke": {"training.stages.kd.steps": 6, "matrix": {}}}


@pytest.mark.slow
@longer
def test_a_sweep_is_applied_judged_and_audited(tmp_path: Path) -> None:
    home = make(tmp_path / "project")
    home.change(with_sweep)
    result = home.apply()
    result.ended(1, "fail")
    steps = result.steps()
    assert set(steps.values()) == {"committed"}
    assert {name for name in steps if "@" in name} == {
        f"{name}@recipe={recipe}" for name in ("convert", "verify", "evaluate-answers") for recipe in ("fp16", "int8")
    }
    verdict = json.loads((home.evidence / "verdict.json").read_text(encoding="utf-8"))
    blocked = {(one["rule"], one["step"]) for one in verdict["outcomes"] if one["blocks"]}
    # the tiny student answers nothing in either cell, and nothing else is wrong: no cell is taken for the other
    cells = {f"evaluate-answers@recipe={recipe}" for recipe in ("fp16", "int8")}
    assert {step for _, step in blocked} == cells
    assert {rule for rule, _ in blocked} <= QUALITY
    assert {(BLOCKED, step) for step in cells} <= blocked
    assert "audit       sound" in home.audit().ended(0, "").out
    assert set(home.apply().steps().values()) == {"reused"}


def test_a_profile_has_a_plan_and_evidence_of_its_own(tmp_path: Path) -> None:
    home = make(tmp_path / "project")
    home.change(with_sweep)
    home.run("plan", "specs/tiny.yaml", code=LIGHT).ended(0, "")
    home.run("plan", "specs/tiny.yaml", "--profile", "smoke", code=LIGHT).ended(0, "")
    base, smoke = (
        json.loads((home.root / "generated" / name / "plan.lock").read_text()) for name in ("tiny", "tiny@smoke")
    )
    assert len(base["steps"]) == len(smoke["steps"]) + 3
    assert {step["id"]: step for step in smoke["steps"]}["train-kd"]["params"]["steps"] == 6
    home.run("plan", "specs/tiny.yaml", "--profile", "smoke", "--check", code=LIGHT).ended(0, "")
    home.run("status", "specs/tiny.yaml", "--profile", "smoke", code=LIGHT).ended(0, "")
    home.run("graph", "specs/tiny.yaml", "--profile", "smoke", code=LIGHT).ended(0, "")
    home.run("show", "lock", "specs/tiny.yaml", "--profile", "smoke", code=LIGHT).ended(0, "")
    home.run("show", "lock", "generated/tiny@smoke", code=LIGHT).ended(0, "")
    home.run("diff", "generated/tiny/plan.lock", "generated/tiny@smoke/plan.lock", code=LIGHT).ended(0, "")


def test_a_lock_of_a_profile_is_carried_out_as_that_profile(tmp_path: Path) -> None:
    home = make(tmp_path / "project")
    home.change(with_sweep)
    home.run("plan", "specs/tiny.yaml", "--profile", "smoke", code=LIGHT).ended(0, "")
    lock = "generated/tiny@smoke/plan.lock"
    home.run("apply", lock, "--only", "data", code=LIGHT).ended(0, "")
    assert (home.root / "generated" / "tiny@smoke" / "evidence" / "run.json").is_file()
    home.run("apply", lock, "--profile", "smoke", code=LIGHT).ended(2, "usage")
    home.run("plan", "specs/tiny.yaml", "--profile", "smok", code=LIGHT).ended(1, "invalid")
