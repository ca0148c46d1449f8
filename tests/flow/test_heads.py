"""A spec whose student says when an answer is over, from the plan to a delivery that ends its answers by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flow.test_state import answered
from tests.flow.world import NAME, Home
from tests.longer import longer

pytestmark = [pytest.mark.tensor, pytest.mark.slow]
SPEC = f"specs/{NAME}.yaml"


@longer
def test_a_head_is_trained_packaged_gated_and_ends_an_answer(passed: Home, tmp_path: Path) -> None:
    home = passed.copy(tmp_path / "project")

    def headed(data: dict[str, dict[str, object]]) -> None:
        data["student"]["heads"] = ["halt"]
        stage = data["training"]["stages"][-1]  # type: ignore[index]
        stage["losses"].append({"term": "halt", "weight": 0.1})

    home.change(headed)
    assert "PASS" in home.apply().ended(0, "").out
    home.audit().ended(0, "")
    verified = json.loads((home.evidence / "reports" / "verify.json").read_text())["data"]
    for variant in verified["variants"]:
        for section in [*variant["shapes"], variant["decode"]]:
            assert [one["head"] for one in section["heads"]] == ["halt"]
            assert section["heads"][0]["relative_error"]["value"] < 0.05
    verdict = json.loads((home.evidence / "verdict.json").read_text())
    assert "caws/core/parity-heads" in json.dumps(verdict)
    out = tmp_path / "out"
    home.run("deliver", SPEC, "--to", str(out)).ended(0, "")
    contract = json.loads((out / "contract.json").read_text("utf-8"))
    assert all("halt" in [one["name"] for one in function["outputs"]] for function in contract["functions"].values())
    assert (out / "huggingface" / "heads.safetensors").is_file()
    said = [
        home.run("generate", str(out), "--prompt", "Will it rain?", "--runner", runner, "--halt", "0.000001")
        .ended(0, "")
        .out
        for runner in ("torch", "mil")
    ]
    assert said[0] == said[1]
    whole = home.run("generate", str(out), "--prompt", "Will it rain?", "--max-tokens", "30").ended(0, "").out
    assert len(said[0]) < len(whole)
    # a host that knows nothing of heads answers as ever
    assert answered(out, "Will it rain tomorrow?") != ""
