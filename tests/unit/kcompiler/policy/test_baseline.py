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
  baseline: {file: baseline/sound.json, digest: "DIGEST"}
  better: higher
  margin: "0.05"
  unit: ratio
remedy: turn it up
"""
GOOD = report({"level": facts.rate(80, 100)}, kind="eval.sound")
SPEC = {"risk_tier": 3}


def put(folder: Path, content: object = GOOD, rule: str = RULE, pin: str = "") -> policy.Policy:
    """A pack whose rule pins what lies there (or `pin`)."""
    file = folder / "policies" / "lab" / "loud" / "baseline" / "sound.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return lab(folder, rule=rule.replace("DIGEST", pin or digest.of_bytes(file.read_bytes())))


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
        "fingerprints": GOOD["fingerprints"],
        "data": {"/data/level": facts.rate(80, 100)},
    }
    assert [word(made, k) for k in (80, 75, 74)] == [("pass", 0), ("pass", 0), ("fail", 1)]
    assert word(made, 80, fingerprints={**GOOD["fingerprints"], "dataset": "9" * 63 + "a"}) == ("inconclusive", 1)


def test_a_baseline_that_is_gone_decides_nothing(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "policies" / "lab" / "loud" / "baseline" / "sound.json").unlink()
    made = asked(policy.load(["lab"], [tmp_path / "policies"]))
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


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("file: baseline/sound.json", "file: ../sound.json", "file"),
        ("file: baseline/sound.json", "file: /etc/passwd", "file"),
        ("file: baseline/sound.json", "file: sound.json", "file"),
        ("file: baseline/sound.json", "file: baseline/../../sound.json", "file"),
        ("DIGEST", "sha256:12", "digest"),
        (', digest: "DIGEST"', "", "digest"),
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
