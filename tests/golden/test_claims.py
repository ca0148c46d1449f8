"""`claims`: each folder is a document (or answers) with its evidence, and the whole text that checking it prints."""

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from kcompiler.cli import cli

CASES = sorted(path for path in (Path(__file__).parent / "claims").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_text_is_the_expected_one(case, tmp_path, monkeypatch):
    shutil.copytree(case, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("expected.txt"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["claims", "answers.jsonl" if (case / "answers.jsonl").exists() else "document.md"])
    text, expected = done.output, case / "expected.txt"
    if os.environ.get("KCOMPILER_REWRITE"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
    # CliRunner gives an exception of a verb that says how it ends
    assert getattr(done.exception, "code", None) == 1
    assert f"[{case.name[:6]}]" in text
