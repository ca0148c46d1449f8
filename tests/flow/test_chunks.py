"""A spec whose student is split over two packages, from the plan to a delivery that answers as one package does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.contract import delivery
from tests.flow.test_state import answered
from tests.flow.world import NAME, Home
from tests.longer import longer

pytestmark = [pytest.mark.tensor, pytest.mark.slow]
SPEC = f"specs/{NAME}.yaml"
QUESTION = "Will it rain tomorrow?"


@longer
@pytest.mark.parametrize("cache", ["outputs", "state"])
def test_a_student_in_chunks_passes_every_gate_and_is_delivered(passed: Home, tmp_path: Path, cache: str) -> None:
    home = passed.copy(tmp_path / "project")

    def chunks(data: dict[str, dict[str, object]]) -> None:
        data["shapes"]["decode"] = {"context": 48, "cache": cache}
        data["export"] = {"chunks": 2}
        data["verification"] = {"ledger": True}

    home.change(chunks)
    planned = home.run("plan", SPEC).ended(0, "")
    assert "chunk_1 embedding + " in planned.out
    assert "norm and head" in planned.out
    applied = home.apply().ended(0, "")
    assert "PASS" in applied.out
    home.audit().ended(0, "")

    reports = {
        name: json.loads((where.evidence / "reports" / f"{name}.json").read_text())["data"]
        for name, where in (("convert", home), ("error-ledger", home), ("verify", home))
    }
    before = json.loads((passed.evidence / "reports" / "verify.json").read_text())["data"]
    for mine, theirs in zip(reports["verify"]["variants"], before["variants"], strict=True):
        for key in ("cosine", "relative_error", "kl", "greedy_agreement", "cache"):
            assert mine["decode"][key] == theirs["decode"][key], (mine["variant"], key)
    for package in reports["convert"]["packages"]:
        assert sum(part["bytes"]["value"] for part in package["parts"]) == package["bytes"]["value"]
    for variant in reports["error-ledger"]["variants"]:
        for function in variant["functions"]:
            assert [block.get("leaves") for block in function["blocks"]].count("chunk_1") == 1
            assert function["compared"]["k"] == function["compared"]["n"]

    out = tmp_path / "out"
    home.run("deliver", SPEC, "--goldens", "--to", str(out)).ended(0, "")
    contract = delivery.load(out)
    assert sorted(path.name for path in (out / "packages").iterdir()) == [
        f"{precision}.chunk_{number}.mlpackage" for precision in ("fp16", "quantized") for number in (1, 2)
    ]
    assert [(one.precision, one.part) for one in contract.packages[:2]] == [
        ("quantized", "chunk_1"),
        ("quantized", "chunk_2"),
    ]
    # on a Mac whose place is taken by one that computes
    from runtime.coreml.attest import Wanted, attest
    from tests.tensor.coreml.standin import MAC, Faults, clock, stand_in

    wanted = Wanted(precision="quantized", units="cpu_and_gpu", repetitions=20, clock=clock())
    data = attest(out, wanted, MAC, stand_in(Faults()))
    assert (data["level"]["value"], data["lacks"]) == (5, [])
    passed.run("deliver", SPEC, "--to", str(tmp_path / "other")).ended(0, "")
    assert answered(out, QUESTION) == answered(tmp_path / "other", QUESTION) != ""
    said = [
        where.run("generate", str(folder), "--runner", "mil", "--prompt", QUESTION).ended(0, "").out
        for where, folder in ((home, out), (passed, tmp_path / "other"))
    ]
    assert said[0] == said[1] != ""
