"""Files of CI, as real tools write them, and as they are when something went wrong: never more ready than they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler.policy import evidence
from runtime.contract import Refusal
from runtime.contract import report as facts
from runtime.contract.ready import READ, Unreadable
from runtime.data.readiness import read
from runtime.steps.readiness import ReadinessParams

ENVIRONMENT = {"backend": "python", "forged": False, "versions": {}}
DATA = Path(__file__).resolve().parents[3] / "data" / "readiness"
BOMB = b"""<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY c "&a;&a;">]><testsuites>&c;</testsuites>"""
OUTSIDE = (
    b"""<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/hosts">]><testsuite tests="1"><testcase name="&a;"/></testsuite>"""
)
SUITE = '<testsuite tests="{tests}"><testcase name="a"/><testcase name="b">{mark}</testcase></testsuite>'
COVERAGE = """<coverage lines-valid="{valid}" lines-covered="1"><packages><package><classes><class><lines>\
<line number="1" hits="1"/><line number="2" hits="0" {more}/></lines></class></classes></package></packages></coverage>"""


def sarif(**run: Any) -> bytes:
    whole = {"tool": {"driver": {"name": "x", "rules": [{"id": "r", "defaultConfiguration": {"level": "error"}}]}}}
    return json.dumps({"version": "2.1.0", "runs": [{**whole, "results": [], **run}]}).encode()


@pytest.mark.parametrize(
    ("about", "data", "said"),
    [
        ("tests", b"", "is empty"),
        ("tests", b" \n", "is empty"),
        ("tests", b"<testsuite", "is no XML"),
        ("tests", b"{}", "is no XML"),
        ("tests", BOMB, "declares entities"),
        ("tests", OUTSIDE, "declares entities"),
        ("tests", b"<a>" * 70 + b"</a>" * 70, "deeper than 64"),
        ("tests", COVERAGE.format(valid=2, more="").encode(), "is no JUnit file"),
        ("tests", SUITE.format(tests=3, mark="").encode(), "says 3 tests and holds 2"),
        ("tests", SUITE.format(tests="many", mark="").encode(), "which is no count"),
        ("coverage", (DATA / "good" / "junit.xml").read_bytes(), "is no Cobertura file"),
        ("coverage", COVERAGE.format(valid=20, more="").encode(), "contradicts itself"),
        ("coverage", COVERAGE.format(valid=2, more='branch="true"').encode(), "which of its ways were taken"),
        ("coverage", COVERAGE.format(valid=2, more='branch="true" condition-coverage="150% (3/2)"').encode(), "3 of 2"),
        ("lint", b"[]", "is no SARIF file"),
        ("lint", b'{"version": "2.0.0", "runs": []}', "is no SARIF file"),
        ("lint", b'{"version": "2.1.0", "runs": []}', "holds no run"),
        ("lint", b'{"version": "2.1.0", "runs": [{"results": []}]}', "names no tool"),
        ("lint", sarif(results=None), "says nothing of the results of x"),
        ("lint", sarif(invocations=[{"executionSuccessful": False}]), "did not end well"),
        ("lint", sarif(invocations=[{}]), "did not end well"),
        ("lint", sarif(results=[3]), "a result of x that is none"),
        ("lint", sarif(results=[{"level": "dire"}]), "level 'dire'"),
        ("lint", (DATA / "good" / "junit.xml").read_bytes(), "is no JSON"),
    ],
)
def test_what_is_not_of_its_form_or_not_whole_is_not_read(about: str, data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said.replace("(", r"\(")):
        READ[about](data)


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("file", sorted(DATA.glob("*/*.[sx]*")), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_file_that_was_cut_off_is_not_read(file: Path, cut: float) -> None:
    data = file.read_bytes().rstrip()
    with pytest.raises(Unreadable):
        READ[_about(file)](data[: int(len(data) * cut)])


def _about(file: Path) -> str:
    return "tests" if file.stem == "junit" else file.stem


def counts(about: str, data: bytes) -> dict[str, Any]:
    found = READ[about](data)
    return {
        name: (one["k"], one["n"]) if "k" in one else one["value"]
        for name, one in found.items()
        if isinstance(one, dict)
    }


@pytest.mark.parametrize(
    ("mark", "word"),
    [
        ("<failure/>", "failed"),
        ("<error/>", "broken"),
        ("<skipped/>", "skipped"),
        ("<skipped/><failure/>", "failed"),
        ("<rerunFailure/>", "failed"),
    ],
)
def test_only_what_ran_and_held_has_passed(mark: str, word: str) -> None:
    found = counts("tests", SUITE.format(tests=2, mark=mark).encode())
    assert found == {"run": 2, "passed": (1, 2), "failed": 0, "broken": 0, "skipped": 0, word: 1}
    # a suite within a suite counts each test once
    nested = f"<testsuites><testsuite>{SUITE.format(tests=2, mark=mark)}</testsuite></testsuites>"
    assert counts("tests", nested.encode()) == found


def test_no_test_is_no_pass() -> None:
    found = READ["tests"](b'<testsuites><testsuite tests="0"/></testsuites>')
    assert found["passed"]["tag"] == "unavailable"
    assert READ["coverage"](b"<coverage/>")["lines"]["tag"] == "unavailable"


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ({"ruleId": "r"}, (1, 1, 0)),
        ({"ruleIndex": 0}, (1, 1, 0)),
        ({"ruleId": "other"}, (1, 0, 0)),
        ({"level": "note"}, (1, 0, 0)),
        ({"kind": "pass"}, (0, 0, 0)),
        ({"baselineState": "absent"}, (0, 0, 0)),
        ({"suppressions": [{"kind": "inSource"}]}, (0, 0, 1)),
        ({"suppressions": [{"kind": "external", "status": "underReview"}]}, (1, 0, 0)),
        ({"suppressions": []}, (1, 0, 0)),
    ],
)
def test_a_finding_counts_unless_somebody_put_it_aside(result: dict[str, Any], found: tuple[int, int, int]) -> None:
    assert tuple(counts("lint", sarif(results=[result])).values()) == found


