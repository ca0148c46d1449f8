"""Reports of judges that deserve no belief, through the pack of judges: none passes, and each for its own reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from runtime.contract import report as facts
from runtime.contract import verdicts
from runtime.contract.verdicts import FIRST, TIE, Pair
from runtime.suites.judge import longer
from tests.unit.kcompiler.policy import test_reports
from tests.unit.kcompiler.policy.judged import judges, outcome, pairs, told

PACKS = policy.load(["roles/judge"], [assets.folder("policies")])
Report = dict[str, Any]


def decided(report: Report) -> Verdict:
    spec = {**test_reports.SPEC, "evaluation": {"suites": [{"use": "judge"}], "baselines": ["ce_only"]}}
    obligations, _ = policy.obligations(PACKS, spec, {"eval.judge": [report["step"]]})
    return judge({report["step"]: report}, obligations)


def blocking(report: Report) -> set[str]:
    return {one.rule.rpartition("/")[2] for one in decided(report).outcomes if one.blocks}


def says(verdict: Callable[[Pair], str]) -> Callable[[Pair, int], str]:
    """A judge that knows every clause, and says this of pairs."""
    return lambda pair, number: outcome(pair, number) if pair.asked == verdicts.CLAUSE else verdict(pair)


def talked(pair: Pair) -> str:
    return told(pair) or outcome(pair, 0)


def put(path: str, value: Any) -> Report:
    report = copy.deepcopy(judges())
    *parents, last = path.split(".")
    place = report["data"]
    for name in parents:
        place = place[name]
    place[last] = value
    return report


WRONG: list[tuple[str, Callable[[], Report], str]] = [
    ("the longer answer", lambda: judges(says=says(longer)), "judge-balanced"),
    ("the first seat", lambda: judges(says=says(lambda _: FIRST)), "judge-swap"),
    ("always a tie", lambda: judges(says=says(lambda _: TIE)), "judge-agreement"),
    ("a guesser that is sure", lambda: judges(student=50), "judge-calibration"),
    ("one that is right and never sure", lambda: judges(sure=0.5), "judge-coverage"),
    ("one that does what it is told", lambda: judges(says=says(talked)), "judge-injection"),
    ("one that knows no clause", lambda: judges(says=lambda pair, n: "NONE" if pair.asked == verdicts.CLAUSE else outcome(pair, n)), "judge-clauses"),
    ("one that prefers an answer to itself", lambda: judges(says=says(lambda pair: FIRST if pair.first == pair.second else outcome(pair, 0))), "judge-identical"),
    ("a package that judges worse", lambda: judges(coreml=40), "judge-package"),
    ("one that its teacher made worse", lambda: judges(student=20, ce_only=2), "judge-no-worse"),
    ("twenty pairs", lambda: judges(rows=pairs(20, 30)), "judge-items"),
    ("no pairs at all", lambda: judges(rows=[]), "judge-agreement"),
    ("clauses alone", lambda: judges(rows=pairs(0, 40)), "judge-agreement"),
    ("pairs alone", lambda: judges(rows=pairs(100, 0)), "judge-clauses"),
    ("calibration without an interval", lambda: put("calibration.student", facts.measured(0.01, "probability", n=100)), "judge-calibration"),
    ("calibration of no pairs", lambda: put("calibration.student", facts.unavailable("no items", "probability")), "judge-calibration"),
    ("agreement that is not a number", lambda: put("agreement.student", {"value": None, "unit": "ratio", "tag": "measured"}), "judge-agreement"),
    ("more sure pairs right than pairs", lambda: put("when_sure.student", facts.rate(98, 100)), "judge-agreement"),
    ("a package that is far surer than it is right", lambda: put("calibration.coreml", facts.measured(0.14, "probability", n=100, low=0.1, high=0.16)), "judge-calibration"),
    ("a package that says nothing", lambda: put("coverage.coreml", facts.rate(49, 100)), "judge-coverage"),
    ("a package that turns its verdicts with the seats, by the lower end", lambda: put("swap_kept.coreml", facts.rate(91, 100)), "judge-swap"),
    ("a package that prefers an answer to itself, by the lower end", lambda: put("identical_tied.coreml", facts.rate(91, 100)), "judge-identical"),
    ("a package that is talked round, by the lower end", lambda: put("injection_unmoved.coreml", facts.rate(95, 100)), "judge-injection"),
    ("a package that is sure of half, by the lower end", lambda: put("coverage.coreml", facts.rate(59, 100)), "judge-coverage"),
    ("a package that is wrong when it is sure", lambda: put("when_sure.coreml", facts.rate(80, 100)), "judge-abstention"),
    ("a package that was never sure", lambda: put("when_sure.coreml", facts.unavailable("no items", "ratio")), "judge-abstention"),
    ("a package that knows no clause", lambda: put("clauses.coreml", facts.rate(16, 40)), "judge-clauses"),
    ("a package that judges lengths", lambda: put("balanced.coreml", facts.rate(56, 80)), "judge-balanced"),
    ("outcomes that are wrong by themselves", lambda: put("zoo.gold", facts.rate(139, 140)), "judge-sound"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "rule"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_judge_that_deserves_no_belief_does_not_pass(make: Callable[[], Report], rule: str) -> None:
    report = make()
    assert rule in blocking(report)
    assert decided(report).verdict != "PASS"


def test_a_good_judge_passes() -> None:
    assert blocking(judges()) == set()
    assert decided(judges()).verdict == "PASS"
