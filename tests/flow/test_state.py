"""A spec whose package keeps its cache in Core ML states, from the plan to a delivery that answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.contract import delivery
from tests.flow.world import NAME, Home, environment
from tests.longer import longer

pytestmark = [pytest.mark.tensor, pytest.mark.slow]
SPEC = f"specs/{NAME}.yaml"


@longer
def test_prefills_decode_states_int8_and_onnx_pass_every_gate(passed: Home, tmp_path: Path) -> None:
    home = passed.copy(tmp_path / "project")

    def states(data: dict[str, dict[str, object]]) -> None:
        data["shapes"]["decode"] = {"context": 48, "cache": "state"}
        data["verification"] = {"onnx": True}

    home.change(states)
    applied = home.apply().ended(0, "")
    assert "PASS" in applied.out
    home.audit().ended(0, "")
    # what was exported knows no state
    assert home.digests()["export#program"] == passed.digests()["export#program"]

    verified = json.loads((home.evidence / "reports" / "verify.json").read_text())["data"]
    before = json.loads((passed.evidence / "reports" / "verify.json").read_text())["data"]
    for mine, theirs in zip(verified["variants"], before["variants"], strict=True):
        for key in ("cosine", "relative_error", "kl", "greedy_agreement", "cache"):
            assert mine["decode"][key] == theirs["decode"][key], (mine["variant"], key)
    onnx = json.loads((home.evidence / "reports" / "verify-onnx.json").read_text())["data"]
    assert {one["wrong"] for one in onnx["functions"]} == {"nobody"}

    out = tmp_path / "out"
    home.run("deliver", SPEC, "--goldens", "--to", str(out)).ended(0, "")
    contract = delivery.load(out)
    assert contract.kv_cache.written_by == "graph"
    for function in contract.functions.values():
        assert [(one.name, one.dtype) for one in function.states] == [
            ("key_cache", "float16"),
            ("value_cache", "float16"),
        ]
        assert [one.name for one in function.outputs] == ["logits"]
    # on a Mac whose place is taken by one that computes: one state for all functions
    from runtime.coreml.attest import Wanted, attest
    from tests.tensor.coreml.standin import MAC, Faults, clock, stand_in

    core_ml = Faults()
    wanted = Wanted(precision="quantized", units="cpu_and_gpu", repetitions=20, clock=clock())
    data = attest(out, wanted, MAC, stand_in(core_ml))
    assert (data["level"]["value"], data["lacks"], set(core_ml.asked)) == (5, [], {"decode"})
    question = "Will it rain tomorrow?"
    passed.run("deliver", SPEC, "--to", str(tmp_path / "other")).ended(0, "")
    assert answered(out, question) == answered(tmp_path / "other", question) != ""


def answered(folder: Path, question: str) -> str:
    """What the Python host of a delivery says."""
    done = subprocess.run(
        [sys.executable, str(folder / "hosts/python/host.py"), question],
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
