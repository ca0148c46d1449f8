"""A spec whose functions are written for the Neural Engine, from the plan to a delivery that answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import delivery
from tests.flow.test_state import SPEC, answered
from tests.flow.world import Home
from tests.longer import longer

pytestmark = [pytest.mark.tensor, pytest.mark.slow]


@longer
@pytest.mark.parametrize(("cache", "chunks"), [("outputs", 1), ("state", 1), ("state", 2)])
def test_the_profile_ane_passes_every_gate_and_its_delivery_answers(
    passed: Home, tmp_path: Path, cache: str, chunks: int
) -> None:
    home = passed.copy(tmp_path / "project")

    def written(data: dict[str, Any]) -> None:
        data["export"] = {"profile": "ane", "chunks": chunks}
        data["shapes"]["decode"] = {"context": 64, "cache": cache}
        data["shapes"]["prefill"] = [32, 64]
        data["verification"] = {"ledger": True, "onnx": chunks == 1}
        data["student"]["architecture"] |= {"max_position_embeddings": 64, "head_dim": 32}
        data["quantization"]["islands"] = []
        data["teacher"]["architecture"]["max_position_embeddings"] = 64

    home.change(written)
    applied = home.apply().ended(0, "")
    assert "PASS" in applied.out
    home.audit().ended(0, "")

    verified = json.loads((home.evidence / "reports" / "verify.json").read_text())["data"]
    for variant in verified["variants"]:
        for one in (*variant["shapes"], variant["decode"]):
            assert one["cosine"]["value"] > {"float32": 1 - 1e-9, "fp16": 0.9999, "quantized": 0.99}[variant["variant"]]
    if chunks == 1:
        onnx = json.loads((home.evidence / "reports" / "verify-onnx.json").read_text())["data"]
        assert {one["wrong"] for one in onnx["functions"]} == {"nobody"}
    probes = json.loads((home.evidence / "reports" / "probe.json").read_text())["data"]["probes"]
    assert all(one["passed"]["value"] for one in probes)

    out = tmp_path / "out"
    home.run("deliver", SPEC, "--goldens", "--to", str(out)).ended(0, "")
    contract = delivery.load(out)
    assert contract.authoring is not None
    pieces = contract.functions["decode"].pieces
    assert pieces is not None
    assert [one.name for one in pieces[0].inputs][:4] == ["input_ids", "mask", "cos", "sin"]
    assert "Written for the Neural Engine" in (out / "README.md").read_text()
    package = out / contract.packages[0].path
    home.run("mil", "lint", str(package), "--unit", "ane", "--format", "json").ended(0, "")
    home.run("mil", "run", str(package), "--function", "decode", "--random", "1").ended(0, "")
    # on a Mac whose place is taken by one that computes
    from runtime.coreml.attest import Wanted, attest
    from tests.tensor.coreml.standin import MAC, Faults, clock, stand_in

    wanted = Wanted(precision="quantized", units="cpu_and_ne", repetitions=20, clock=clock())
    data = attest(out, wanted, MAC, stand_in(Faults()))
    assert (data["level"]["value"], data["lacks"]) == (5, [])
    question = "Will it rain tomorrow?"
    assert answered(out, question) != ""
    said = home.run("generate", str(out), "--runner", "mil", "--prompt", question).ended(0, "")
    assert said.out.strip() == answered(out, question).strip()
