"""Compiling a spec is quick from a cold start: 0.21 s of CPU on an idle core, of which the libraries take 0.12 s."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = "import jsonschema, yaml; from pydantic import BaseModel"
COMPILE = """
import pathlib, sys
from kcompiler.front import compile_spec
front = compile_spec(pathlib.Path("specs/eight-ball.yaml"), pathlib.Path("."))
sys.exit(front.spec is None)
"""


def seconds(code: str) -> float:
    """CPU seconds of a whole process."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_a_spec_compiles_in_a_small_multiple_of_what_importing_the_libraries_costs():
    """Measured in turns, so that a busy machine slows both alike."""
    pairs = [(seconds(LIBRARIES), seconds(COMPILE)) for _ in range(4)]
    assert min(ours for _, ours in pairs) <= 3 * min(theirs for theirs, _ in pairs)


def test_the_slow_parts_are_loaded_only_when_asked_for():
    code = "import sys, kcompiler.front; print([m for m in sys.modules if m in {'networkx', 'rich', 'click', 'numpy'}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
