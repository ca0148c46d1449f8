"""One undisturbed apply of the tiny spec for the whole session (also of several workers), and copies of it to damage."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from tests.flow import world
from tests.flow.world import Home, Result


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> tuple[Home, Result]:
    """A project in which `apply` ran to its end, and how that command ended. Never to be changed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "flow"
    folder.mkdir(exist_ok=True)
    said = folder / "said.json"
    with (folder / "lease").open("w") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        if not said.exists():
            # in a new interpreter, as users start it, and the result is kept whatever it is: the test of apply itself
            # says what is wrong with it
            result = world.make(folder / "applied").apply(anew=True)
            said.write_text(json.dumps([result.code, result.out, result.err]), encoding="utf-8")
    return Home(folder / "applied"), Result(*json.loads(said.read_text(encoding="utf-8")))


@pytest.fixture
def done(applied: tuple[Home, Result], tmp_path: Path) -> Home:
    """A copy of the project in which everything was done."""
    return applied[0].copy(tmp_path / "project")


@pytest.fixture
def fresh(tmp_path: Path) -> Home:
    """The project before anything ran in it."""
    return world.make(tmp_path / "project")


def core_alone(data: dict[str, Any]) -> None:
    """What the tiny student can prove: that its packages are its checkpoint."""
    data["policies"] = ["caws/core"]


@pytest.fixture(scope="session")
def passed(applied: tuple[Home, Result], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A project whose verdict is PASS. Never to be changed."""
    home = applied[0].copy(tmp_path_factory.mktemp("passed") / "project")
    home.change(core_alone)
    # a host chooses among prefills
    home.change(lambda data: data["shapes"].update(prefill=[32, 48]))
    home.apply().ended(0, "")
    return home


@pytest.fixture(scope="session")
def delivered(passed: Home) -> Path:
    """Its delivery. Never to be changed."""
    folder = passed.root.parent / "delivered"
    result = passed.run("deliver", f"specs/{world.NAME}.yaml", "--to", str(folder)).ended(0, "")
    assert f"delivered {world.NAME} to {folder}" in result.out
    return folder
