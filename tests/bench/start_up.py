"""What compiling a spec costs from a cold start, as a multiple of importing the libraries it needs, in one run.

    python tests/bench/start_up.py

An idle core gave 0.21 s of CPU for the spec and 0.12 s for the libraries.
"""

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
HELP = "import sys; from kcompiler.cli import _main; sys.exit(_main(['--help']))"


def seconds(code: str) -> float:
    """CPU seconds of a whole process."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    # in turns, so that a busy machine slows all alike
    rounds = [(seconds(LIBRARIES), seconds(COMPILE), seconds(HELP)) for _ in range(5)]
    libraries, spec, help_text = (min(column) for column in zip(*rounds, strict=True))
    print(f"libraries {libraries:.2f} s, spec {spec:.2f} s, ratio {spec / libraries:.1f}; --help {help_text:.2f} s")
