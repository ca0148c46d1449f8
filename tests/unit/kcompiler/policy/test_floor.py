"""A rate of few items passes nothing: the pack says how many are enough, a rule may say it itself, nobody leaves it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.policy.rule import LEAST
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import report
from tests.unit.kcompiler.policy.test_load import PACK, RULE, changed, lab

SHIPPED = assets.folder("policies")
UNSAID = PACK.replace("min_n: 1\n", "")
RELATIVE = RULE.replace("bound", "relative").replace("metric: level", "metric: level, to: before")
ASSERT = """\
id: loud
title: The sound is loud
on: eval.gold
kind: assert
params: {that: report.right.student.value >= 0.5}
remedy: turn it up
"""


def word(found: policy.Policy, kind: str, **data: Any) -> str:
    """What the only rule says of a report with these data."""
    assert found.problems == ()
    made, wrong = policy.obligations(found, {"risk_tier": 3}, {kind: ["measure"]})
    assert wrong == []
    given = report(data, kind=kind)
    return judge({"measure": given}, made).outcomes[0].outcome


def rate(n: int, k: int | None = None) -> dict[str, Any]:
    return facts.rate(n if k is None else k, n)


@pytest.mark.parametrize(("pack", "least"), [(UNSAID, LEAST), (PACK.replace("min_n: 1", "min_n: 33"), 33), (PACK, 1)])
def test_a_rate_below_the_floor_of_its_pack_is_inconclusive(tmp_path: Path, pack: str, least: int) -> None:
    found = lab(tmp_path, pack=pack)
    if least > 1:
        assert word(found, "eval.sound", level=rate(least - 1)) == "inconclusive"
        assert word(found, "eval.sound", level=rate(least - 1, 0)) == "inconclusive"
    assert word(found, "eval.sound", level=rate(least)) == "pass"
    assert word(found, "eval.sound", level=rate(least, 0)) == "fail"


def test_each_side_of_a_comparison_has_the_floor(tmp_path: Path) -> None:
    found = lab(tmp_path, pack=UNSAID, rule=RELATIVE.replace('"0.5"', '"0"'))
    assert word(found, "eval.sound", level=rate(LEAST), before=rate(LEAST - 1)) == "inconclusive"
    assert word(found, "eval.sound", level=rate(LEAST - 1), before=rate(LEAST)) == "inconclusive"
    assert word(found, "eval.sound", level=rate(LEAST), before=rate(LEAST)) == "pass"


@pytest.mark.parametrize("least", [1, LEAST + 1])
def test_what_a_rule_says_itself_is_not_changed(tmp_path: Path, least: int) -> None:
    found = lab(tmp_path, pack=UNSAID, rule=changed("unit: ratio", f"unit: ratio, need: {{min_n: {least}}}"))
    assert found.packs[0].rules[0].params.model_dump()["need"]["min_n"] == least


def test_what_is_no_rate_has_no_floor(tmp_path: Path) -> None:
    found = lab(tmp_path, pack=UNSAID, rule=changed("ratio", "s"))
    assert found.packs[0].rules[0].params.model_dump()["need"]["min_n"] is None
    assert word(found, "eval.sound", level=facts.measured(0.5, "s")) == "pass"


def asserted(folder: Path, params: str = "") -> dict[str, Any]:
    rule = ASSERT.replace("0.5}", f"0.5{params}}}")
    found = lab(folder, pack=UNSAID, rule=rule)
    assert found.problems == ()
    made: dict[str, Any] = found.packs[0].rules[0].params.model_dump(mode="json")
    return made


def test_an_expression_has_the_floor_for_the_rates_that_it_reads(tmp_path: Path) -> None:
    assert asserted(tmp_path)["rates_min_n"] == LEAST
    assert asserted(tmp_path, ", rates_min_n: 2")["rates_min_n"] == 2
    said = asserted(tmp_path, ", need: {min_n: 3}")
    assert (said["rates_min_n"], said["need"]["min_n"]) == (None, 3)


@pytest.mark.parametrize("pack", ["min_n: 0", "min_n: -1", "min_n: '20'", "min_n: 1.5", "min_n: null"])
def test_a_floor_that_is_none_is_refused(tmp_path: Path, pack: str) -> None:
    problems = lab(tmp_path, pack=UNSAID + pack + "\n").problems
    assert [(one.code, one.line) for one in problems] == [("KC6002", 4)]


def test_every_shipped_pack_states_its_floor() -> None:
    for file in SHIPPED.rglob("pack.yaml"):
        assert "\nmin_n: " in file.read_text(encoding="utf-8"), file
