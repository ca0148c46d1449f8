"""Compiling and judging import no tensor library, open no socket and start no process, in an environment of core
dependencies alone; proved by forbidding all three. Only rows of a spec that stand in Parquet or Arrow are read by a
process of their own, which no shipped spec needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.longer import also

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
"""
ONE = GUARD + "sys.exit(_main(sys.argv[1:]))\n"
#: `verb… -- spec…`: the exit code of each, on the last line
EACH = (
    GUARD
    + """
import json
at = sys.argv.index("--")
codes = {spec: _main([*sys.argv[1:at], spec]) for spec in sys.argv[at + 1 :]}
print()
print(json.dumps(codes))
"""
)


def guarded(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_the_guard_bites():
    done = guarded(GUARD.replace("from kcompiler.cli import _main", "import numpy"))
    assert "forbidden while compiling" in done.stderr


@pytest.mark.parametrize("verb", [["plan", "--check"], also(["validate"]), also(["graph"])], ids=lambda verb: verb[0])
def test_compiling_a_shipped_spec_needs_core_dependencies_only(verb):
    """One process for all specs: what the first of them must not import, the last must not have imported either. That
    `plan --check` agrees says also that the committed locks are fresh: if not, run `kcompiler plan` and commit them."""
    done = guarded(EACH, *verb, "--", *SPECS)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(SPECS, 0), done.stderr[-6000:]


def test_there_is_no_lock_without_a_spec():
    locks = {path.parent.name for path in (ROOT / "generated").glob("*/plan.lock")}
    assert locks == {Path(spec).stem for spec in SPECS}


def test_judging_needs_core_dependencies_only(tmp_path):
    report = tmp_path / "report.json"
    report.write_text("{}")
    done = guarded(ONE, "gate", str(report), "--lock", "generated/eight-ball/plan.lock")
    assert done.returncode in (1, 2, 3), done.stdout + done.stderr
    assert "forbidden" not in done.stderr
