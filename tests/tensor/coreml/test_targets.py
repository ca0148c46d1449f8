"""Deployment targets: what is asked for stands in the package, and a package for another system is found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import program as contracts
from runtime.contract.targets import TARGETS
from runtime.mil import interface_readback, package
from runtime.mil.convert import convert
from runtime.mil.verify import verify
from runtime.steps.convert import ConvertParams
from tests.longer import longer
from tests.tensor.coreml.conftest import CONVERT, RECIPE, Converted
from tests.tensor.coreml.test_verify import PARAMS, SECTIONS, relative_errors
from tests.tensor.export.world import Stage


@pytest.fixture(scope="module")
def newest(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The takes with packages for iOS26."""
    stage = Stage(tmp_path_factory.mktemp("iOS26"), {"program": converted.program})
    params = ConvertParams(recipe=RECIPE, islands=["rms_norm"], deployment="iOS26")
    convert({"program": converted.program}, params, stage)
    assert stage.reports["report"]["data"]["deployment"] == "iOS26"
    return {**converted.takes, "package": stage.root / "package", "float32": stage.root / "float32"}


def report(takes: dict[str, Path], root: Path, **changes: Any) -> dict[str, Any]:
    stage = Stage(root, takes)
    verify(takes, PARAMS.model_copy(update=changes), stage)
    data: dict[str, Any] = stage.reports["report"]["data"]
    return data


@longer
def test_a_package_for_ios26_is_interpreted_and_agrees(newest: dict[str, Path], tmp_path: Path) -> None:
    data = report(newest, tmp_path, deployment="iOS26")
    assert [data[section]["violations"]["value"] for section in SECTIONS] == [0, 0, 0, 0]
    exact, fp16, _ = data["variants"]
    assert max(relative_errors(exact)) < 1e-5
    assert all(item["cosine"]["value"] >= 0.9999 for item in [*fp16["shapes"], fp16["decode"]])
    for variant in ("fp16", "quantized"):
        opened = package.open(newest["package"] / f"{variant}.mlpackage")
        assert (opened.specification_version, {f.opset for f in opened.functions.values()}) == (10, {9})


def test_a_package_for_another_system_is_found(newest: dict[str, Path], converted: Converted, tmp_path: Path) -> None:
    """Asked for one and made for the other; and a package that is not what its own contract says."""
    asked = report(newest, tmp_path / "asked")["provenance"]
    assert asked["findings"] == ["the package was made for iOS26, not for iOS18"]
    contract = contracts.load(newest["package"])
    older = package.open(converted.takes["package"] / "fp16.mlpackage")
    found = interface_readback.interface(older, contract)
    assert Counter(item.kind for item in found) == {"target": 1 + len(contract.functions)}
    assert found[0].message == "specification version 9, iOS26 has 10"
    assert {item.message for item in found[1:]} == {"opset CoreML8, iOS26 has CoreML9"}
    assert CONVERT.deployment == "iOS18"


def test_the_table_is_coremltools_own() -> None:
    import coremltools as ct

    for name, target in TARGETS.items():
        assert int(ct.target[name]) == target.specification
        assert ct._OPSET[ct.target[name]] == f"CoreML{target.opset}"
