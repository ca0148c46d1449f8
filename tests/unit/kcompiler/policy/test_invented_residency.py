"""Defect D15 of the origin: residency made up from times, and what is skipped or a placeholder counted as passed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import judge

RULE = "device/resident/device-residency"
GOOD = json.loads((assets.folder("policies") / RULE / "pass.json").read_text(encoding="utf-8"))["report"]
Data = dict[str, Any]


def outcome(report: Data | None) -> str:
    pack = policy.load(["device/resident"], [assets.folder("policies")])
    spec = {"risk_tier": 1, "device": {"level": 5}}
    made, problems = policy.obligations(pack, spec, {"coreml.device": ["attest"]})
    assert not problems
    (only,) = judge({"attest": report} if report is not None else {}, made).outcomes
    assert only.rule == RULE
    return str(only.outcome)


def on_target(**changes: Any) -> Callable[[Data], None]:
    return lambda report: report["data"]["residency"]["on_target"].update(changes)


def without_plan(report: Data) -> None:
    """Only times are left, and a number that they are said to show."""
    shown = {"value": 0.95, "unit": "ratio", "tag": "measured", "n": 78, "k": 74}
    report["data"]["residency"].update(functions=[], on_target=shown)


def forged(report: Data) -> None:
    report["environment"]["forged"] = True


#: what is said → the outcome: a number that the plans of the functions do not give contradicts the report
INVENTED: dict[str, tuple[Callable[[Data], Any], str]] = {
    "estimated from times": (on_target(tag="estimated", by="a median below 50 ms"), "error"),
    "estimated from times, as the origin has it": (
        lambda report: report["data"]["residency"].update(
            on_target={"value": 0.85, "unit": "ratio", "tag": "estimated", "by": "a median below 50 ms"}
        ),
        "error",
    ),
    "measured, without a plan of any function": (without_plan, "error"),
    "skipped": (
        lambda report: report["data"]["residency"].update(
            on_target={"value": None, "unit": "ratio", "tag": "unavailable", "reason": "skipped"}
        ),
        "error",
    ),
    "a placeholder": (lambda report: report.update(data={}), "error"),
    "a placeholder of the null backend": (forged, "not_evaluated"),
    "another machine's, level 2": (
        lambda report: report["data"]["machine"].update(system="Linux", machine="x86_64"), "error",
    ),
}  # fmt: skip


def test_what_the_plan_of_each_function_gives_passes() -> None:
    assert outcome(GOOD) == "pass"


def test_no_report_is_no_pass() -> None:
    assert outcome(None) == "not_evaluated"


@pytest.mark.parametrize("name", INVENTED)
def test_a_residency_that_was_not_measured_passes_nothing(name: str) -> None:
    change, wanted = INVENTED[name]
    report = copy.deepcopy(GOOD)
    change(report)
    assert outcome(report) == wanted
