"""The verbs that people ask for help with answer at once: 30 ms of CPU on an idle core, twice that is the budget."""

import os
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


def run(*arguments):
    """CPU seconds of a whole process, and what it imported of the heavy ones."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, done.stderr.strip()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain", "KC2104"], ["plan", "--help"]])
def test_help_is_at_once(arguments):
    """Nothing heavy is imported; the best of several runs, twice the budget of an idle core when others work on it."""
    found = [run(*arguments) for _ in range(4)]
    assert {imported for _, imported in found} == {"[]"}
    assert min(used for used, _ in found) <= 0.12


def test_the_heavy_ones_are_seen():
    """The test above could fail."""
    assert "pydantic" in run("validate", "specs/eight-ball.yaml")[1]
