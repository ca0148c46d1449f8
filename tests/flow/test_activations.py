"""A spec whose MLP layers read int8, from the plan to a delivery that answers."""

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
def test_layers_that_read_int8_pass_every_gate(passed: Home, tmp_path: Path) -> None:
    home = passed.copy(tmp_path / "project")

    def integers(data: dict[str, dict[str, object]]) -> None:
        (source,) = data["data"]["sources"]  # type: ignore[misc]
        data["quantization"] |= {
            "calibration": {"sources": {source["name"]: 12}},  # type: ignore[index]
            "activations": {"match": ["*.mlp.*"]},
        }
        data["verification"] = {"ledger": True}

    home.change(integers)
    applied = home.apply().ended(0, "")
    assert "PASS" in applied.out
    home.audit().ended(0, "")
    reports = home.evidence / "reports"
    verified, chosen, before = (
        json.loads((one / f"{name}.json").read_text())["data"]
        for one, name in ((reports, "verify"), (reports, "calibrate"), (passed.evidence / "reports", "verify"))
    )
    layers = chosen["activations"]["layers"]
    assert verified["activations"]["k"] == verified["activations"]["n"]
    assert verified["activations"]["n"] == len(layers) * len(verified["variants"][0]["shapes"]) + len(layers)
    # the float forms are those of the same spec without it; the quantized one reads integers
    for mine, theirs in zip(verified["variants"], before["variants"], strict=True):
        assert (mine["decode"]["cosine"] == theirs["decode"]["cosine"]) is (mine["variant"] != "quantized")
    ledger = json.loads((reports / "error-ledger.json").read_text())["data"]
    assert all(one["logits"]["kl"]["value"] > 0 for one in ledger["delta"]["functions"])
    out = tmp_path / "out"
    home.run("deliver", SPEC, "--to", str(out)).ended(0, "")
    said = f"Layers of the quantized package that read int8 (W8A8): {len(layers)}."
    assert said in (out / "README.md").read_text(encoding="utf-8")
    assert answered(out, "Will it rain tomorrow?") != ""
