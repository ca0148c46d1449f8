"""Rules with a day and rules of the release: what the verbs ask the clock, what a delivery refuses, what an audit finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler import lock
from kcompiler.audit import evidence
from kcompiler.cli import clock, delivering
from kcompiler.cli.outcome import Outcome
from kcompiler.judge import judge
from kcompiler.policy.evidence import Evidence, read
from kcompiler.project import Project
from kcompiler.render import human_run
from runtime import digest
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import bound, number, obligation, report

BEFORE, AFTER = "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z"
MEASURED = facts.dump(report({"x": number(0.1)})).encode()


def plan(**timing: str) -> dict[str, Any]:
    return {"asked": {"name": "lab"}, "obligations": [obligation(bound("x", ">=", "0.5"), **timing)]}


def given(made: dict[str, Any]) -> dict[str, bytes]:
    """A report that misses the bound, and the report on the run that rests on it."""
    subject = {
        "plan": lock.plan_digest(made),
        "measure.report": digest.of_one_file("report.json", MEASURED),
    }
    return {"measure": MEASURED, "apply": facts.dump(report({}, step="apply", subject=subject)).encode()}


def read_all(found: dict[str, bytes]) -> dict[str, Evidence]:
    return {step: read(text) for step, text in found.items()}


def delivered(root: Path, made: dict[str, Any]) -> int:
    """Exit code of the part of `deliver` that judges again."""
    home = Project(root)
    folder = home.evidence("lab")
    (folder / "reports").mkdir(parents=True)
    found = given(made)
    (folder / "reports" / "measure.json").write_bytes(found["measure"])
    (folder / "run.json").write_bytes(found["apply"])
    try:
        delivering._released(made, home, "spec.yaml")
    except Outcome as outcome:
        return outcome.code
    return 0


@pytest.mark.parametrize(
    ("timing", "code"),
    [({"phase": "release"}, 1), ({"effective_on": "2001-01-01"}, 1), ({"effective_on": "9999-12-31"}, 0)],
)
def test_a_delivery_is_judged_as_a_release_and_today(
    tmp_path: Path, timing: dict[str, str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert delivered(tmp_path, plan(**timing)) == code
    assert ("as what is handed over today it is FAIL" in capsys.readouterr().err) is bool(code)


def test_the_clock_is_asked_where_a_rule_has_a_day_and_nowhere_else() -> None:
    assert clock.as_of(plan()["obligations"]) is None
    assert clock.as_of(plan(phase="release")["obligations"]) is None
    now = clock.as_of(plan(effective_on="2026-12-01")["obligations"])
    assert now is not None
    assert judge({}, [], as_of=now).as_of == now


def audited(folder: Path, made: dict[str, Any], as_of: str | None, opened: str) -> tuple[str, list[str]]:
    """What an audit says of a verdict that was given as of a time, of a run that began at another."""
    found = given(made)
    path = folder / "verdict.json"
    path.write_text(judge(found, made["obligations"], lock=lock.plan_digest(made), as_of=as_of).dump())
    word, findings = evidence.verdict(path, "verdict.json", made, read_all(found), opened, lock.plan_digest(made))
    return word, [one.subject for one in findings]


def test_an_audit_judges_as_of_the_time_of_the_verdict_and_of_none_before_the_run(tmp_path: Path) -> None:
    dated = plan(effective_on="2026-12-01")
    assert audited(tmp_path, dated, BEFORE, BEFORE) == ("PASS", [])
    assert audited(tmp_path, dated, AFTER, BEFORE) == ("FAIL", [])
    # set back, so that a rule in force is advisory again
    assert audited(tmp_path, dated, BEFORE, AFTER) == ("FAIL", ["verdict.json#/as_of"])
    # nothing is milder without a time
    assert audited(tmp_path, dated, None, BEFORE) == ("FAIL", [])
    # and where nothing is dated, a time was put there
    word, subjects = audited(tmp_path, plan(), BEFORE, BEFORE)
    assert (word, "verdict.json#/as_of" in subjects) == ("FAIL", True)


def test_an_advisory_that_was_written_into_a_verdict_disagrees(tmp_path: Path) -> None:
    made = plan()
    found = given(made)
    content = judge(found, made["obligations"], lock=lock.plan_digest(made)).to_json()
    content["outcomes"][0] |= {"advisory": "until release", "blocks": False}
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    word, findings = evidence.verdict(path, "verdict.json", made, read_all(found), AFTER, lock.plan_digest(made))
    assert (word, {one.code for one in findings}) == ("FAIL", {"KA32"})


def test_a_reader_is_told_what_does_not_block_yet() -> None:
    made = plan(effective_on="2026-12-01")
    shown = human_run.gates(judge({"measure": MEASURED}, made["obligations"], as_of=BEFORE).to_json())
    assert "! lab/rule on measure: 0.1 misses >= 0.5 (advisory: blocks from 2026-12-01 on)" in shown
    assert "verdict  PASS" in shown
    assert "✗ lab/rule on measure: 0.1 misses >= 0.5" in human_run.gates(
        judge({"measure": MEASURED}, made["obligations"], as_of=AFTER).to_json()
    )
