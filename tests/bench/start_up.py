"""What compiling a spec costs from a cold start, as a multiple of importing the libraries it needs, in one run.

    python tests/bench/start_up.py

An idle core gave 0.21 s of CPU for the spec and 0.12 s for the libraries. `validate`, `plan` and an `apply` that has
nothing to run are whole commands; with PYTHONDONTWRITEBYTECODE set, each of them compiles 200 modules anew, which costs
another 0.15 s.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = "import jsonschema, yaml; from pydantic import BaseModel"
COMPILE = """
import pathlib, sys
from kcompiler.front import compile_spec
front = compile_spec(pathlib.Path("specs/eight-ball.yaml"), pathlib.Path("."))
sys.exit(front.spec is None)
"""
VERBS = {"validate": 0, "plan": 0, "apply": 1}
HELP = "import sys; from kcompiler.cli import _main; sys.exit(_main(['--help']))"


def seconds(code: str) -> float:
    """CPU seconds of a whole process."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def command(verb: str, home: Path) -> float:
    """CPU seconds of a command in a project where the null backend has run every step: no gate passes on that."""
    more = ["--backend", "null"] if verb == "apply" else []
    before = os.times()
    code = [sys.executable, "-m", "kcompiler", verb, "spec.yaml", *more]
    done = subprocess.run(code, cwd=home, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    after = os.times()
    assert done.returncode == VERBS[verb], done.stderr
    return after.children_user + after.children_system - before.children_user - before.children_system


def commands() -> None:
    """What the verbs cost where nothing has to be done, as a multiple of importing the libraries."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / ".git").mkdir()
        shutil.copy(ROOT / "specs" / "eight-ball.yaml", home / "spec.yaml")
        first = command("apply", home)
        rounds = [(seconds(LIBRARIES), *(command(verb, home) for verb in VERBS)) for _ in range(5)]
    libraries, *found = (min(column) for column in zip(*rounds, strict=True))
    said = ", ".join(f"{verb} {cost:.2f} s ({cost / libraries:.1f})" for verb, cost in zip(VERBS, found, strict=True))
    print(f"{said}; the first apply {first:.2f} s")


if __name__ == "__main__":
    commands()
    # in turns, so that a busy machine slows all alike
    rounds = [(seconds(LIBRARIES), seconds(COMPILE), seconds(HELP)) for _ in range(5)]
    libraries, spec, help_text = (min(column) for column in zip(*rounds, strict=True))
    print(f"libraries {libraries:.2f} s, spec {spec:.2f} s, ratio {spec / libraries:.1f}; --help {help_text:.2f} s")
