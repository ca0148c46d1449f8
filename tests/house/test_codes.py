"""One code per cause; each has a page that explains it and a case that shows it."""

import re
from pathlib import Path

import pytest

from kcompiler import diagnostic

ROOT = Path(__file__).resolve().parents[2]
USED = sorted(
    {
        code
        for path in (ROOT / "kcompiler").rglob("*.py")
        for code in re.findall(r"\"(KC\d{4})\"", path.read_text(encoding="utf-8"))
    }
)
#: refused by the machine while a lock is carried out
REFUSED = sorted(
    {
        code
        for path in (ROOT / "runtime").rglob("*.py")
        for code in re.findall(r"\"(KR\d{4})\"", path.read_text(encoding="utf-8"))
    }
)
#: found by an audit, or in the state folder
FOUND = sorted(
    {
        code
        for room in ("audit", "export", "render")
        for path in (ROOT / "kcompiler" / room).rglob("*.py")
        for code in re.findall(r"\"(KA\d{2})\"", path.read_text(encoding="utf-8"))
    }
)
CASES = sorted(path for path in (ROOT / "tests/golden").glob("*/KC*") if path.is_dir())


def test_every_code_has_a_page_and_every_page_a_code():
    assert diagnostic.codes() == [*FOUND, *USED, *REFUSED]


@pytest.mark.parametrize("code", [*FOUND, *USED, *REFUSED])
def test_a_page_has_a_title_a_cause_and_the_right_way(code):
    page = diagnostic.explain(code)
    assert page.title
    assert not page.title.endswith(".")
    assert len(page.page.partition("\n\n")[0].split()) >= 8
    assert "Right:" in page.page
    assert "`" in page.page


@pytest.mark.parametrize("code", USED)
def test_every_code_has_a_case(code):
    assert [case for case in CASES if case.name.startswith(f"{code}-")], f"add tests/golden/<verb>/{code}-<claim>/"


@pytest.mark.parametrize("code", FOUND)
def test_every_finding_is_brought_about_by_a_test(code):
    tests = [*(ROOT / "tests/unit/kcompiler/audit").glob("test_*.py"), ROOT / "tests/unit/kcompiler/cli/test_state.py"]
    assert [path for path in tests if f'"{code}"' in path.read_text(encoding="utf-8")], f"assert the code {code}"


@pytest.mark.parametrize("code", REFUSED)
def test_every_refusal_of_the_machine_is_brought_about_by_a_test(code):
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert [path for path in tests if f'"{code}"' in path.read_text(encoding="utf-8")], f"assert the code {code}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_says_what_is_printed(case):
    assert case.name[:6] in USED
    assert f"[{case.name[:6]}]" in (case / "expected.txt").read_text(encoding="utf-8")
