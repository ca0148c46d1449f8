"""What `pip install .` puts on a machine, used from an empty folder and from a checkout: nothing of the checkout is needed,
and nothing of it gets in the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow.world import ROOT, Result, make
from tests.longer import longer

pytest.importorskip("hatchling", reason="needs hatchling, which builds the package")

Run = Callable[..., Result]
TEXTS = ("specs", "schemas", "policies")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(folder), str(ROOT)], check=True, capture_output=True, timeout=300)
    return next(folder.glob("kcompiler-*.whl"))


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`kcompiler …` of a new environment, whose other packages are those of this one."""
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=120)
    site = next(home.glob("lib/python*/site-packages"))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(home / "bin/python"),
        "install",
        "-q",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, timeout=300)
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (site / "shared.pth").write_text("\n".join(shared) + "\n", encoding="utf-8")
    where = [str(home / "bin/python"), "-c", "import kcompiler, runtime; print(kcompiler.__file__, runtime.__file__)"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "CI": "1",
        "OMP_NUM_THREADS": "1",
    }
    found = subprocess.run(where, cwd=home, env=clean, check=True, capture_output=True, text=True).stdout.split()
    assert all(Path(path).is_relative_to(site) for path in found), found

    def command(*arguments: str, cwd: Path) -> Result:
        done = subprocess.run(
            [str(home / "bin/kcompiler"), *arguments], cwd=cwd, env=clean, capture_output=True, text=True, timeout=180
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return command


def test_the_wheel_holds_every_file_of_both_packages_and_every_shipped_text(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "kcompiler", "runtime", *TEXTS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    wanted = {path if path.partition("/")[0] not in TEXTS else f"kcompiler/_assets/{path}" for path in tracked if path}
    with zipfile.ZipFile(wheel) as held:
        names = {name for name in held.namelist() if ".dist-info/" not in name}
    assert len(wanted) > 500
    assert names == wanted


def test_from_an_empty_folder_it_begins_plans_and_applies(run: Run, tmp_path: Path) -> None:
    for template in ("eight-ball", "toy-tools", "worker-9b"):
        run("init", "--template", template, cwd=tmp_path).ended(0, "")
        run("plan", f"specs/{template}.yaml", cwd=tmp_path).ended(0, "")
        lock = (tmp_path / f"generated/{template}/plan.lock").read_text(encoding="utf-8")
        assert json.loads(lock) == json.loads((ROOT / f"generated/{template}/plan.lock").read_text(encoding="utf-8"))
    run("apply", "specs/eight-ball.yaml", "--only", "tokenizer", cwd=tmp_path).ended(0, "")
    for word in ("KC2104", "caws/core", "kl", "training.stages"):
        run("explain", word, cwd=tmp_path).ended(0, "")


@longer
def test_in_a_checkout_its_packs_are_the_installed_ones(run: Run, tmp_path: Path) -> None:
    """The first command of the README: the checkout has policies of the same names and the same text."""
    home = make(tmp_path / "project")
    shutil.copytree(ROOT / "policies", home.root / "policies")
    shutil.copytree(ROOT / "generated/eight-ball", home.root / "generated/eight-ball")
    run("plan", "specs/eight-ball.yaml", "--check", cwd=home.root).ended(0, "")
    run("apply", "specs/tiny.yaml", "--only", "tokenizer", cwd=home.root).ended(0, "")
