"""`policy lint`: each folder is a project with one pack, and the whole text that says what is wrong with it."""

import os
from pathlib import Path

import pytest

from kcompiler import assets, policy
from kcompiler.diagnostic import ordered
from kcompiler.judge import judge
from kcompiler.policy import lint
from kcompiler.render import human

CASES = sorted(path for path in (Path(__file__).parent / "lint").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_text_is_the_expected_one(case):
    """A folder whose name starts with a code shows that mistake and no other."""
    packs = policy.load(policy.available([case / "policies"]), [case / "policies", assets.folder("policies")])
    assert packs.problems == ()
    found = ordered(lint.findings(packs.packs, judge))
    assert {item.code for item in found} == ({case.name[:6]} if case.name.startswith("KC") else set())
    sources = {path.relative_to(case).as_posix(): path.read_bytes() for path in case.rglob("*.yaml")}
    text = human.diagnostics(found, sources)
    expected = case / "expected.txt"
    if os.environ.get("KCOMPILER_REWRITE"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
