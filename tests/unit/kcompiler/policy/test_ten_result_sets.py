"""The ten result sets on which the origin's gates answered "ok" nine times (evaluation-reliability.md, section 0.1).

Each is otherwise consistent: made by our own suite of models that behave that way, or one field of a genuine report is
spoilt as the origin's were; all are judged by the shipped packs of toy-tools. Beside them stand the further ones that
a gate must not pass: every argument invalid, every control called, one eligible item, metrics of no rows, F1 of nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from runtime.contract.statistics.paired import wins_of
from runtime.contract.statistics.rates import EXACT, rate
from tests.unit.kcompiler.policy.genuine import proportions
from tests.unit.kcompiler.policy.suites import answers_report, gold_of, tool_rows, tool_use_report
from tests.unit.runtime.suites.models import row

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


def leaking(private: int | None) -> dict[str, Any]:
    """200 requests and 30 controls; so many outputs without personal data. None: nobody looked."""
    report = copy.deepcopy(tool_use_report(tool_rows(200)))
    for runner in ("student", "coreml"):
        place = report["data"]["runners"][runner]
        n = place["privacy_ok"]["n"]
        if private is None:
            del place["privacy_ok"]
        else:
            place["privacy_ok"] = rate(max(0, n - (230 - private)), n)
    return report


def fifty_times(node: Any) -> Any:
    """A report of fifty times as many items with the same rates."""
    if isinstance(node, list):
        return [fifty_times(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "tag" in node:
        counts = {name: 50 * node[name] for name in ("n", "k", "tp", "fp", "fn", "wins", "losses") if name in node}
        more = {"value": 50 * node["value"]} if node["unit"] == "row" else {}
        many = {**node, **counts, **more}
        if "wins" in many:
            return wins_of(many["n"], many["wins"], many["losses"])
        return rate(many["k"], many["n"]) if many.get("interval") == EXACT else many
    return {name: fifty_times(one) for name, one in node.items()}


def four_of_ten_thousand() -> dict[str, Any]:
    report = copy.deepcopy(tool_use_report(tool_rows(200)))
    report["data"] = fifty_times(report["data"])
    report["data"]["runners"]["student"]["privacy_ok"] = rate(11_496, 11_500)
    return report


PAIRS = [
    row(f"{one['prompt']} And then: {two['prompt']}", f"{one['response']}{two['response']}")
    for one, two in zip(tool_rows(200)[::2], tool_rows(200)[1::2], strict=True)
]


def only_the_first(prompt: str) -> str:
    """One call where two are wanted."""
    return gold_of(prompt.split(" And then: ")[0])


def unfit(prompt: str) -> str:
    """The right tool with an argument that it does not have."""
    return gold_of(prompt).replace('"args":{', '"args":{"nothing":1,')


def everywhere(prompt: str) -> str:
    """The right call, and one on every control."""
    said = gold_of(prompt)
    return said if said.startswith("tool.call") else str(tool_rows(1)[0]["response"])


def of_no_rows(tables: bool) -> dict[str, Any]:
    """No rows, and the metrics of many are kept; or no rows, and F1 is 1.0 of none."""
    report = copy.deepcopy(tool_use_report(tool_rows(200)))
    if tables:
        return put(report, rows=0, eligible=0, controls=0)
    f1 = {"value": 1.0, "unit": "ratio", "tag": "measured", "n": 0, "tp": 0, "fp": 0, "fn": 0}
    for runner in ("student", "coreml"):
        report["data"]["runners"][runner]["span_f1"] = f1
    return report


def put(report: dict[str, Any], **counts: int) -> dict[str, Any]:
    for name, value in counts.items():
        report["data"][name] = {"value": value, "unit": "row", "tag": "measured"}
    return report


RESULT_SETS: list[tuple[str, Callable[[], dict[str, Any]], str, str]] = [
    ("a mute model on 200 items", lambda: tool_use_report(tool_rows(200), mute), "FAIL", "fail"),
    ("14 eligible items, every F1 zero", lambda: tool_use_report(tool_rows(14), lambda _: "no"), "FAIL", "fail"),
    ("200 eligible items, every F1 zero", lambda: tool_use_report(tool_rows(200), lambda _: "no"), "FAIL", "fail"),
    ("200 items, every one leaks", lambda: leaking(0), "FAIL", "fail"),
    ("200 items, one leaks", lambda: leaking(229), "FAIL", "fail"),
    ("10,000 items, four leak", four_of_ten_thousand, "FAIL", "fail"),
    ("200 items, all JSON arguments invalid", lambda: tool_use_report(tool_rows(200), not_json), "FAIL", "fail"),
    ("privacy is missing everywhere", lambda: leaking(None), "NOTHING_EVALUATED", "error"),
    ("no results at all", lambda: tool_use_report([]), "FAIL", "not_evaluated"),
    ("no two calls where two are wanted", lambda: tool_use_report(PAIRS, only_the_first), "FAIL", "fail"),
    # further ones
    ("every argument unfit", lambda: tool_use_report(tool_rows(200), unfit), "FAIL", "fail"),
    ("every control called", lambda: tool_use_report(tool_rows(200), everywhere), "FAIL", "fail"),
    ("one eligible item", lambda: tool_use_report(tool_rows(1)), "FAIL", "inconclusive"),
    ("no rows, and the metrics kept", lambda: of_no_rows(True), "NOTHING_EVALUATED", "error"),
    ("F1 is 1.0 of no items", lambda: of_no_rows(False), "NOTHING_EVALUATED", "error"),
    ("the package agrees with the student on nothing", lambda: tool_use_report(coreml=mute), "FAIL", "fail"),
    # the same of answers
    ("200 questions, every answer invalid", lambda: answers_report(200, wrong=200), "FAIL", "fail"),
    ("200 questions, one answer invalid", lambda: answers_report(200, wrong=1), "FAIL", "fail"),
    ("no questions at all", lambda: answers_report(0), "FAIL", "not_evaluated"),
]


@pytest.mark.parametrize(("claim", "make", "word", "outcome"), RESULT_SETS, ids=[case[0] for case in RESULT_SETS])
def test_a_result_set_that_must_not_pass_does_not(
    claim: str, make: Callable[[], dict[str, Any]], word: str, outcome: str
) -> None:
    verdict = judged(make())
    assert verdict.verdict == word, claim
    assert verdict.exit_code != 0
    assert outcome in {one.outcome for one in verdict.outcomes if one.blocks}


@pytest.mark.parametrize(
    "make",
    [tool_use_report, lambda: tool_use_report(tool_rows(200)), lambda: tool_use_report(PAIRS, both_calls), proportions],
)
def test_gold_passes(make: Callable[[], dict[str, Any]]) -> None:
    """The positive control: gates that refuse everything would pass the table above."""
    verdict = judged(make())
    assert [one.reason for one in verdict.outcomes if one.blocks and one.outcome != "pass"] == []
    assert verdict.verdict == "PASS"


def both_calls(prompt: str) -> str:
    return "".join(map(gold_of, prompt.split(" And then: ")))


def test_four_of_ten_thousand_are_counted_not_rounded() -> None:
    """The origin rounded 0.9996 to three places before it compared with 1.0; nothing else is wrong here."""
    verdict = judged(four_of_ten_thousand())
    blocking = [one for one in verdict.outcomes if one.blocks and one.outcome != "pass"]
    assert [(one.rule, one.observed) for one in blocking] == [("caws/tier-3/tool-privacy", "11496/11500")]
