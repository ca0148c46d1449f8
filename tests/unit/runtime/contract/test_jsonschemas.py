"""jsonschema is loaded without the parsers of a format that nobody asks for, and nobody else loses them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
SAYS = """
import sys
{before}
from runtime.contract.jsonschemas import Draft202012Validator, best_match
assert best_match(Draft202012Validator({{"type": "integer"}}).iter_errors("x")).message
print("rfc3987_syntax" in sys.modules)
import rfc3987_syntax
print(rfc3987_syntax.MADE)
"""


@pytest.mark.parametrize(("before", "loaded"), [("", "False"), ("import rfc3987_syntax", "True")])
def test_the_parsers_are_not_built_unless_somebody_did(tmp_path: Path, before: str, loaded: str) -> None:
    """A package of that name stands here in its place: whether the real one is installed decides nothing."""
    (tmp_path / "rfc3987_syntax.py").write_text("MADE = 'here'\ndef is_valid_syntax(*_): return True\n")
    done = subprocess.run(
        [sys.executable, "-c", SAYS.format(before=before)],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [loaded, "here"]
