"""Who may import whom, proved by import-linter; types by mypy; style by ruff. The same three anybody can run alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_imports_go_one_way():
    """Every arrow of the design is a contract, and a new module without a place is refused."""
    run(str(BIN / "lint-imports"))


def test_types_are_strict():
    """mypy --strict over both packages; tensor machinery is only as strict as its libraries' stubs allow."""
    run(sys.executable, "-m", "mypy")


def test_style_is_uniform():
    """ruff finds nothing to say."""
    run(sys.executable, "-m", "ruff", "check", ".")
