"""From a passed project to a Mac and back: delivered with golden vectors, verified, and brought into the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runtime import digest
from runtime.contract import delivery
from tests.flow.world import NAME, ROOT, Home
from tests.longer import longer

pytestmark = pytest.mark.tensor
PACKS = ["caws/core", "device/attested", "device/resident"]


@pytest.fixture(scope="module")
def for_a_mac(passed: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mac") / "delivery"
    passed.run("deliver", f"specs/{NAME}.yaml", "--goldens", "--to", str(folder)).ended(0, "")
    return folder


def test_a_delivery_with_golden_vectors_is_whole_and_no_pass_here(
    passed: Home, for_a_mac: Path, tmp_path: Path
) -> None:
    text = (for_a_mac / "contract.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(text), json.loads((ROOT / "schemas/delivery.schema.json").read_text()))
    golden = delivery.load(for_a_mac).golden
    assert golden is not None
    made = passed.records()["export"]["gives"]["goldens"]["digest"]
    assert f"sha256:{golden.sha256}" == made == digest.of_folder(for_a_mac / golden.path)
    # what the spec asks of each precision
    bounds = {name: one.logits for name, one in golden.tolerances.items()}
    assert bounds == {"quantized": 0.02, "fp16": 0.02}
    report = tmp_path / "report.json"
    ended = passed.run("verify", "--on-device", str(for_a_mac), "--to", str(report))
    assert ended.code == 4, ended.text
    assert "nothing was measured here: Core ML predicts on a Mac" in ended.err
    assert json.loads(report.read_text())["data"]["level"]["tag"] == "unavailable"


def on_a_mac(folder: Path, **changes: Any) -> dict[str, Any]:
    """What `verify` writes where the stand-in of Core ML is."""
    from runtime.contract.ondevice import KIND
    from runtime.contract.report import envelope
    from runtime.coreml.attest import Wanted, attest
    from tests.tensor.coreml.standin import MAC, clock, stand_in

    data = attest(
        folder, Wanted(precision="quantized", units="all", repetitions=20, clock=clock(), **changes), MAC, stand_in()
    )
    around = {"forged": False, "backend": "coreml"}
    return envelope(kind=KIND, step="device", subject={}, fingerprints={}, environment=around, data=data)


@longer
def test_what_a_mac_measured_comes_into_the_verdict_and_nothing_else_does(
    passed: Home, for_a_mac: Path, tmp_path: Path
) -> None:
    home = passed.copy(tmp_path / "project")
    brought = home.root / "ci" / "mac.json"
    brought.parent.mkdir()
    asked = {"device": {"report": "../ci/mac.json", "level": 5}, "policies": PACKS}
    home.change(lambda data: data.update(profiles={"mac": asked}))
    verdict = home.root / "generated" / f"{NAME}@mac" / "evidence" / "verdict.json"

    def outcomes() -> dict[str, str]:
        found = json.loads(verdict.read_text())["outcomes"]
        return {one["rule"]: one["outcome"] for one in found if one["step"] == "attest"}

    brought.write_text(json.dumps(on_a_mac(for_a_mac)))
    ended = home.apply("--profile", "mac")
    assert ended.code == 0, ended.text
    assert {step for step, what in ended.steps().items() if what == "committed"} == {"attest"}
    assert outcomes()["device/attested/device-level"] == outcomes()["device/resident/device-residency"] == "pass"
    home.run("audit", f"specs/{NAME}.yaml", "--profile", "mac").ended(0, "")
    # this machine's own word is no pass
    words = ["verify", "--on-device", str(for_a_mac), "--to", str(brought)]
    assert home.run(*words).code == 4
    assert home.apply("--profile", "mac").code in (1, 3)
    assert outcomes()["device/attested/device-level"] == "not_evaluated"
    # a report on another package fails the step
    other = on_a_mac(for_a_mac)
    other["data"]["package"].update(sha256="5" * 64, sha256_after="5" * 64)
    brought.write_text(json.dumps(other))
    failed = home.apply("--profile", "mac")
    assert failed.code == 6, failed.text
    assert "KR0281" in failed.text
    assert "it ran another package `quantized`" in failed.text
    # and one that was not made by its own facts is refused before anything runs
    forged = on_a_mac(for_a_mac)
    forged["data"]["level"]["value"] = 4
    brought.write_text(json.dumps(forged))
    refused = home.apply("--profile", "mac")
    assert refused.code == 1, refused.text
    assert "KC4897" in refused.text
