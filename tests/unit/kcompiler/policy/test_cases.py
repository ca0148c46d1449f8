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


def beside(folder: Path, content: Any) -> Path:
    """A case of another rule, in a pack beside the one of `complaints`."""
    rule = folder / "policies" / "other" / "sound"
    rule.mkdir(parents=True)
    (rule / "rule.yaml").write_text("id: sound\n")
    (rule / "pass.json").write_text(json.dumps(content))
    return rule / "pass.json"


LIKE = "../../other/sound/pass.json"
QUIET = report({"level": facts.rate(1, 10)}, kind="eval.sound", step="evaluate-sound")


def test_a_case_may_be_like_one_of_another_rule(tmp_path: Path) -> None:
    beside(tmp_path, {"report": QUIET, "expect": {"outcome": "fail"}})
    good = {"like": LIKE, "change": {"/data/level": facts.rate(9, 10)}, "expect": {"outcome": "pass"}}
    assert complaints(tmp_path, **{"pass": good}, fail={"like": LIKE, "expect": {"outcome": "fail"}}) == []
    case = cases.read(tmp_path / "policies" / "lab" / "loud" / "pass.json")
    assert case.report == GOOD
    assert json.loads(cases.text(good)) == good


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"like": "../../other/sound/gone.json"}, "there is no such case"),
        ({"like": "../../other/pass.json"}, "is no case of a rule"),
        ({"like": "/etc/passwd.json"}, "like"),
        ({"like": "pass.json"}, "like"),
        ({"like": "../../other/sound/rule.yaml"}, "like"),
        ({"like": "../loud/pass.json"}, "difference from itself"),
        ({}, "difference from itself"),
        ({"like": LIKE, "report": GOOD}, "it has a report, and is `like` another"),
        ({"like": LIKE, "change": {"/data/loud/x": 1}}, "leads nowhere in the report of ../../other/sound/pass.json"),
    ],
)
def test_a_case_that_is_like_none_is_named(tmp_path: Path, case: dict[str, Any], said: str) -> None:
    beside(tmp_path, {"report": GOOD, "expect": {"outcome": "pass"}})
    found = complaints(tmp_path, **{"pass": {**case, "expect": {"outcome": "pass"}}})
    assert found
    assert all("lab/loud/" in line and said in line for line in found), found


def test_two_cases_that_are_like_each_other_are_like_none(tmp_path: Path) -> None:
    beside(tmp_path, {"like": "../../lab/loud/pass.json", "expect": {"outcome": "pass"}})
    found = complaints(tmp_path, **{"pass": {"like": LIKE, "expect": {"outcome": "pass"}}})
    assert len(found) == 3
    assert all("difference from itself" in line for line in found)
