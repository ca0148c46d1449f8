"""Reports of a teacher with rounded weights that must not pass: of nothing, and of another teacher."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from runtime.contract import report as facts
from tests.unit.kcompiler.policy import test_reports

PACKS = policy.load(["caws/core"], [assets.folder("policies")])
GOOD = json.loads((assets.folder("policies") / "caws/core/rounding-agreement/pass.json").read_text())["report"]
TOKENS = GOOD["data"]["tokens"]["value"]
Report = dict[str, Any]


def judged(report: Report) -> Verdict:
    spec = {**test_reports.SPEC, "teacher": {**test_reports.SPEC["teacher"], "dtype": "int8"}}
    asked, _ = policy.obligations(PACKS, spec, {"teacher.rounding": ["teacher-rounded"]})
    return judge({"teacher-rounded": report}, asked)


def put(**values: Any) -> Report:
    changed = copy.deepcopy(GOOD)
    changed["data"] |= values
    return changed


def without(name: str) -> Report:
    changed = copy.deepcopy(GOOD)
    del changed["data"][name]
    return changed


def nats(value: float, n: int = TOKENS) -> dict[str, Any]:
    return facts.measured(value, "nat/token", n=n)


def test_a_good_report_passes() -> None:
    assert judged(GOOD).verdict == "PASS"
    rules = {f"caws/core/{name}" for name in ("rounding-agreement", "rounding-divergence", "genuine")}
    assert {one.rule for one in judged(GOOD).outcomes} == rules


@pytest.mark.parametrize(
    "report", [put(divergence=nats(0.1)), put(agreement=facts.rate(TOKENS * 9 // 10, TOKENS)), put(weights="int4")]
)
def test_at_the_bound_it_passes(report: Report) -> None:
    assert judged(report).verdict == "PASS"


@pytest.mark.parametrize(
    ("why", "report"),
    [
        ("no token", put(tokens=facts.measured(0, "token"), agreement=facts.rate(0, 0), divergence=nats(0.0, 0))),
        ("another teacher", put(divergence=nats(0.11))),
        ("other tokens", put(agreement=facts.rate(TOKENS * 9 // 10 - 1, TOKENS))),
        ("more that agree than were asked", put(agreement=facts.rate(TOKENS + 1, TOKENS + 1))),
        ("a divergence of fewer tokens", put(divergence=nats(0.01, 7))),
        ("a divergence that is no number", put(divergence=nats(float("nan")))),
        ("a divergence below nothing", put(divergence=nats(-0.1))),
        ("more bytes than before", put(bytes=facts.measured(GOOD["data"]["bytes_plain"]["value"] + 1, "byte"))),
        ("no divergence", without("divergence")),
        ("no agreement", without("agreement")),
        ("an unknown number of bits", put(weights="int3")),
    ],
)
def test_a_wrong_report_does_not_pass(why: str, report: Report) -> None:
    assert judged(report).verdict != "PASS", why
