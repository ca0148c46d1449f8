from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import catalog, digest
from runtime.contract import Refusal
from runtime.machine.stale import Stale, require_fresh, require_toolchain, requirements, same_version
from tests.unit.runtime.machinery import chain

ZERO = "sha256:" + "0" * 64


def pin(path: str, kind: str = "file", value: str = ZERO) -> dict[str, Any]:
    return {"name": "x", "path": path, "kind": kind, "digest": value, "bytes": 1}


CASES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "an input that is gone": (
        lambda lock: lock["inputs"].append(pin("gone.txt")), f"input x: locked {ZERO}, found no such file",
    ),
    "a folder that is gone": (
        lambda lock: lock["inputs"].append(pin("gone", "hf_folder")), f"input x: locked {ZERO}, found no such folder",
    ),
    "a step that is not installed": (
        lambda lock: lock["steps"][0].update(kind="magic@1"), "step magic: locked magic@1, found not installed",
    ),
    "another version of a step": (
        lambda lock: lock["steps"][0].update(kind="toy_make@2"), "step toy_make: locked toy_make@2, found toy_make@1",
    ),
    "a backend that is not installed": (
        lambda lock: lock["steps"][0].update(backend="magic"), "backend magic: locked magic, found not installed",
    ),
    "a backend that cannot": (
        lambda lock: lock["steps"][0].update(backend="python"),
        "backend python: locked python carries out toy_make, found it cannot",
    ),
    "an executor that is not installed": (
        lambda lock: lock["asked"].update(executor="ray"), "executor ray: locked ray, found not installed",
    ),
    "a plug-in that is not installed": (
        lambda lock: lock["plugins"].append(
            {"room": "losses", "name": "magic", "distribution": "d", "version": "1", "code": ZERO}
        ),
        f"plugin losses/magic: locked d 1 {ZERO}, found not installed",
    ),
    "a plug-in that is built in": (
        lambda lock: lock["plugins"].append(
            {"room": "backends", "name": "null", "distribution": "d", "version": "1", "code": ZERO}
        ),
        f"plugin backends/null: locked d 1 {ZERO}, found built in",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_difference_is_named_with_both_sides(root: Path, case: str) -> None:
    change, message = CASES[case]
    content = copy.deepcopy(chain(root))
    require_fresh(content, root)
    change(content)
    with pytest.raises(Stale) as caught:
        require_fresh(content, root)
    assert [str(one) for one in caught.value.differences] == [message]


def test_a_folder_input_is_fresh_by_its_tree(root: Path) -> None:
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text("{}")
    content = {**chain(root), "inputs": [pin("model", "hf_folder", digest.of_folder(root / "model"))]}
    require_fresh(content, root)
    (root / "model" / "more.json").write_text("{}")
    with pytest.raises(Stale):
        require_fresh(content, root)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "inside/../../x", "link/x"])
def test_a_path_that_leaves_the_project_is_refused(root: Path, path: str) -> None:
    project = root / "project"
    (project / "inside").mkdir(parents=True)
    (project / "link").symlink_to(root)
    (root / "x").write_text("secret")
    with pytest.raises(Refusal, match="outside the project") as caught:
        require_fresh({**chain(root), "inputs": [pin(path)]}, project)
    assert caught.value.code == "KR0103"


def test_a_toolchain_must_be_locked_and_installed_as_locked(root: Path) -> None:
    content = chain(root)
    require_toolchain(content, ["toy"])
    here = content["toolchain"]["pydantic"]
    for toolchain, message in [
        ({}, f"toolchain pydantic: locked not locked, found {here}"),
        ({"pydantic": "1.0"}, f"toolchain pydantic: locked 1.0, found {here}"),
    ]:
        with pytest.raises(Stale) as caught:
            require_toolchain({**content, "toolchain": toolchain}, ["toy"])
        assert [str(one) for one in caught.value.differences] == [message]
        require_toolchain({**chain(root, backend="null"), "toolchain": toolchain}, ["null"])


def test_a_backend_that_pins_another_version_than_the_lock_is_a_difference(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = chain(root)
    monkeypatch.setitem(catalog.load("backends", "toy").requires, "pydantic", "0.1")
    with pytest.raises(Stale) as caught:
        require_toolchain(content, ["toy"])
    here = content["toolchain"]["pydantic"]
    assert [str(one) for one in caught.value.differences] == [f"backend toy/pydantic: locked {here}, found 0.1"]


def test_local_labels_count_only_when_they_are_locked() -> None:
    assert same_version("2.13.0", "2.13.0")
    assert same_version("2.13.0", "2.13.0+cpu")
    assert not same_version("2.13.0+cu128", "2.13.0+cpu")
    assert not same_version("2.13.0", "2.13.1")
    assert not same_version("2.13.0", "not installed")


def test_requirements_of_an_unknown_backend_are_a_difference(root: Path) -> None:
    content = chain(root)
    assert requirements(content) == {"toy": content["toolchain"]}
    content["steps"][0]["backend"] = "magic"
    with pytest.raises(Stale):
        requirements(content)
