"""Reports of tools that must not pass: invalid arguments, called controls, personal data, answers that list or echo."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from runtime.contract import report as facts
from runtime.contract.statistics.rates import rate
from runtime.suites import integration
from tests.unit.kcompiler.policy import test_reports
from tests.unit.kcompiler.policy.genuine import carried, fact_row, functions, tools
from tests.unit.kcompiler.policy.suites import gold_of, report, tool_rows, tool_use_report
from tests.unit.runtime.suites.models import Scripted, reported

PACKS = policy.load(["caws/core", "caws/tier-3", "quality/bfcl", "quality/integration"], [assets.folder("policies")])
Report = dict[str, Any]


def judged(made: Report) -> Verdict:
    suite = made["kind"].removeprefix("eval.")
    spec = {**test_reports.SPEC, "evaluation": {"suites": [{"use": suite}], "baselines": ["ce_only"]}}
    obligations, _ = policy.obligations(PACKS, spec, {made["kind"]: [made["step"]]})
    return judge({made["step"]: made}, obligations)


def put(made: Report, **values: Any) -> Report:
    """The report with other data at these paths (`__` for a dot); None takes a datum away."""
    changed = copy.deepcopy(made)
    for path, value in values.items():
        *parents, last = path.split("__")
        place = changed["data"]
        for name in parents:
            place = place[name]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return changed


ABSENT = facts.unavailable("not measured", "ratio")


def invalid(prompt: str) -> str:
    """Every call with an argument that nothing declares; silence where none is wanted."""
    gold = gold_of(prompt)
    return gold.replace('"args":{', '"args":{"no_such_argument":1,') if gold.startswith("tool.call") else gold


def answered(says: Callable[[str], str]) -> Report:
    """Report `eval.integration` of a student that makes of each right answer what `says` makes of it."""
    rows = [fact_row(number) for number in range(60)]
    said = {str(item.prompt): says(item.response) for item in integration.items_of(rows)}
    runners = {name: Scripted(lambda prompt: said[str(prompt)]) for name in ("teacher", "student", "ce_only", "coreml")}
    return report(
        "integration", reported(integration.SUITE, runners, rows, [], integration.IntegrationParams(coreml_limit=60), 0)
    )


WRONG: list[tuple[str, Callable[[], Report]]] = [
    ("every argument is invalid", lambda: tool_use_report(tool_rows(200), invalid)),
    ("one eligible row", lambda: tool_use_report(tool_rows(1))),
    ("rows of zero, and every metric kept", lambda: put(tools(), **{n: facts.measured(0, "row") for n in COUNTED})),
    ("every control is called", lambda: tools(everywhere=True)),
    ("two controls of thirty are called", lambda: put(tools(), **CALLED)),
    ("the package calls on every control", lambda: put(tools(), **of_package(30))),
    ("the package calls on one control of thirty", lambda: put(tools(), **of_package(1))),
    ("the package met no control", lambda: put(tools(), runners__coreml__control_calls=ABSENT)),
    ("the package met four controls", lambda: put(tools(), runners__coreml__control_calls=rate(0, 4))),
    ("calls on controls that do not add up", lambda: put(tools(), runners__student__control_calls=rate(0, 29))),
    ("one leak of ninety", lambda: put(tools(), runners__student__privacy_ok=rate(89, 90))),
    ("one leak of the package", lambda: put(tools(), runners__coreml__privacy_ok=rate(89, 90))),
    ("privacy of nothing", lambda: put(tools(), runners__student__privacy_ok=ABSENT)),
    ("privacy left out", lambda: put(tools(), runners__student__privacy_ok=None)),
    ("privacy without counts", lambda: put(tools(), runners__student__privacy_ok=BARE)),
    ("privacy of fewer outputs than there are", lambda: put(tools(), runners__student__privacy_ok=rate(30, 30))),
    ("BFCL: half of the calls", lambda: functions(teacher=0, student=50, ce_only=50)),
    ("BFCL: the package is worse", lambda: functions(coreml=30)),
    ("BFCL: mute, and a third are controls", lambda: functions(student=64, ce_only=64)),
    ("BFCL: gold is not wholly right", lambda: put(functions(), zoo__gold=rate(95, 96))),
    ("BFCL: no controls", lambda: put(functions(), controls=facts.measured(0, "row"))),
    ("BFCL: one leak", lambda: put(functions(), runners__coreml__privacy_ok=rate(95, 96))),
    ("BFCL: accuracy of nothing", lambda: put(functions(), runners__student__accuracy=ABSENT)),
    ("integration: silence", lambda: answered(lambda _: "")),
    ("integration: the bare marker", lambda: answered(lambda _: integration.MARKER)),
    ("integration: every answer lists numbers", lambda: answered(lambda right: f"{right} 1 2 3 4 5 6 7 8 9")),
    ("integration: another unit", lambda: answered(lambda right: right.replace("km", "miles"))),
    ("integration: a card number besides", lambda: answered(lambda right: f"{right} 4111 1111 1111 1111")),
    ("integration: a tenth misses", lambda: carried(student=9)),
    ("integration: perfect, of no rows", lambda: put(carried(), rows=facts.measured(0, "row"))),
    ("integration: F1 of no answers", lambda: put(carried(), runners__student__lax={**PERFECT, "n": 0})),
    (
        "integration: an F1 that its counts do not give",
        lambda: put(carried(), runners__student__lax={**PERFECT, "n": 60}),
    ),
    ("integration: F1 not measured", lambda: put(carried(), runners__coreml__lax=ABSENT)),
    ("integration: recall not measured", lambda: put(carried(), runners__student__facts_said=ABSENT)),
]
BARE = {"value": 1.0, "unit": "ratio", "tag": "measured"}
PERFECT = {**BARE, "tp": 100, "fp": 0, "fn": 0, "low": 1.0, "high": 1.0, "confidence": 0.95, "interval": "Fieller"}
COUNTED = ("rows", "eligible", "controls")
CALLED = {
    "runners__student__control_calls": rate(2, 30),
    "runners__student__control_abstention": rate(28, 30),
    "runners__student__right": rate(84, 90),
}


def of_package(called: int) -> dict[str, Any]:
    """A package that is right but for the controls it calls on."""
    return {
        "runners__coreml__control_calls": rate(called, 30),
        "runners__coreml__control_abstention": rate(30 - called, 30),
        "runners__coreml__right": rate(86 - called, 90),
    }


@pytest.mark.parametrize("pack", ["caws/tier-3", "roles/worker"])
@pytest.mark.parametrize("called", [0, 1, 30])
def test_what_ships_stays_silent_on_controls(pack: str, called: int) -> None:
    """By the rule about controls and no other: of enough requests the pairs hide thirty calls that nobody wanted."""
    made = put(tools(), **of_package(called))
    packs = policy.load([pack], [assets.folder("policies")])
    spec = {**test_reports.SPEC, "evaluation": {"suites": [{"use": "tool_use"}], "baselines": ["ce_only"]}}
    obligations, _ = policy.obligations(packs, spec, {made["kind"]: [made["step"]]})
    blocked = {one.rule for one in judge({made["step"]: made}, obligations).outcomes if one.blocks}
    rule = f"{pack}/tool-controls" if pack == "roles/worker" else f"{pack}/tool-package-controls"
    assert (rule in blocked) is (called > 0)


@pytest.mark.parametrize(("claim", "make"), WRONG, ids=[case[0] for case in WRONG])
def test_a_wrong_report_does_not_pass(claim: str, make: Callable[[], Report]) -> None:
    verdict = judged(make())
    assert verdict.verdict != "PASS", claim
    assert verdict.exit_code != 0


@pytest.mark.parametrize("make", [tools, functions, carried])
def test_a_good_student_passes(make: Callable[[], Report]) -> None:
    verdict = judged(make())
    assert [(one.rule, one.outcome, one.reason) for one in verdict.outcomes if one.blocks] == []
    assert verdict.verdict == "PASS"


def test_strict_only_informs() -> None:
    """Where tokens are not known, nothing is said about spans, and nothing is gated on that."""
    made = put(carried(), runners__student__strict=facts.unavailable("its tokens are not known", "ratio"))
    assert judged(made).verdict == "PASS"
