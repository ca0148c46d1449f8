"""A model that lies outside the project: colleagues with other places share one lock, and who has no place is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from kcompiler import lock
from kcompiler.audit.plan import pins
from kcompiler.cli import _main

GOLDEN = Path(__file__).resolve().parents[1] / "golden/validate/a-student-of-the-teachers-family-has-no-diagnostics"


def project(root: Path, weights: Path) -> Path:
    """A project of its own, and the two models beside it in `weights`."""
    shutil.copytree(GOLDEN / "teacher", weights / "teacher")
    shutil.copytree(GOLDEN / "student", weights / "student")
    (root / ".kcompiler").mkdir(parents=True)
    data = yaml.safe_load((GOLDEN / "spec.yaml").read_text(encoding="utf-8"))
    data["teacher"]["model"] = "models:big"
    data["student"]["checkpoint"]["model"] = "models:small"
    (root / "spec.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    listed = f'big = "{weights / "teacher"}"\nsmall = "{weights / "student"}"\n'
    (root / ".kcompiler/models.toml").write_text(listed, encoding="utf-8")
    return root


@pytest.fixture
def one(tmp_path):
    return project(tmp_path / "one", tmp_path / "data")


def test_two_machines_with_other_places_write_one_lock(one, tmp_path, capsys):
    other = project(tmp_path / "other", tmp_path / "elsewhere" / "models")
    for home in (one, other):
        assert _main(["plan", str(home / "spec.yaml")]) == 0
    locks = [(home / "generated/answers/plan.lock").read_bytes() for home in (one, other)]
    assert locks[0] == locks[1]
    assert str(tmp_path).encode() not in locks[0]
    paths = {entry["name"]: entry["path"] for entry in json.loads(locks[0])["inputs"]}
    assert (paths["teacher"], paths["student"]) == ("models:big", "models:small")
    assert _main(["plan", "--check", str(other / "spec.yaml")]) == 0


@pytest.mark.parametrize("verb", ["validate", "plan", "apply"])
def test_without_a_place_the_exit_is_4_and_the_advice_works(one, tmp_path, capsys, verb):
    listed = one / ".kcompiler/models.toml"
    text = listed.read_text(encoding="utf-8")
    listed.write_text(text.splitlines()[0] + "\n", encoding="utf-8")
    assert _main([verb, str(one / "spec.yaml")]) == 4
    said = capsys.readouterr().err
    assert "no place for the model `small`" in said
    assert 'write its folder into .kcompiler/models.toml at the project\'s root: small = "/where/it/is"' in said
    assert "outcome=input-absent code=4" in said
    listed.write_text(text, encoding="utf-8")
    assert _main(["validate", str(one / "spec.yaml")]) == 0


def test_another_model_under_the_name_is_not_the_pinned_one(one, tmp_path, capsys):
    (tmp_path / "data/teacher/more.txt").write_text("changed", encoding="utf-8")
    assert _main(["validate", str(one / "spec.yaml")]) == 1
    assert "KC4408" in capsys.readouterr().err
    assert _main(["pin", str(one / "spec.yaml")]) == 0
    assert _main(["validate", str(one / "spec.yaml")]) == 0


def test_an_auditor_without_the_place_is_told_which_model_is_missing(one, capsys):
    assert _main(["plan", str(one / "spec.yaml")]) == 0
    made = lock.read(one / "generated/answers/plan.lock")
    assert list(pins(made, one)) == []
    (one / ".kcompiler/models.toml").unlink()
    found = {(item.code, item.subject): item.message for item in pins(made, one)}
    assert "there is no .kcompiler/models.toml" in found["KA02", "models:big"]
    assert "there is no .kcompiler/models.toml" in found["KA02", "models:small"]
