"""Compiling and judging import no tensor library, open no socket and start no process, in an environment of core
dependencies alone; proved by forbidding all three. Only rows of a spec that stand in Parquet or Arrow are read by a
process of their own, which no shipped spec needs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "specs").glob("*.yaml"))

GUARD = """
import importlib.abc, socket, subprocess, sys
FORBIDDEN = {"torch", "transformers", "coremltools", "numpy", "tokenizers", "safetensors", "sentencepiece", "sympy", "scipy", "pandas", "pyarrow", "jinja2"}
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError("forbidden while compiling: " + name)
sys.meta_path.insert(0, Refuse())
def audit(event, args):
    if event in ("socket.connect", "socket.bind", "socket.__new__", "subprocess.Popen", "os.system", "os.exec"):
        raise RuntimeError("forbidden while compiling: " + event)
sys.addaudithook(audit)
from kcompiler.cli import _main
sys.exit(_main(sys.argv[1:]))
"""


def guarded(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GUARD, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_guard_bites():
    code = GUARD.replace("from kcompiler.cli import _main", "import numpy")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "forbidden while compiling" in done.stderr


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("verb", [["validate"], ["plan", "--check"], ["graph"]], ids=lambda verb: verb[0])
def test_compiling_a_shipped_spec_needs_core_dependencies_only(verb, spec):
    done = guarded(*verb, spec)
    assert done.returncode == 0, done.stdout + done.stderr


def test_judging_needs_core_dependencies_only(tmp_path):
    report = tmp_path / "report.json"
    report.write_text("{}")
    done = guarded("gate", str(report), "--lock", "generated/eight-ball/plan.lock")
    assert done.returncode in (1, 2, 3), done.stdout + done.stderr
    assert "forbidden" not in done.stderr
