"""tests/FAULTS.md names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| (F\d\d) \|.*\| ([^|]+) \|$", (ROOT / "tests/FAULTS.md").read_text(encoding="utf-8"), re.MULTILINE
)


def test_every_fault_of_the_machine_has_a_row():
    wanted = [*range(1, 11), *range(17, 22), *range(24, 29)]
    assert [row for row, _ in ROWS] == [f"F{number:02}" for number in wanted]


@pytest.mark.parametrize(("row", "tests"), ROWS)
def test_the_tests_of_a_fault_are_there(row, tests):
    for name in tests.split(", "):
        path, _, test = name.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {test}(" in text if test else "def test_" in text, name


def test_no_database_is_shared():
    """A handle of SQLite may not cross a fork: there is none."""
    for room in ("kcompiler", "runtime"):
        for path in (ROOT / room).rglob("*.py"):
            assert not re.search(r"^\s*(?:import|from) sqlite3", path.read_text(encoding="utf-8"), re.MULTILINE), path
