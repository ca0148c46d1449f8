"""Reports of trainings that chose their state by nothing, or did not choose it: none passes the shipped packs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from runtime.contract import report as facts

POLICIES = assets.folder("policies")
PACKS = policy.load(["caws/core"], [POLICIES])
SPEC = {
    "risk_tier": 3,
    "teacher": {"source": "bootstrap", "store": None},
    "training": {"stages": [{"name": "kd", "validation": {"every": 20}}, {"name": "more", "validation": None}]},
}
RULES = ("validation-best", "validation-made", "validation-rows")
Data = dict[str, Any]


def report() -> dict[str, Any]:
    """A training of which all 100 steps were allowed, and 60 made."""
    case = json.loads((POLICIES / "caws/core/validation-best/pass.json").read_text())
    found: dict[str, Any] = case["report"]
    return found


def judged(found: dict[str, Any]) -> Verdict:
    """By the rules of validation, as a spec obliges that validates in its stage `kd` and not in the one after it."""
    params: dict[str, dict[str, Any]] = {
        "train-kd": {"validation": {"every": 20}, "keeps_states": True},
        "train-more": {"validation": None, "keeps_states": False},
    }
    made, _ = policy.obligations(PACKS, SPEC, {"training": [*params]}, params)
    asked = [one for one in made if one["rule"].removeprefix("caws/core/") in RULES]
    # of the stage that declares none nothing is asked
    assert [(one["rule"], one["from"]) for one in asked] == [(f"caws/core/{name}", "step:train-kd") for name in RULES]
    return judge({"train-kd": found}, asked)


def test_a_baseline_may_be_best_where_it_begins() -> None:
    """It is then the stronger baseline. That it validated at all is asked of it, too."""
    params = {"train-ce_only-kd": {"validation": {"every": 20}, "keeps_states": False}}
    made, _ = policy.obligations(PACKS, SPEC, {"training": [*params]}, params)
    asked = {one["rule"].removeprefix("caws/core/") for one in made}
    assert asked & set(RULES) == {"validation-made", "validation-rows"}


def test_a_training_that_validated_passes() -> None:
    assert judged(report()).verdict == "PASS"


def drop(data: Data) -> None:
    del data["validation"]


def never(data: Data) -> None:
    data["validation"]["made"] = facts.measured(0, "count")


def at_the_start(data: Data) -> None:
    validation = data["validation"]
    validation["curve"][0]["value"] = facts.measured(0.1, "nat/token", n=900)
    validation["best"] = {"step": facts.measured(0, "step"), "value": facts.measured(0.1, "nat/token", n=900)}


def of_nothing(data: Data) -> None:
    data["validation"]["tokens"] = facts.measured(0, "token")


def unknown(data: Data) -> None:
    data["validation"]["tokens"] = facts.unavailable("not counted", "token")


def not_the_best(data: Data) -> None:
    data["validation"]["best"] = {"step": facts.measured(40, "step"), "value": facts.measured(0.45, "nat/token", n=900)}


def beyond(data: Data) -> None:
    data["validation"]["best"]["step"] = facts.measured(80, "step")


def more_than_allowed(data: Data) -> None:
    data["steps"] = facts.measured(101, "step")


def no_number(data: Data) -> None:
    data["validation"]["best"]["step"] = {"value": None, "unit": "step", "tag": "measured"}


@pytest.mark.parametrize(
    "wrong",
    [drop, never, at_the_start, of_nothing, unknown, not_the_best, beyond, more_than_allowed, no_number],
    ids=lambda wrong: str(wrong.__name__),
)
def test_a_wrong_report_does_not_pass(wrong: Callable[[Data], None]) -> None:
    found = copy.deepcopy(report())
    wrong(found["data"])
    assert judged(found).verdict != "PASS"