def whole(folder: str, revision: str = "") -> dict[str, Any]:
    names = ["coverage", "lint", "placeholders", "security", "tests"]
    files = {name: next((DATA / folder).glob(f"{'junit' if name == 'tests' else name}.*")) for name in names}
    return read(files, ReadinessParams(files=names, revision=revision))


def test_real_files_say_what_their_tools_said() -> None:
    good, bad = whole("good"), whole("bad")
    assert (good["tests"]["passed"]["k"], good["tests"]["passed"]["n"]) == (3, 3)
    assert {good[name]["findings"]["value"] for name in ("lint", "placeholders", "security")} == {0}
    assert (bad["tests"]["passed"]["k"], bad["tests"]["run"]["value"]) == (1, 5)
    assert [bad["tests"][name]["value"] for name in ("failed", "broken", "skipped")] == [1, 1, 2]
    assert bad["lint"]["errors"]["value"] >= 1
    assert bad["placeholders"]["findings"]["value"] == 1
    assert bad["security"]["findings"]["value"] >= 1
    assert bad["coverage"]["lines"]["k"] < bad["coverage"]["lines"]["n"]
    assert good["of_revision"]["tag"] == "unavailable"
    for data in (good, bad):
        report = facts.envelope(
            kind="readiness", step="readiness", subject={}, fingerprints={}, environment=ENVIRONMENT, data=data
        )
        assert evidence.read(facts.dump(report).encode()).problem == ""


def test_a_file_that_names_no_commit_may_be_of_any() -> None:
    assert whole("good", "0a1b2c3d")["of_revision"]["k"] == 0
    run = sarif(versionControlProvenance=[{"repositoryUri": "https://example.org", "revisionId": "0a1b2c3d4e"}])
    assert READ["lint"](run)["revisions"] == ["0a1b2c3d4e"]
    named = '<testsuite><properties><property name="revision" value="0a1b"/></properties><testcase/></testsuite>'
    assert READ["tests"](named.encode())["revisions"] == ["0a1b"]


def test_the_step_refuses_what_is_not_read_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text("")
    with pytest.raises(Refusal) as refused:
        read({"tests": tmp_path / "junit.xml"}, ReadinessParams(files=["tests"]))
    assert refused.value.code == "KR0280"
    assert "readiness.tests" in str(refused.value.place)
