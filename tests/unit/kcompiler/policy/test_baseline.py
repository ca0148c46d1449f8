"""A rule that compares with an earlier report: which report that is, is decided when the pack is loaded and stands in the lock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler import policy
from kcompiler.judge import judge
from runtime import digest
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import report
from tests.unit.kcompiler.policy.test_load import lab

RULE = """\
id: loud
title: As loud as it was
on: eval.sound
kind: regression
params:
  metric: level
  baseline: {file: baseline/sound.json, run: baseline/run.json, digest: "DIGEST"}
  better: higher
  margin: "0.05"
  unit: ratio
remedy: turn it up
"""
PLAN = "sha256:" + "1" * 64
GOOD = report({"level": facts.rate(80, 100)}, kind="eval.sound")
SPEC = {"risk_tier": 3}


def put(folder: Path, content: object = GOOD, rule: str = RULE, pin: str = "") -> policy.Policy:
    """A pack whose rule pins what lies there (or `pin`)."""
    file = folder / "policies" / "lab" / "loud" / "baseline" / "sound.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    file.with_name("run.json").write_text(json.dumps(run_of(file.read_bytes())))
    return lab(folder, rule=rule.replace("DIGEST", pin or digest.of_bytes(file.read_bytes())))


def run_of(report: bytes) -> dict[str, Any]:
    """The report on a run that made a report."""
    subject = {"plan": PLAN, "measure.report": digest.of_one_file("report.json", report)}
    around = {"backend": "machine", "forged": False}
    return facts.envelope(kind="run", step="apply", subject=subject, fingerprints={}, environment=around, data={})


def asked(found: policy.Policy) -> list[dict[str, Any]]:
    made, wrong = policy.obligations(found, SPEC, {"eval.sound": ["measure"]})
    assert wrong == list(found.problems)
    return made


def word(made: list[dict[str, Any]], k: int, **changes: Any) -> tuple[str, int]:
    verdict = judge({"measure": report({"level": facts.rate(k, 100)}, kind="eval.sound", **changes)}, made)
    return verdict.outcomes[0].outcome, verdict.exit_code


def test_the_lock_holds_what_is_compared_with(tmp_path: Path) -> None:
    made = asked(put(tmp_path))
    assert made[0]["expect"] == {
        "report": made[0]["params"]["baseline"]["digest"],
        "plan": PLAN,
        "fingerprints": GOOD["fingerprints"],
        "data": {"/data/level": facts.rate(80, 100)},
    }
    assert [word(made, k) for k in (80, 75, 74)] == [("pass", 0), ("pass", 0), ("fail", 1)]
    assert word(made, 80, fingerprints={**GOOD["fingerprints"], "dataset": "9" * 63 + "a"}) == ("inconclusive", 1)


def test_a_baseline_that_is_gone_decides_nothing(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "policies" / "lab" / "loud" / "baseline" / "sound.json").unlink()
    found = policy.load(["lab"], [tmp_path / "policies"])
    assert [(one.code, one.file, one.line) for one in found.problems] == [("KC6048", "policies/lab/loud/rule.yaml", 7)]
    made = asked(found)
    assert made[0]["expect"] == {"missing": "no baseline `baseline/sound.json` lies beside the rule"}
    assert word(made, 100) == ("inconclusive", 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "is no report"),
        ({**GOOD, "kind": "eval.light"}, "is a report `eval.light`, and the rule is about `eval.sound`"),
        ({**GOOD, "environment": {"forged": True, "backend": "null"}}, "is forged"),
        ({**GOOD, "data": {"loudness": 1}}, "has nothing at level"),
    ],
)
def test_what_is_no_baseline_is_an_error_at_its_line(tmp_path: Path, content: object, said: str) -> None:
    found = put(tmp_path, content)
    assert [(one.code, one.line) for one in found.problems] == [("KC6044", 7)]
    assert said in found.problems[0].summary
    # and decides nothing, whoever judges by it nevertheless
    assert word(asked(found), 100) == ("inconclusive", 1)


def test_a_baseline_that_was_written_anew_is_noticed_and_the_advice_mends_it(tmp_path: Path) -> None:
    assert put(tmp_path).problems == ()
    pin = digest.of_bytes(json.dumps(GOOD).encode())
    other = {**GOOD, "data": {"level": facts.rate(1, 100)}}
    problem = put(tmp_path, other, pin=pin).problems[0]
    assert problem.code == "KC6044"
    assert "write its digest" in problem.help
    made = asked(put(tmp_path, other))
    assert word(made, 1) == ("pass", 0)


def test_a_baseline_of_no_run_decides_nothing_and_the_advice_mends_it(tmp_path: Path) -> None:
    found = put(tmp_path, rule=RULE.replace("run: baseline/run.json, ", ""))
    assert [(one.code, one.line) for one in found.problems] == [("KC6049", 7)]
    assert "run: baseline/run.json" in found.problems[0].help
    assert word(asked(found), 100) == ("inconclusive", 1)
    # either of both that it advises
    assert put(tmp_path).problems == ()
    text = RULE.replace("run: baseline/run.json, ", "").replace("  unit:", "  unanchored: allowed\n  unit:")
    found = put(tmp_path, rule=text)
    assert found.problems == ()
    assert word(asked(found), 80) == ("pass", 0)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda _: None, "no report on its run lies at `baseline/run.json`"),
        (lambda run: run["subject"].pop("plan"), "made no such report"),
        (lambda run: run["subject"].pop("measure.report"), "made no such report"),
        (lambda run: run["subject"].update({"measure.report": PLAN}), "made no such report"),
        (lambda run: run["environment"].update(forged=True), "is no report on a run"),
        (lambda run: run.update(kind="eval.sound"), "is no report on a run"),
        (lambda run: run.clear(), "is no report on a run"),
    ],
)
def test_a_run_that_did_not_make_it_is_none(tmp_path: Path, edit: Any, said: str) -> None:
    put(tmp_path)
    folder = tmp_path / "policies" / "lab" / "loud"
    file = folder / "baseline" / "run.json"
    run = json.loads(file.read_text())
    edit(run)
    file.unlink() if "lies at" in said else file.write_text(json.dumps(run))
    (problem,) = policy.load(["lab"], [tmp_path / "policies"]).problems
    assert (problem.code, problem.line) == ("KC6044", 7)
    assert said in problem.summary


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("file: baseline/sound.json", "file: ../sound.json", "file"),
        ("file: baseline/sound.json", "file: /etc/passwd", "file"),
        ("file: baseline/sound.json", "file: sound.json", "file"),
        ("file: baseline/sound.json", "file: baseline/../../sound.json", "file"),
        ("DIGEST", "sha256:12", "digest"),
        (', digest: "DIGEST"', "", "digest"),
        ("run: baseline/run.json", "run: ../run.json", "run"),
        ("  unit: ratio\n", "  unit: ratio\n  unanchored: yes please\n", "unanchored"),
        ("better: higher", "better: more", "better"),
        ('margin: "0.05"', 'margin: "-1"', "from 0 on"),
        ("  better: higher\n", "", "better"),
        ("  unit: ratio\n", "", "unit"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in RULE
    problems = put(tmp_path, rule=RULE.replace(old, new)).problems
    assert [(one.code, one.file) for one in problems] == [("KC6002", "policies/lab/loud/rule.yaml")]
    assert words in problems[0].summary
