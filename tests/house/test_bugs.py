"""tests/tensor/BUGS.md names tests, rules, codes and rows of tables that are there."""

import re
from pathlib import Path

import pytest

from kcompiler import tables

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| (\d\.\d\.\d|D\d+) \|.*\| ([^|]+) \| ([^|]+) \|$",
    (ROOT / "tests/tensor/BUGS.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
ERRATA = {one.id for one in tables.errata().errata}
PLACEMENT = {one.id for one in tables.placement().rules}
LINT = (ROOT / "runtime/models/fxlint.py").read_text(encoding="utf-8")


def names_of(text: str) -> list[str]:
    """A comma within brackets is one of a parameter."""
    return re.split(r", (?=tests/)", text)


def is_test(name: str) -> bool:
    found = re.fullmatch(r"(tests/[\w/]+\.py)::(\w+)(?:\[(.+)\])?", name)
    if found is None or not (ROOT / found[1]).is_file():
        return False
    text = (ROOT / found[1]).read_text(encoding="utf-8")
    return f"def {found[2]}(" in text and (
        found[3] is None or f'"{found[3]}": ' in text or f'Claim("{found[3]}", ' in text
    )


def is_name(name: str) -> bool:
    if name.startswith("FX-"):
        return f'"{name}",' in LINT
    if re.fullmatch(r"K[CR]\d{4}", name):
        return (ROOT / f"kcompiler/codes/{name}.md").is_file()
    table, colon, row = name.partition(":")
    if colon:
        return row in {"errata": ERRATA, "placement": PLACEMENT}.get(table, set())
    return (ROOT / "policies" / name / "rule.yaml").is_file()


def test_every_defect_of_the_study_has_a_row():
    wanted = [f"3.2.{number}" for number in range(1, 8)] + [f"5.3.{number}" for number in range(1, 7)]
    assert [row for row, *_ in ROWS] == [*wanted, "D5", "D6", "D7", "D15"]


@pytest.mark.parametrize(("row", "planted", "caught"), ROWS, ids=[row for row, *_ in ROWS])
def test_what_plants_it_and_what_names_it_are_there(row, planted, caught):
    assert [name for name in names_of(planted) if not is_test(name)] == []
    assert [name for name in caught.split(", ") if not is_name(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        "tests/tensor/coreml/test_bugs.py",
        "tests/tensor/coreml/test_bugs.py::test_nothing",
        "tests/tensor/coreml/test_bugs.py::test_the_rules_that_name_a_defect[nobody]",
        "tests/tensor/coreml/test_nowhere.py::test_the_rules_that_name_a_defect",
    ],
)
def test_a_test_that_is_not_there_is_none(name):
    assert not is_test(name)


@pytest.mark.parametrize(
    "name",
    ["FX-NONE", "KC0000", "errata:nothing", "placement:nothing", "rows:base", "caws/core/nothing", "caws/core", ""],
)
def test_a_name_that_is_not_there_is_none(name):
    assert not is_name(name)
