"""Losses over layers on the real command line: from a spec to a verdict that passes, an audit and a delivery, in which
nothing is left of what was trained beside the student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tests.flow.conftest import core_alone
from tests.flow.world import LIGHT, NAME, make
from tests.longer import longer

SPEC = f"specs/{NAME}.yaml"
PAIRS = [{"student": 1, "teacher": 2}, {"student": 0, "teacher": 1}]


def compared(data: dict[str, Any]) -> None:
    """States of two widths, and maps of as many heads."""
    core_alone(data)
    data["shapes"].update(prefill=[32, 48])
    data["teacher"].pop("signals")
    data["teacher"]["architecture"].update(hidden_size=48)
    data["evaluation"]["baselines"] = []
    data["training"]["stages"][0]["losses"] = [
        {"term": "kl", "weight": 0.6, "temperature": 1.0},
        {"term": "hidden", "weight": 0.3, "layers": PAIRS, "normalise": True},
        {"term": "attention", "weight": 0.1, "map": "last"},
    ]


@longer
def test_layers_are_compared_from_the_spec_to_the_delivery(tmp_path: Path) -> None:
    home = make(tmp_path / "project")
    home.change(compared)
    home.run("validate", SPEC, code=LIGHT).ended(0, "")
    home.run("plan", SPEC, code=LIGHT).ended(0, "")
    done = home.apply()
    done.ended(0, "")
    assert json.loads((home.evidence / "verdict.json").read_text())["verdict"] == "PASS"
    told = json.loads((home.stored("train-kd", "report") / "report.json").read_text())["data"]
    assert [one["projection"]["value"] for one in told["layers"]["hidden"]] == [48 * 32, 48 * 32]
    assert [one["projection"]["value"] for one in told["layers"]["attention"]] == [0]
    for name in ("hidden", "attention"):
        curve = told["terms"][name]["curve"]
        assert all(point["gradient_norm"]["value"] > 0 for point in curve)
    # so few steps are no proof of more
    first, *_, last = told["terms"]["hidden"]["curve"]
    assert last["value"]["value"] < first["value"]["value"]
    reached = json.loads((home.stored("reach", "report") / "report.json").read_text())["data"]["terms"]
    assert set(reached) == {"kl", "hidden", "attention"}
    assert "sound" in home.audit().ended(0, "").out
    folder = tmp_path / "delivered"
    home.run("deliver", SPEC, "--to", str(folder)).ended(0, "")
    with safe_open(folder / "huggingface" / "model.safetensors", framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (a handle)
    assert len(shapes) > 5
    assert all(name.startswith(("model.", "lm_head.")) for name in shapes), shapes
    # the matrices are 48 wide, which nothing of the student is
    assert not [name for name, shape in shapes.items() if 48 in shape]
