"""A project whose first step was carried out, and the published schema of what verbs answer."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import referencing

from kcompiler.cli import _main

ROOT = Path(__file__).resolve().parents[4]
SPEC = "specs/eight-ball.yaml"
SCHEMAS = {
    path.name: referencing.Resource.from_contents(json.loads(path.read_text(encoding="utf-8")))
    for path in (ROOT / "schemas").glob("[rv]e*.schema.json")
}
PUBLISHED = jsonschema.Draft202012Validator(
    SCHEMAS["result.schema.json"].contents, registry=referencing.Registry().with_resources(SCHEMAS.items())
)


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """A project whose first step was carried out; tests work in a copy."""
    home = tmp_path_factory.mktemp("begun")
    shutil.copytree(ROOT / "specs", home / "specs", ignore=shutil.ignore_patterns("packaged", "gsm8k", "tools"))
    (home / ".kcompiler").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert _main(["apply", SPEC, "--only", "data"]) == 0
    return home


@pytest.fixture
def home(begun, tmp_path, monkeypatch):
    shutil.copytree(begun, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"
