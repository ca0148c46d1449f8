"""The verbs that people ask for help with import nothing heavy (what they cost: tests/bench/start_up.py)."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"pydantic", "networkx", "jsonschema", "rich", "yaml", "rfc8785", "cryptography", "importlib.metadata", "numpy"}
CODE = """
import sys
from kcompiler.cli import _main
code = _main(sys.argv[1:])
print(sorted(set(sys.modules) & {heavy}), file=sys.stderr)
sys.exit(code)
"""


def imported(*arguments):
    """What a whole process imported of the heavy ones."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.strip()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain", "KC2104"], ["plan", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    assert imported(*arguments) == "[]"


def test_the_heavy_ones_are_seen():
    """The test above could fail."""
    assert "pydantic" in imported("validate", "specs/eight-ball.yaml")
