"""A rule whose cases are missing, malformed, or decided otherwise than they say is reported, each with its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler.judge import judge
from kcompiler.policy import cases
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import report
from tests.unit.kcompiler.policy.test_load import lab

GOOD = report({"level": facts.rate(9, 10)}, kind="eval.sound", step="evaluate-sound")
CASES: dict[str, Any] = {
    "pass": {"report": GOOD, "expect": {"outcome": "pass", "pointer": "/data/level", "matches": 1}},
    "fail": {"change": {"/data/level": facts.rate(1, 10)}, "expect": {"outcome": "fail"}},
    "missing": {"remove": ["/data/level"], "expect": {"outcome": "not_evaluated", "pointer": "/data"}},
}


def complaints(folder: Path, **changes: Any) -> list[str]:
    """What is wrong with the cases of a rule; `changes` replace a case (None: no file, a text: that text)."""
    loaded = lab(folder).packs[0].rules[0]
    for name, content in {**CASES, **changes}.items():
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (loaded.folder / f"{name}.json").write_text(text)
    return cases.check(loaded, judge)


def test_cases_that_are_decided_as_they_say_are_silent(tmp_path: Path) -> None:
    assert complaints(tmp_path) == []


def test_a_missing_report_is_a_case(tmp_path: Path) -> None:
    assert complaints(tmp_path, missing={"report": None, "expect": {"outcome": "not_evaluated"}}) == []


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("no file", {"fail": None}, "lab/loud/fail.json"),
    ("not strict JSON", {"fail": '{"expect": NaN}'}, "NaN"),
    ("an unknown key", {"fail": {**CASES["fail"], "chnage": {}}}, "chnage"),
    ("a failing case that passes", {"fail": {"change": {}, "expect": {"outcome": "fail"}}}, "expected fail, got pass"),
    (
        "a passing case that expects to fail",
        {"pass": {**CASES["pass"], "expect": {"outcome": "fail"}}},
        "does not expect",
    ),
    (
        "a missing case that expects to pass",
        {"missing": {**CASES["missing"], "expect": {"outcome": "pass"}}},
        "does not",
    ),
    (
        "found elsewhere",
        {"fail": {**CASES["fail"], "expect": {"outcome": "fail", "pointer": "/data"}}},
        "got /data/level",
    ),
    ("looked elsewhere", {"pass": {"report": GOOD, "expect": {"outcome": "pass", "matches": 2}}}, "expected 2 places"),
    ("a change that leads nowhere", {"fail": {**CASES["fail"], "change": {"/data/x/y": 1}}}, "/data/x/y leads nowhere"),
    ("a removal that leads nowhere", {"missing": {**CASES["missing"], "remove": ["/data/x"]}}, "/data/x leads nowhere"),
]


@pytest.mark.parametrize(("claim", "changes", "words"), WRONG, ids=[case[0] for case in WRONG])
def test_a_wrong_case_is_reported(tmp_path: Path, claim: str, changes: dict[str, Any], words: str) -> None:
    found = complaints(tmp_path, **changes)
    assert len(found) == 1, (claim, found)
    assert words in found[0]
    assert found[0].startswith(f"lab/loud/{next(iter(changes))}.json")
