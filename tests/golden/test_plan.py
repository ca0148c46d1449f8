"""`plan`: each folder is a spec that compiles and cannot be planned, and the whole text that says why."""

import os
import shutil
from pathlib import Path

import pytest

from kcompiler import plan
from kcompiler.diagnostic import ordered
from kcompiler.front import compile_spec
from kcompiler.project import Project
from kcompiler.render import human

CASES = sorted(path for path in (Path(__file__).parent / "plan").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_text_is_the_expected_one(case, tmp_path):
    """A folder whose name starts with a code shows that mistake and no other."""
    home = tmp_path / "project"
    shutil.copytree(case, home, ignore=shutil.ignore_patterns("expected.txt"))
    front = compile_spec(home / "spec.yaml", home)
    assert front.diagnostics == []
    made, found = plan.make(front, Project(home))
    assert (made is None) == any(item.severity == "error" for item in found)
    assert {item.code for item in found} == ({case.name[:6]} if case.name.startswith("KC") else set())
    sources = {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*.yaml")}
    text = human.diagnostics(ordered(found), sources)
    expected = case / "expected.txt"
    if os.environ.get("KCOMPILER_REWRITE"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
