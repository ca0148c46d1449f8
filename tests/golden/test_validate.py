"""`validate`: each folder is a spec, and the whole text that compiling it prints. The folder's name is the claim.

A folder whose name starts with a code holds a spec whose only mistake has that code. Beside `spec.yaml` a case may
hold `options.json`: `limits` and `pure` of the loader, `folders` and `links` (symbolic, name → target) that are made
before the spec is read, the `profile` that is asked for, `without_pyarrow`, and a folder `plugins` of installed distributions.
"""

import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from kcompiler.front import Front, compile_spec
from kcompiler.render import human
from kcompiler.render import json as json_form
from kcompiler.source import Limits
from runtime import catalog

CASES = sorted(path for path in (Path(__file__).parent / "validate").iterdir() if path.is_dir())
ROOT = Path(__file__).resolve().parents[2]
#: codes that cannot stand alone: reading stops because of other mistakes
_BESIDE = {
    "KC1024": {"KC1019"},
    # of an enumerated package, and of one for the Neural Engine, it is told what was reported of such packages
    **{code: {"KC4813"} for code in ("KC4888", "KC4931", "KC4932", "KC4933")},
    **{f"KC494{last}": {"KC4813"} for last in range(6)},
}


@pytest.fixture(scope="module")
def compiled(request, tmp_path_factory):
    """A case and what compiling it gave: once for all that is asked of it (pytest asks that one after another)."""
    case: Path = request.param
    home = tmp_path_factory.mktemp("validate") / "project"
    shutil.copytree(case, home, ignore=shutil.ignore_patterns("expected.txt", "options.json"))
    options = json.loads((case / "options.json").read_text()) if (case / "options.json").exists() else {}
    for name in options.get("folders", []):
        (home / name).mkdir()
    for name, target in options.get("links", {}).items():
        (home / name).symlink_to(target)
    for name, size in options.get("sizes", {}).items():
        os.truncate(home / name, size)
    with pytest.MonkeyPatch.context() as patch:
        if options.get("without_pyarrow"):
            # a program in place of the reader that says what the reader says where pyarrow is not installed
            absent = home.parent / "absent.py"
            absent.write_text("print('[\"absent\"]')")
            patch.setattr("runtime.contract.tables.PROGRAM", absent)
        if (home / "plugins").is_dir():
            patch.syspath_prepend(str(home / "plugins"))
            importlib.invalidate_caches()
        catalog.forget()
        front = compile_spec(
            home / "spec.yaml",
            home,
            profile=options.get("profile", ""),
            packs=[home / "policies", ROOT / "policies"],
            limits=Limits(**options.get("limits", {})),
            pure=options.get("pure"),
        )
    for path in (home / "plugins").glob("*.py"):
        sys.modules.pop(path.stem, None)
    catalog.forget()
    return case, front


def text_of(front: Front) -> str:
    return human.diagnostics(front.diagnostics, front.sources)


@pytest.mark.parametrize("compiled", CASES, indirect=True, ids=lambda case: case.name)
def test_the_text_is_the_expected_one(compiled):
    case, front = compiled
    expected = case / "expected.txt"
    if os.environ.get("KCOMPILER_REWRITE"):
        expected.write_text(text_of(front), encoding="utf-8")
    assert text_of(front) == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "compiled", [case for case in CASES if case.name.startswith("KC")], indirect=True, ids=lambda case: case.name
)
def test_the_case_of_a_code_has_that_mistake_and_no_other(compiled):
    case, front = compiled
    assert {item.code for item in front.diagnostics} - _BESIDE.get(case.name[:6], set()) == {case.name[:6]}
    errors = [item for item in front.diagnostics if item.severity == "error"]
    assert (front.spec is None) == bool(errors)


@pytest.mark.parametrize("compiled", CASES, indirect=True, ids=lambda case: case.name)
def test_every_diagnostic_has_a_place_and_something_to_do(compiled):
    _, front = compiled
    for item in front.diagnostics:
        assert item.file in front.sources
        assert item.help
        assert item.line or item.code in {"KC1001", "KC1002", "KC1003", "KC1004", "KC1022"}


@pytest.mark.parametrize("compiled", CASES, indirect=True, ids=lambda case: case.name)
def test_json_has_the_same_diagnostics_with_offsets_into_the_text(compiled):
    _, front = compiled
    lines = [json.loads(line) for line in json_form.diagnostics(front.diagnostics).splitlines()]
    assert [(line["code"], line["line"], line["column"]) for line in lines] == [
        (item.code, item.line, item.column) for item in front.diagnostics
    ]
    for line in lines:
        if line["line"]:
            text = front.sources[line["file"]].decode("utf-8", "replace")
            before = text[: line["start"]]
            assert before.count("\n") + 1 == line["line"]
            assert line["start"] - (before.rfind("\n") + 1) + 1 == line["column"]


def test_ten_mistakes_give_ten_diagnostics():
    expected = (Path(__file__).parent / "validate/ten-mistakes-are-ten-diagnostics-of-one-run/expected.txt").read_text()
    assert sum(line.startswith("error[") for line in expected.splitlines()) >= 10
