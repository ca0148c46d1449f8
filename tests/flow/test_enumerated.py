"""One prefill for every length on the real command line: applied, judged, audited, delivered, and answered from there.

`KCOMPILER_LONG=1` asks it; of the parts tests/tensor/coreml/test_enumerated.py asks each time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flow import world
from tests.flow.conftest import core_alone
from tests.longer import longer

SPEC = f"specs/{world.NAME}.yaml"
PALETTE = {"weights": "lut4", "granularity": "per_tensor"}
CASES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "iOS18 int8": ("iOS18", {"weights": "int8"}, [""]),
    "iOS17 int8": ("iOS17", {"weights": "int8"}, ["decode", ""]),
    "iOS17 lut4": ("iOS17", PALETTE, ["decode", ""]),
}
#: eight tokens from the host of the delivery
ASK = "import runpy; host = runpy.run_path('hosts/python/host.py'); host['answer'].__globals__['MOST'] = 8; print(host['answer']('Will it rain tomorrow?'))"


@longer
@pytest.mark.parametrize("case", CASES)
def test_a_spec_with_one_prefill_passes_and_its_delivery_answers(case: str, fresh: world.Home, tmp_path: Path) -> None:
    target, form, parts = CASES[case]

    def asked(data: dict[str, Any]) -> None:
        core_alone(data)
        data["shapes"]["prefill"] = [32, 48]
        data["export"] = {"strategy": "enumerated", "deployment": target}
        data["quantization"]["default"] = form

    fresh.change(asked)
    applied = fresh.apply().ended(0, "")
    assert "erratum enumerated-not-run" in applied.err
    fresh.run("audit", SPEC).ended(0, "")
    folder = tmp_path / "delivered"
    fresh.run("deliver", SPEC, "--to", str(folder)).ended(0, "")

    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    names = [f"packages/{'.'.join(filter(None, ('quantized', part)))}.mlpackage" for part in parts]
    assert [one["path"] for one in contract["packages"] if one["precision"] == "quantized"] == names
    assert set(contract["functions"]) == {"prefill_32", "prefill_48", "decode"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "it takes `input_ids` of 32 or 48 tokens (EnumeratedShapes) alone" in card
    for name in names:
        fresh.run("mil", "check", str(folder / name)).ended(0, "")
    prefill = str(folder / names[-1])
    function = [] if target == "iOS17" else ["--function", "prefill"]
    fresh.run("mil", "run", prefill, "--random", "1", *function, "--shape", "input_ids=1,48").ended(0, "")
    refused = fresh.run("mil", "run", prefill, "--random", "1", *function, "--shape", "input_ids=1,40")
    assert (refused.code, "declares (1, 32) or (1, 48)" in refused.err) == (2, True)

    prompt = ("--prompt", "Will it rain tomorrow?", "--max-tokens", "8")
    said = fresh.run("generate", str(folder), *prompt, "--runner", "mil").ended(0, "").out
    host = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=folder,
        env=world.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert host.returncode == 0, host.stderr
    assert len(host.stdout) > 1
    assert host.stdout == said


def test_what_ios17_does_not_have_is_refused_before_anything_runs(fresh: world.Home) -> None:
    def asked(data: dict[str, Any]) -> None:
        core_alone(data)
        data["export"] = {"deployment": "iOS17"}
        data["quantization"]["default"] = {"weights": "int4"}
        data["shapes"]["decode"]["cache"] = "state"

    fresh.change(asked)
    refused = fresh.run("validate", SPEC, code=world.LIGHT)
    assert refused.code == 1
    assert [line for line in refused.err.splitlines() if line.startswith("error[")] == [
        "error[KC4932]: a package for iOS17 has no states",
        "error[KC4931]: a package for iOS17 stores no integers of four bits",
        "error[KC4930]: a package for iOS17 has one function, and there is one for every length",
    ]
