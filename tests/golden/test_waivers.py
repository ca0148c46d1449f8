"""`waiver check`: each folder holds waivers of one pack, and the whole text that is said of them on one day."""

import os
import shutil
from pathlib import Path

import pytest

from kcompiler.cli import _main
from tests.unit.kcompiler.waiver.world import PACK, SIGNED, sign

WAIVERS = Path(__file__).parent / "waivers"
CASES = sorted(WAIVERS.glob("KC*"))
#: exit code of a case; where none is named, something is wrong
CODES = {"KC6107": 0, "KC6109": 7, "KC6110": 0}

#: who has signed the waiver of a case, where it is not both
ONE = {"KC6109": {"ana": "2026-11-21"}}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_text_is_the_expected_one(case, tmp_path, monkeypatch, capsys):
    shutil.copytree(WAIVERS / "base", tmp_path, dirs_exist_ok=True)
    shutil.copytree(case, tmp_path, ignore=shutil.ignore_patterns("expected.txt"), dirs_exist_ok=True)
    (tmp_path / "policies" / "team" / "rows" / "pack.yaml").write_text(PACK)
    if not case.name.startswith("KC6102"):
        sign(tmp_path / "waivers" / "WV-0001.yaml", ONE.get(case.name[:6], SIGNED))
    (tmp_path / ".kcompiler").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _main(["waiver", "check", "--as-of", "2026-11-28T12:00:00Z"]) == CODES.get(case.name[:6], 1)
    said = capsys.readouterr()
    text, expected = said.out + said.err, case / "expected.txt"
    if os.environ.get("KCOMPILER_REWRITE"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
    assert f"[{case.name[:6]}]" in text
