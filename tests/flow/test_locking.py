"""The committed lock: when it is stale, who may change it, and what its bytes do not depend on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.flow.world import LIGHT, NAME, STEPS, Home, kcompiler, make, text_of, tiny
from tests.longer import also

SPEC = f"specs/{NAME}.yaml"


def hotter(home: Home) -> None:
    home.change(lambda data: data["training"]["stages"][0]["losses"][0].update(temperature=3.0))


def test_plan_check_fails_without_a_lock_passes_with_one_and_fails_when_it_would_change(fresh: Home) -> None:
    missing = fresh.run("plan", SPEC, "--check", code=LIGHT).ended(1, "lock-would-change")
    assert "does not exist" in missing.err
    assert not fresh.lock.exists(), "--check writes nothing"
    fresh.run("plan", SPEC, code=LIGHT).ended(0, "")
    fresh.run("plan", SPEC, "--check", code=LIGHT).ended(0, "")
    before = fresh.lock.read_bytes()
    hotter(fresh)
    result = fresh.run("plan", SPEC, "--check", code=LIGHT).ended(1, "lock-would-change")
    assert "train-kd" in result.err
    assert re.search(r"losses\[0\]\.params\.temperature 1(\.0)? → 3(\.0)?", result.err), result.text
    assert fresh.lock.read_bytes() == before


def test_plan_twice_writes_the_lock_once(fresh: Home) -> None:
    fresh.run("plan", SPEC, code=LIGHT).ended(0, "")
    before = fresh.lock.stat().st_mtime_ns
    fresh.run("plan", SPEC, code=LIGHT).ended(0, "")
    assert fresh.lock.stat().st_mtime_ns == before


def test_locked_apply_refuses_a_lock_that_would_change_and_runs_nothing(fresh: Home) -> None:
    result = fresh.apply("--locked", code=LIGHT).ended(4, "lock-stale")
    assert "does not exist" in result.err
    fresh.run("plan", SPEC, code=LIGHT).ended(0, "")
    hotter(fresh)
    result = fresh.apply("--locked", code=LIGHT).ended(4, "lock-stale")
    assert re.search(r"temperature 1(\.0)? → 3(\.0)?", result.err), result.text
    assert result.last["next"] == f"kcompiler plan {SPEC}"
    assert not (fresh.state / "journal.jsonl").exists()


def test_apply_of_a_lock_refuses_when_its_spec_says_something_else(done: Home) -> None:
    lock = f"generated/{NAME}/plan.lock"
    assert set(done.run("apply", lock, code=LIGHT).ended(1, "fail").steps().values()) == {"reused"}
    hotter(done)
    done.run("apply", lock, code=LIGHT).ended(4, "lock-stale")


def test_detailed_exitcode_says_whether_there_is_work(done: Home, tmp_path: Path) -> None:
    done.run("plan", SPEC, "--detailed-exitcode", code=LIGHT).ended(0, "")
    result = make(tmp_path / "new").run("plan", SPEC, "--detailed-exitcode", code=LIGHT).ended(10, "work")
    assert all(step in result.out for step in STEPS)


WORLDS = {
    "hash seed": {"PYTHONHASHSEED": "1"},
    "another hash seed": {"PYTHONHASHSEED": "4294967295"},
    "time zone": {"TZ": "Pacific/Kiritimati"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "another home and user": {"HOME": "/nonexistent", "USER": "somebody", "HOSTNAME": "elsewhere"},
    "many threads": {"OMP_NUM_THREADS": "7"},
}


@pytest.fixture(scope="module")
def bytes_of_the_lock(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = make(tmp_path_factory.mktemp("reference") / "project")
    home.run("plan", SPEC, code=LIGHT).ended(0, "")
    return home.lock.read_bytes()


#: together they change what the others change one by one
QUICK = {"another hash seed", "Turkish"}


@pytest.mark.parametrize("world", [one if one in QUICK else also(one) for one in WORLDS])
def test_lock_bytes_do_not_depend_on_the_environment(fresh: Home, bytes_of_the_lock: bytes, world: str) -> None:
    fresh.run("plan", SPEC, code=LIGHT, env=WORLDS[world]).ended(0, "")
    assert fresh.lock.read_bytes() == bytes_of_the_lock


def test_lock_bytes_do_not_depend_on_the_working_directory_or_the_umask(
    tmp_path: Path, bytes_of_the_lock: bytes
) -> None:
    home = make(tmp_path / "a folder, with spaces" / "and ünïcode")
    for cwd, target in ((tmp_path, str(home.spec)), (home.root / "specs", f"{NAME}.yaml"), (home.root, f"./{SPEC}")):
        home.lock.unlink(missing_ok=True)
        kcompiler("plan", target, cwd=cwd, code=LIGHT, umask=0o077).ended(0, "")
        assert home.lock.read_bytes() == bytes_of_the_lock


def test_lock_bytes_do_not_depend_on_times_modes_or_line_ends(fresh: Home, bytes_of_the_lock: bytes) -> None:
    text = fresh.spec.read_bytes().replace(b"\n", b"\r\n")
    fresh.spec.write_bytes(text)
    fresh.spec.chmod(0o600)
    fresh.run("plan", SPEC, code=LIGHT).ended(0, "")
    assert fresh.lock.read_bytes() == bytes_of_the_lock


def test_lock_bytes_do_not_depend_on_how_the_spec_is_written(fresh: Home, bytes_of_the_lock: bytes) -> None:
    """Flow style, quotes and sorted keys say the same."""
    fresh.spec.write_text(yaml.safe_dump(tiny(), default_flow_style=True, width=10_000), encoding="utf-8")
    assert fresh.spec.read_text(encoding="utf-8") != text_of(tiny())
    fresh.run("plan", SPEC, code=LIGHT).ended(0, "")
    assert fresh.lock.read_bytes() == bytes_of_the_lock


def test_the_lock_holds_every_default_and_no_place_of_this_machine(fresh: Home, bytes_of_the_lock: bytes) -> None:
    plan = json.loads(bytes_of_the_lock)
    optimizer = next(step for step in plan["steps"] if step["id"] == "train-kd")["params"]["optimizer"]
    assert optimizer["beta2"] == 0.95
    assert b"/tmp" not in bytes_of_the_lock
    assert str(fresh.root.parent).encode() not in bytes_of_the_lock
