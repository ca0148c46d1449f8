"""A real run exported: what others read of it is what its reports say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from tests.flow.world import LIGHT, Home
from tests.longer import longer

SPEC = "specs/tiny.yaml"


@longer
def test_a_real_run_is_read_by_others(passed: Home, tmp_path: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    home = passed.copy(tmp_path / "project")
    home.run("audit", SPEC, "--export", "out", code=LIGHT).ended(0, "")
    out = home.root / "out"
    results = ModelCard.load(out / "README.md").data.eval_results
    assert results
    for one in results:
        datum: Any = json.loads((home.evidence / "reports" / f"{one.dataset_name}.json").read_text())["data"]
        for name in one.metric_type.split("."):
            datum = datum[name]
        assert one.metric_value == datum["value"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((out / "bom.cdx.json").read_text()) is None
    summary = json.loads((out / "verification-summary.unsigned.json").read_text())
    assert summary["predicate"]["verificationResult"] == "PASSED"
    # the files of the packages are those that were made
    (made,) = home.root.glob(".kcompiler/store/sha256/*/*/quantized.mlpackage")
    said = json.loads((out / "models/convert.package.quantized.mlpackage.unsigned.json").read_text())
    listed = [one["name"] for one in said["predicate"]["resources"]]
    assert listed == sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    home.run("audit", "out", code=LIGHT).ended(7, "self-consistent-unsigned")
    home.run("audit", SPEC, "--export", "out", code=LIGHT).ended(0, "")
    card = out / "README.md"
    card.write_text(card.read_text().replace("PASS", "BEST"))
    assert "KA51" in home.run("audit", "out", code=LIGHT).ended(3, "evidence-broken").out
