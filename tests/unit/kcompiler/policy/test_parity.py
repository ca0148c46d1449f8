"""The rule of runner parity over reports that claim more than they measured, and over too few items."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import judge
from runtime.contract import parity

PACK = policy.load(["quality/parity"], [assets.folder("policies")])
GOOD = json.loads((assets.folder("policies") / "quality/parity/runner-parity/pass.json").read_text())["report"]
PAIR = "student and fp16"


def line(row: int, runner: str, right: bool) -> dict[str, Any]:
    return {
        "row": f"r{row}",
        "runner": runner,
        "prompt": "sha256:" + "1" * 64,
        "output": "7" if right else "8",
        "parts": {"right": right},
        "reason": "" if right else "other_answer",
    }


def pair(n: int, worse: int) -> dict[str, Any]:
    """What two runners come to of which the second is wrong at `worse` of n items."""
    one = [line(i, "student", True) for i in range(n)]
    return parity.compared(one, [line(i, "fp16", i >= worse) for i in range(n)], 1)


def verdict(change: Callable[[dict[str, Any]], Any]) -> str:
    report = copy.deepcopy(GOOD)
    change(report["data"])
    spec = {"risk_tier": 3, "evaluation": {"suites": [{"use": "gold"}], "runners": [{"use": "mil"}]}}
    made, problems = policy.obligations(PACK, spec, {"parity": ["parity-gold"]}, {})
    assert problems == []
    (outcome,) = judge({"parity-gold": report}, made).outcomes
    return outcome.outcome


def put(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data["ways"][PAIR].update(fields)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda _: None, "pass"),
        (lambda data: data["ways"].update({PAIR: pair(64, 0)}), "pass"),
        # sixty-three items that all agree show no more than that the gap is below 0.0302
        (lambda data: data["ways"].update({PAIR: pair(63, 0)}), "inconclusive"),
        (lambda data: data["ways"].update({PAIR: pair(64, 1)}), "fail"),
        (lambda data: data["ways"].update({PAIR: pair(500, 5)}), "pass"),
        (lambda data: data["ways"].update({PAIR: pair(500, 10)}), "fail"),
        (lambda data: data["ways"].update({PAIR: pair(0, 0)}), "not_evaluated"),
        (lambda data: data["ways"].clear(), "not_evaluated"),
        (lambda data: data["ways"][PAIR].pop("gap"), "error"),
        # a gap of more items than were asked, of items that are not there, and without an interval
        (put(gap={**GOOD["data"]["ways"][PAIR]["gap"], "n": 10_000}), "error"),
        (put(items={"value": 0, "unit": "item", "tag": "measured"}), "error"),
        (put(gap={"value": 0.0, "unit": "item/item", "tag": "measured", "n": 200}), "not_evaluated"),
        (put(gap={**GOOD["data"]["ways"][PAIR]["gap"], "tag": "estimated", "by": "eye"}), "not_evaluated"),
    ],
)
def test_a_gap_passes_where_enough_items_show_it(change: Callable[[dict[str, Any]], Any], word: str) -> None:
    assert verdict(change) == word
