"""The ten result sets on which the origin's gates answered "ok" nine times (evaluation-reliability.md, section 0.1).

Each is made by our own suites from models that behave that way, put into the report a step would write, and judged by
the shipped packs. Where the origin had a privacy check, the answers suite stands for it: every item must be valid.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from tests.unit.kcompiler.policy.genuine import proportions
from tests.unit.kcompiler.policy.suites import answers_report, gold_of, tool_rows, tool_use_report

PACKS = policy.load(["caws/core", "caws/tier-3"], [assets.folder("policies")])


def judged(report: dict[str, Any]) -> Verdict:
    """The verdict over the rules of both packs that speak of this kind of report."""
    suite = report["kind"].removeprefix("eval.")
    spec = {
        "risk_tier": 3,
        "evaluation": {"suites": [{"use": suite}]},
        "budgets": {"wall_s": 1, "cpu_s": 1},
        "teacher": {"source": "recorded", "store": None},
        "shapes": {"prefill": [1]},
    }
    obligations, _ = policy.obligations(PACKS, spec, {report["kind"]: [report["step"]]})
    return judge({report["step"]: report}, obligations)


def mute(_: str) -> str:
    """A model that never says anything."""
    return ""


def not_json(prompt: str) -> str:
    """The right call with arguments that no parser accepts."""
    return gold_of(prompt).replace('"args":{', '"args":{,')


def without_validity() -> dict[str, Any]:
    report = copy.deepcopy(answers_report(200))
    del report["data"]["validity"]
    return report


def with_validity_of_nobody() -> dict[str, Any]:
    report = copy.deepcopy(answers_report(200))
    report["data"]["validity"] = {}
    return report


RESULT_SETS: list[tuple[str, Callable[[], dict[str, Any]], str, str]] = [
    ("a mute model on 200 items", lambda: tool_use_report(tool_rows(200), mute), "FAIL", "fail"),
    ("14 eligible items, every F1 zero", lambda: tool_use_report(tool_rows(14), lambda _: "no"), "FAIL", "fail"),
    ("200 eligible items, every F1 zero", lambda: tool_use_report(tool_rows(200), lambda _: "no"), "FAIL", "fail"),
    ("200 items, every one invalid", lambda: answers_report(200, wrong=200), "FAIL", "fail"),
    ("200 items, one invalid", lambda: answers_report(200, wrong=1), "FAIL", "fail"),
    ("200 items, all JSON arguments invalid", lambda: tool_use_report(tool_rows(200), not_json), "FAIL", "fail"),
    ("the score is missing everywhere", without_validity, "NOTHING_EVALUATED", "error"),
    ("the score is there and nobody has one", with_validity_of_nobody, "NOTHING_EVALUATED", "error"),
    ("no results at all: tools", lambda: tool_use_report([]), "FAIL", "not_evaluated"),
    ("no results at all: answers", lambda: answers_report(0), "FAIL", "not_evaluated"),
    ("the package agrees with the student on nothing", lambda: tool_use_report(coreml=mute), "FAIL", "fail"),
]


@pytest.mark.parametrize(("claim", "make", "word", "outcome"), RESULT_SETS, ids=[case[0] for case in RESULT_SETS])
def test_a_result_set_that_must_not_pass_does_not(
    claim: str, make: Callable[[], dict[str, Any]], word: str, outcome: str
) -> None:
    verdict = judged(make())
    assert verdict.verdict == word, claim
    assert verdict.exit_code != 0
    assert outcome in {one.outcome for one in verdict.outcomes if one.blocks}


@pytest.mark.parametrize("make", [tool_use_report, lambda: tool_use_report(tool_rows(200)), proportions])
def test_gold_passes(make: Callable[[], dict[str, Any]]) -> None:
    """The positive control: gates that refuse everything would pass the table above."""
    assert judged(make()).verdict == "PASS"


def test_four_of_ten_thousand_are_counted_not_rounded() -> None:
    """The origin rounded 0.9996 to three places before it compared with 1.0."""
    verdict = judged(answers_report(10_000, wrong=4))
    assert verdict.verdict == "FAIL"
    assert verdict.exit_code != 0
    outcome = next(one for one in verdict.outcomes if one.rule == "caws/tier-3/answers-valid")
    assert (outcome.outcome, outcome.blocks) == ("fail", True)
    assert outcome.observed == "9996/10000"
    assert outcome.reason == "9996/10000 ratio misses == 1"
