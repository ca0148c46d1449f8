"""A spec whose student learns with rounded weights, from the plan to a delivery that answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flow.test_state import answered
from tests.flow.world import NAME, Home
from tests.longer import longer

pytestmark = [pytest.mark.tensor, pytest.mark.slow]
SPEC = f"specs/{NAME}.yaml"


@longer
def test_a_student_that_learnt_with_four_bits_passes_every_gate(passed: Home, tmp_path: Path) -> None:
    home = passed.copy(tmp_path / "project")

    def aware(data: dict[str, Any]) -> None:
        data["quantization"]["default"] = {"weights": "int4", "granularity": "per_block", "block": 16}
        data["training"]["stages"][-1]["qat"] = {"start": 0.5, "learning_rate_factor": 0.5}

    home.change(aware)
    applied = home.apply().ended(0, "")
    assert "PASS" in applied.out
    home.audit().ended(0, "")
    reports = home.evidence / "reports"
    verified, training = (json.loads((reports / f"{name}.json").read_text())["data"] for name in ("verify", "train-kd"))
    learnt = training["qat"]
    assert 0 < learnt["steps"]["k"] < learnt["steps"]["n"]
    assert verified["trained"]["k"] == verified["trained"]["n"] == len(learnt["matrices"])
    assert verified["recipe"]["violations"]["value"] == 0
    # what four bits make of the checkpoint is the checkpoint
    kl = {one["variant"]: one["decode"]["kl"]["value"] for one in verified["variants"]}
    assert kl["quantized"] == pytest.approx(kl["fp16"], abs=1e-6)
    out = tmp_path / "out"
    home.run("deliver", SPEC, "--to", str(out)).ended(0, "")
    count = len(learnt["matrices"])
    said = f"the package holds {count} of {count} matrices as they were trained, bit for bit."
    assert said in (out / "README.md").read_text(encoding="utf-8")
    assert answered(out, "Will it rain tomorrow?") != ""
