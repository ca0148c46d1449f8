"""Reports of stored signals that must not pass: of nothing, of other tokens, of numbers that depend on neighbours."""

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
GOOD = json.loads((assets.folder("policies") / "caws/core/signals-mass/pass.json").read_text())["report"]
TOKENS = GOOD["data"]["tokens"]["value"]
Report = dict[str, Any]


def judged(report: Report, form: str = "top_k") -> Verdict:
    store = {"form": form} | ({"k": 64} if form == "top_k" else {})
    spec = {**test_reports.SPEC, "teacher": {**test_reports.SPEC["teacher"], "store": store}}
    asked, _ = policy.obligations(PACKS, spec, {"teacher.signals": ["signals"]})
    return judge({"signals": report}, asked)


def put(**values: Any) -> Report:
    changed = copy.deepcopy(GOOD)
    changed["data"] |= values
    return changed


def without(name: str) -> Report:
    changed = copy.deepcopy(GOOD)
    del changed["data"][name]
    return changed


def test_a_good_report_passes() -> None:
    assert judged(GOOD).verdict == "PASS"
    assert {one.rule for one in judged(GOOD).outcomes} == {
        *(f"caws/core/signals-{name}" for name in ("aligned", "mass", "recorded", "repeat")),
        "caws/core/genuine",
    }


def test_what_is_exact_is_not_asked_for_its_mass() -> None:
    report = put(form="hidden")
    del report["data"]["mass"], report["data"]["least_mass"]
    assert judged(report, "hidden").verdict == "PASS"
    assert judged(report).verdict != "PASS"


@pytest.mark.parametrize(
    ("why", "report"),
    [
        ("no token at all", put(tokens=facts.measured(0, "token"), recorded=facts.rate(0, 0))),
        ("a token without a signal", put(recorded=facts.rate(TOKENS - 1, TOKENS))),
        ("all of fewer tokens than there are", put(recorded=facts.rate(7, 7))),
        ("half of the teacher", put(mass=facts.measured(0.5, "1", n=TOKENS))),
        ("a mass above one", put(mass=facts.measured(1.5, "1", n=TOKENS))),
        ("a mass that nobody measured", without("mass")),
        ("a row that is another beside its neighbours", put(agreeing=facts.rate(31, 32))),
        ("no row compared", put(same_alone=facts.rate(0, 0), same_padded=facts.rate(0, 0), agreeing=facts.rate(0, 0))),
        ("more rows that agree than were compared", put(agreeing=facts.rate(64, 64))),
        ("tokens as likely as those beside them", put(margin=facts.measured(0.0, "nat/token", n=900))),
        ("tokens less likely than those beside them", put(margin=facts.measured(-0.1, "nat/token", n=900))),
        ("nothing measured beside them", put(margin=facts.measured(float("nan"), "nat/token", n=0), beside=[])),
        ("no margin", without("margin")),
    ],
)
def test_a_wrong_report_does_not_pass(why: str, report: Report) -> None:
    assert judged(report).verdict != "PASS", why
