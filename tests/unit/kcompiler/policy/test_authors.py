"""Mistakes of those who write policies, on the command line: found when the spec is compiled, at a line, with an action;
never exit 70, never exit 0, never a word of PASS."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kcompiler.cli import _main

CASE = Path(__file__).resolve().parents[3] / "golden" / "plan" / "KC6014-a-path-of-a-rule-leads-somewhere"
RULE = """\
id: valid
title: The student gives only permitted answers
on: eval.answers
kind: bound
params: {metric: validity.student, op: ">=", threshold: "0.9", unit: ratio}
remedy: train longer
"""
PACK = "name: lab\nversion: 1\ntitle: Rules of the laboratory\n"
OWN = RULE.replace("eval.answers", "plan").replace(
    'validity.student, op: ">=", threshold: "0.9", unit: ratio', 'signatures, op: ">=", threshold: "1", unit: signature'
)
RELATIVE = RULE.replace("bound", "relative").replace("validity.student", "validity.coreml, to: validity.student")
EXPRESSION = RULE.replace("bound", "assert").replace(
    '{metric: validity.student, op: ">=", threshold: "0.9", unit: ratio}', '{that: "EXPRESSION"}'
)


def assertion(text: str) -> str:
    return EXPRESSION.replace("EXPRESSION", text)


def edited(old: str, new: str, rule: str = RULE) -> str:
    assert rule.count(old) == 1, old
    return rule.replace(old, new)


def when(condition: str) -> str:
    return edited("kind:", f"when: {condition}\nkind:")


#: claim → rule, code, line
MISTAKES: dict[str, tuple[str, str, int]] = {
    "a misspelt metric": (edited("validity.student", "validity.studnet"), "KC6014", 5),
    "a misspelt metric under a wildcard": (edited("validity.student", "'validty.*'"), "KC6014", 5),
    "a path to something else": (edited("validity.student", "validity"), "KC6014", 5),
    "a misspelt side": (edited("to: validity.student", "to: validity.studnet", RELATIVE), "KC6014", 5),
    "a misspelt pair": (
        edited("unit: ratio", "unit: ratio, paired: package_gian", edited('"0.9"', '"-0.1"', RELATIVE)),
        "KC6014",
        5,
    ),
    "a misspelt metric of an expression": (assertion("report.validity.studnet.value > 0.9"), "KC6041", 5),
    "a wrong unit": (edited("unit: ratio", "unit: s"), "KC6020", 5),
    "no unit": (edited(", unit: ratio", ""), "KC6002", 5),
    "no threshold": (edited('threshold: "0.9", ', ""), "KC6004", 4),
    "no number for a threshold": (edited('"0.9"', "high"), "KC6002", 5),
    "NaN": (edited('"0.9"', ".nan"), "KC1020", 5),
    "NaN as a text": (edited('"0.9"', '"NaN"'), "KC6002", 5),
    "a number with an exponent": (edited('"0.9"', '"1e308"'), "KC6002", 5),
    "a number as large as a double": (edited('"0.9"', "1e308"), "KC6002", 5),
    "a number beyond the doubles": (edited('"0.9"', "1e400"), "KC1020", 5),
    "a number that would be 0": (edited('"0.9"', "1e-400"), "KC1021", 5),
    "a number beyond the doubles in an expression": (assertion("report.validity.student.value > 1e400"), "KC6040", 5),
    "infinity": (edited('"0.9"', "-.inf"), "KC1020", 5),
    "no metric": (edited("metric: validity.student", "metric: []"), "KC6002", 5),
    "no fingerprint": (
        edited("kind: bound", "kind: fingerprints").replace(
            '{metric: validity.student, op: ">=", threshold: "0.9", unit: ratio}', "{names: []}"
        ),
        "KC6002",
        5,
    ),
    "a fingerprint that is none": (
        edited("kind: bound", "kind: fingerprints").replace(
            '{metric: validity.student, op: ">=", threshold: "0.9", unit: ratio}', "{names: [datset]}"
        ),
        "KC6002",
        5,
    ),
    "no condition": (when("[{spec: risk_tier, has: []}]"), "KC6002", 4),
    "a condition that never holds": (when('{spec: "evaluation.suites[*].use", has: answer}'), "KC6015", 4),
    "a condition with a misspelt path": (when("{spec: evaluation.suite, some: true}"), "KC6011", 4),
    "a number that no spec has": (when("{spec: risk_tier, has: 4}"), "KC6015", 4),
    "conditions that exclude each other": (
        when("[{spec: risk_tier, has: 1}, {spec: risk_tier, has: 3}]"),
        "KC6015",
        4,
    ),
    "a report that nobody makes": (edited("eval.answers", "eval.answer"), "KC6045", 3),
    "a report that nobody makes here": (
        edited("eval.answers", "eval.gold").replace("validity.student", "zoo.gold"),
        "KC6010",
        3,
    ),
    "a report to compare with that nobody makes": (
        edited("to: validity.student", "to: rows, of: data.split", RELATIVE),
        "KC6045",
        5,
    ),
    "a misspelt key": (edited("remedy:", "remdy:"), "KC6002", 6),
    "a key twice": (edited("remedy:", "kind: bound\nremedy:"), "KC1011", 6),
    "a misspelt kind": (edited("kind: bound", "kind: bond"), "KC6003", 4),
    "an unknown mode": (edited("kind:", "mode: deny\nkind:"), "KC6002", 4),
    "a phase that is none": (edited("kind:", "phase: later\nkind:"), "KC6002", 4),
    "a phase before its report": (edited("kind:", "phase: compile\nkind:"), "KC6055", 3),
    "what a plan says, at the end of a run": (OWN, "KC6055", 3),
    "what a plan says, while it is compiled": (edited("kind:", "phase: compile\nkind:", OWN), "KC6055", 3),
    "a choice of steps where there is none": (
        edited("kind:", "phase: plan\nwhere: {step: steps, at_least: 1}\nkind:", OWN),
        "KC6055",
        5,
    ),
    "parameters of a step where there is none": (
        edited("kind:", "phase: plan\nexpect: {step: true}\nkind:", OWN.replace('threshold: "1", ', "")),
        "KC6055",
        5,
    ),
    "a report of a step to compare a plan with": (
        OWN.replace("kind: bound", "phase: plan\nkind: relative").replace(
            'threshold: "1"', 'threshold: "1", to: wall, of: run'
        ),
        "KC6055",
        6,
    ),
    "a day that is none": (edited("kind:", "effective_on: 2026-13-01\nkind:"), "KC6002", 4),
    "an id of another rule": (edited("id: valid", "id: other"), "KC6005", 1),
    "an expression that is no truth": (assertion("report.validity.student.value"), "KC6042", 5),
    "an expression that cannot be read": (assertion("report.validity.student.value >= "), "KC6040", 5),
    "a baseline outside": (
        edited("kind: bound", "kind: regression").replace(
            'op: ">=", threshold: "0.9"',
            'baseline: {file: ../x.json, digest: "sha256:0"}, better: higher, margin: "0.1"',
        ),
        "KC6002",
        5,
    ),
    "a trend that always holds": (
        edited("kind: bound", "kind: trend").replace(
            '{metric: validity.student, op: ">=", threshold: "0.9", unit: ratio}',
            '{series: "validity.*", at: n, value: k, unit: ratio, of: rises, window: 3, op: "<", threshold: "3"}',
        ),
        "KC6002",
        5,
    ),
    "more places than there are": (edited("unit: ratio", "unit: ratio, min_matches: 2"), "KC6002", 5),
}


def project(folder: Path, rule: str, pack: str = PACK) -> Path:
    below = folder / "policies" / "lab"
    (below / "valid").mkdir(parents=True)
    (below / "pack.yaml").write_text(pack)
    (below / "valid" / "rule.yaml").write_text(rule)
    shutil.copy(CASE / "spec.yaml", folder / "spec.yaml")
    return folder / "spec.yaml"


def test_the_rule_that_the_mistakes_are_made_in_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(["plan", str(project(tmp_path, RULE))]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("claim", MISTAKES)
def test_a_mistake_of_an_author_is_found_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], claim: str
) -> None:
    rule, code, line = MISTAKES[claim]
    ends = _main(["plan", str(project(tmp_path, rule))])
    shown = capsys.readouterr()
    assert ends in (1, 2), shown.err
    assert re.findall(r"error\[(KC\d+)\]", shown.err)[0] == code, shown.err
    assert re.search(rf"--> policies/lab/valid/rule\.yaml:{line}:\d+\n", shown.err), shown.err
    assert "PASS" not in shown.out + shown.err
    assert "Traceback" not in shown.err
    assert f"code={ends} next=" in shown.err
    assert not (tmp_path / "generated").exists()


def test_a_pack_that_is_named_twice_is_one_and_an_unknown_one_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = project(tmp_path, RULE)
    text = spec.read_text()
    assert "[lab]" in text
    spec.write_text(text.replace("[lab]", "[lab, labs]"))
    assert _main(["plan", str(spec)]) == 1
    shown = capsys.readouterr().err
    assert "error[KC6001]" in shown
    assert "did you mean `lab`?" in shown
