"""`ci`, stages `policy diff` and `change`: each folder is a spec before and after a change, and the whole text that refuses it."""

import os
import re
import subprocess
from functools import partial
from pathlib import Path

import pytest

from kcompiler.cli import change, since
from kcompiler.cli.answer import Answer
from kcompiler.cli.outcome import Outcome
from kcompiler.project import Project
from kcompiler.render import human

CASES = sorted(path for path in (Path(__file__).parent / "ci").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_text_is_the_expected_one(case, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_bytes((case / "before.yaml").read_bytes())
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "before"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    spec.write_bytes((case / "after.yaml").read_bytes())
    base = None if "without-a-revision" in case.name else "HEAD"
    answer = Answer(change.VERB, "spec.yaml", "json", spec)
    found = change.bounds(Project(tmp_path), spec, "", base)
    plan = {"asked": {"spec": "spec.yaml"}, "sources": [], "inputs": [], "plugins": [], "policies": []}
    compared = partial(since.held_to, answer, "HEAD", {}, [spec])
    counted = partial(change.held_to, answer, found, spec, base, plan)
    with pytest.raises(Outcome) as ended:
        (compared if "raised" in case.name else counted)()
    assert {one.code for one in answer.diagnostics} == {case.name[:6]}
    text = human.diagnostics(answer.diagnostics, {"spec.yaml": spec.read_bytes()})
    text += f"{ended.value.message}\noutcome={ended.value.word} code={ended.value.code}\n"
    text = re.sub(r"\b[0-9a-f]{12}\b", "COMMIT", text)
    expected = case / "expected.txt"
    if os.environ.get("KCOMPILER_REWRITE"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
