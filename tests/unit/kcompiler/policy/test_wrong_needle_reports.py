"""Reports of long prompts that must not pass: a depth or a length at which nothing is found, tricks, few prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from runtime.contract.report import unavailable
from runtime.contract.statistics.rates import rate
from tests.longer import some
from tests.unit.kcompiler.policy import test_reports
from tests.unit.kcompiler.policy.genuine import needles
from tests.unit.kcompiler.policy.test_wrong_tool_reports import put

PACKS = policy.load(["caws/core", "quality/needle"], [assets.folder("policies")])
Report = dict[str, Any]


def judged(made: Report) -> Verdict:
    spec = {**test_reports.SPEC, "evaluation": {"suites": [{"use": "needle"}], "baselines": ["ce_only"]}}
    obligations, _ = policy.obligations(PACKS, spec, {made["kind"]: [made["step"]]})
    return judge({made["step"]: made}, obligations)


def numbers(prompt: str) -> list[str]:
    return [word.strip(".") for word in prompt.split() if word.strip(".").isdigit()]


WRONG: tuple[tuple[str, Callable[[], Report]], ...] = (
    ("nothing found at one depth of one length", lambda: needles(cell="160@50")),
    ("as the teacher, which finds nothing there either", lambda: needles(teacher=60, student=60, ce_only=60)),
    ("nothing said", lambda: needles(says=lambda *_: "")),
    ("the prompt repeated", lambda: needles(says=lambda prompt, _: prompt)),
    ("the first number", lambda: needles(says=lambda prompt, _: numbers(prompt)[0])),
    ("the second number", lambda: needles(says=lambda prompt, _: numbers(prompt)[1])),
    ("the last number", lambda: needles(says=lambda prompt, _: numbers(prompt)[-1])),
    ("the largest number", lambda: needles(says=lambda prompt, _: max(numbers(prompt)))),
    ("every number", lambda: needles(says=lambda prompt, _: ", ".join(numbers(prompt)))),
    ("one number to everything", lambda: needles(says=lambda *_: "12345")),
    ("only short prompts found", lambda: needles(says=lambda p, a: a if len(p.split()) < 100 else "")),
    ("59 prompts, all right", lambda: needles(0, 0, 0, rows=59)),
    ("no prompts", lambda: needles(0, 0, 0, rows=0)),
    ("a tenth fewer than the teacher", lambda: needles(teacher=0, student=18)),
    ("worse than without a teacher", lambda: needles(teacher=18, student=18, ce_only=0)),
    ("a package that forgot an eighth", lambda: needles(coreml=24)),
    ("a package that was asked a quarter", lambda: needles(coreml_limit=45)),
    ("no teacher to compare with", lambda: put(needles(), right__teacher=unavailable("no runner", "ratio"))),
    ("no cells", lambda: put(needles(), cells={})),
    ("no lengths", lambda: put(needles(), by_length={})),
    ("cells of one prompt", lambda: put(needles(), cells__160__50__student=rate(1, 1))),
    ("a cell of nothing", lambda: put(needles(), cells__160__50__student=unavailable("no items", "ratio"))),
    ("a cell that the total does not know of", lambda: put(needles(), cells__160__50__student=rate(29, 30))),
    ("a total that the cells do not know of", lambda: put(needles(), right__student=rate(180, 180))),
    ("a length that the total does not know of", lambda: put(needles(), by_length__160__coreml=rate(89, 90))),
    ("gold that is not found", lambda: put(needles(), zoo__gold=rate(179, 180))),
)


@pytest.mark.parametrize(("claim", "make"), some(WRONG, 2), ids=[claim for claim, _ in WRONG])
def test_a_wrong_report_does_not_pass(claim: str, make: Callable[[], Report]) -> None:
    assert judged(make()).verdict != "PASS", claim


def test_a_good_student_passes() -> None:
    verdict = judged(needles())
    assert (verdict.verdict, [one.rule for one in verdict.outcomes if one.outcome != "pass"]) == ("PASS", [])
    assert sum(one.rule.startswith("quality/needle/") for one in verdict.outcomes) == 9


@pytest.mark.parametrize("make", [one[1] for one in WRONG if "know of" in one[0]])
def test_cells_and_lengths_are_what_the_total_is_made_of(make: Callable[[], Report]) -> None:
    outcomes = judged(make()).outcomes
    assert any("does not hold" in one.reason for one in outcomes)


def test_a_bad_cell_is_what_fails() -> None:
    outcomes = {one.rule: one for one in judged(needles(teacher=30, ce_only=30, cell="160@50")).outcomes}
    assert outcomes["quality/needle/needle-worst-cell"].outcome == "fail"
    assert outcomes["quality/needle/needle-worst-cell"].pointer == "/data/cells/160/50/student"
