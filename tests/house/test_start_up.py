"""Compiling a spec imports what it needs and nothing else (what it costs: tests/bench/start_up.py)."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_slow_parts_are_loaded_only_when_asked_for():
    code = "import sys, kcompiler.front; print([m for m in sys.modules if m in {'networkx', 'rich', 'click', 'numpy'}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
