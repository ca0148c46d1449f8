"""The committed lock of every shipped spec is what its spec compiles to now."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "specs").glob("*.yaml"))


@pytest.mark.parametrize("spec", SPECS)
def test_plan_check_agrees(spec):
    done = subprocess.run(
        [sys.executable, "-m", "kcompiler", "plan", spec, "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"run `kcompiler plan {spec}` and commit the lock\n{done.stderr}"


def test_there_is_no_lock_without_a_spec():
    locks = {path.parent.name for path in (ROOT / "generated").glob("*/plan.lock")}
    assert locks == {Path(spec).stem for spec in SPECS}
