"""Reports of useless students, and reports of nothing, through the shipped packs of the three toys: none passes.

Each begins as a genuine report of a good student, and is changed so that it says one thing that must not pass; where the
suites can make it, they do, so that everything else in it is consistent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from runtime.contract import report as facts
from tests.unit.kcompiler.policy import test_reports
from tests.unit.kcompiler.policy.genuine import (
    choices,
    golds,
    preferences,
    proportions,
    scenarios_of,
    scenes,
    sums,
    texts,
    tools,
)
from tests.unit.runtime.suites import scenes as shopping

PACKS = policy.load(
    ["caws/core", "caws/tier-3", "quality/gold", "quality/preference", "quality/scenarios", "quality/transfer"],
    [assets.folder("policies")],
)
Report = dict[str, Any]


def judged(report: Report) -> Verdict:
    suite = report["kind"].removeprefix("eval.")
    baselines = test_reports.SPEC["evaluation"]["baselines"]
    spec = {**test_reports.SPEC, "evaluation": {"suites": [{"use": suite}], "baselines": baselines}}
    obligations, _ = policy.obligations(PACKS, spec, {report["kind"]: [report["step"]]}, test_reports.SETTINGS)
    return judge({report["step"]: report}, obligations)


def at(data: Any, path: str) -> tuple[Any, str]:
    *parents, last = path.split(".")
    for name in parents:
        data = data[name]
    return data, last


def put(report: Report, **values: Any) -> Report:
    """The report with other data at these paths (`__` for a dot)."""
    changed = copy.deepcopy(report)
    for path, value in values.items():
        place, name = at(changed["data"], path.replace("__", "."))
        place[name] = value
    return changed


def package() -> Report:
    """Report `coreml.parity` of a real package of the eight-ball."""
    return copy.deepcopy(test_reports.REPORTS["verify"])


def agrees(variant: str, name: str, datum: Report, *, decode: bool = False) -> Report:
    """The package with this datum at every shape of a variant, or of its decode."""
    report = package()
    (found,) = [one for one in report["data"]["variants"] if one["variant"] == variant]
    for place in [found["decode"]] if decode else found["shapes"]:
        place[name] = datum
    return report


def both(report: Report, name: str, value: Any) -> Report:
    """Student and package say the same."""
    return put(report, **{f"runners__{who}__{name}": value for who in ("student", "coreml")})


def gone(report: Report, *paths: str) -> Report:
    changed = copy.deepcopy(report)
    for path in paths:
        place, name = at(changed["data"], path)
        place[name] = facts.unavailable("not measured", place[name]["unit"])
    return changed


def without(report: Report, *paths: str) -> Report:
    changed = copy.deepcopy(report)
    for path in paths:
        place, name = at(changed["data"], path)
        del place[name]
    return changed


def acting(**how: Any) -> Report:
    """Four models that do every task, but for those that act otherwise."""
    right = dict.fromkeys(("teacher", "student", "ce_only", "coreml"), shopping.rightly)
    return scenarios_of({**right, **how})


looping = shopping.first(40, lambda row, _at: shopping.call("look", item=shopping.ITEMS[int(row["id"])]))
unanswered = shopping.first(40, lambda _row, _at: shopping.call("look", item="hat"))


def burning(row: dict[str, Any], at: int) -> str:
    return shopping.rightly(row, at - 1) if at else shopping.call("burn", item="pen 1")


NONE = facts.rate(0, 60)
F1 = {"value": 1.0, "unit": "ratio", "tag": "measured", "tp": 60, "fp": 0, "fn": 0}
BARE = {"value": 1.0, "unit": "ratio", "tag": "measured"}
NAN = {"value": None, "unit": "ratio", "tag": "measured"}

WRONG: list[tuple[str, Callable[[], Report]]] = [
    # of nothing
    ("F1 1.0 on no items", lambda: both(tools(), "span_f1", {**F1, "n": 0})),
    ("F1 without its counts", lambda: both(tools(), "span_f1", {**BARE, "n": 60})),
    ("an F1 that its counts do not give", lambda: both(tools(), "span_f1", {**F1, "n": 60, "fn": 9})),
    ("validity without counts", lambda: both(tools(), "json_validity", BARE)),
    ("validity of so many, and how many is not said", lambda: both(tools(), "json_validity", {**BARE, "n": 60})),
    ("exact calls on no items", lambda: both(tools(), "exact_call", {**BARE, "n": 0, "k": 0})),
    ("no rows at all", lambda: put(tools(), **{name: facts.measured(0, "row") for name in ("rows", "eligible")})),
    ("a value that is no number", lambda: both(tools(), "tool_selection", NAN)),
    ("no metric of the student", lambda: gone(tools(), *(f"runners.student.{name}" for name in METRICS))),
    ("no metric of the package", lambda: gone(tools(), *(f"runners.coreml.{name}" for name in METRICS))),
    ("the metrics left out", lambda: without(tools(), *(f"runners.student.{name}" for name in METRICS))),
    ("no answers at all", lambda: put(proportions(), questions=facts.measured(0, "question"))),
    ("no texts", lambda: put(texts(), items=facts.measured(0, "item"))),
    ("five texts", lambda: texts(items=5)),
    # of a useless student, beside a good F1
    ("no call fits its schema", lambda: both(tools(), "json_validity", NONE)),
    ("no call names the right tool", lambda: both(tools(), "tool_selection", NONE)),
    ("no call is right", lambda: both(tools(), "exact_call", NONE)),
    ("a mute student and its package", lambda: tools(student=60)),
    ("a fifth beside a teacher who knows nearly all", lambda: tools(teacher=3, student=48, ce_only=48)),
    ("every control is answered with a call", lambda: tools(everywhere=True)),
    ("no controls", lambda: tools(controls=0)),
    ("so few controls that silence may be luck", lambda: tools(controls=5)),
    ("the package is mute", lambda: tools(coreml=60)),
    ("the package is a quarter worse", lambda: tools(coreml=25)),
    ("the student without a teacher is better", lambda: tools(student=12, ce_only=4)),
    (
        "a gain that its sides do not have",
        lambda: put(tools(student=12, ce_only=4), kd_gain=tools()["data"]["kd_gain"]),
    ),
    ("no student without a teacher to compare with", lambda: gone(tools(), "runners.ce_only.right")),
    ("nearly no mass on the answers", lambda: proportions(mass=0.0001)),
    (
        "fifty nats from the teacher",
        lambda: put(proportions(), kl__student__all=facts.measured(50.0, "nat/question", n=60)),
    ),
    ("answers as likely as by guessing", lambda: proportions(student=1 / 3, ce_only=1 / 3)),
    ("worse than without a teacher", lambda: proportions(student=0.6, ce_only=0.75)),
    ("one constant answer", lambda: put(proportions(), distance__student=facts.measured(0.67, "probability", n=60))),
    ("no validity", lambda: gone(proportions(), "validity.student", "validity.coreml")),
    ("nine nats beside 0.08 of the same without a teacher", lambda: texts(student=1e-16, ce_only=0.73)),
    ("nine nats, and so have all", lambda: texts(teacher=1e-16, student=1e-16, ce_only=1e-17)),
    ("no gain", lambda: texts(student=0.5, ce_only=0.5)),
    ("a student that does a third of the tasks", lambda: scenes(student=40, ce_only=40)),
    ("a student that does none, beside a teacher that does none", lambda: scenes(60, 60, 60)),
    ("a package that does half", lambda: scenes(coreml=30)),
    ("a student that never stops", lambda: acting(student=looping)),
    ("a student that forty items were not answered for", lambda: acting(student=unanswered)),
    ("a teacher that forty items were not answered for", lambda: acting(teacher=unanswered)),
    ("a student that burns what it sells", lambda: acting(student=burning)),
    ("fixtures that nobody has read", lambda: put(scenes(), fixtures_unreviewed=facts.measured(3, "line"))),
    ("a hit rate of no calls", lambda: put(scenes(), fixture_hit_rate__student=facts.rate(0, 0))),
    ("a hit rate just too low", lambda: put(scenes(), fixture_hit_rate__coreml=facts.rate(94, 100))),
    ("tasks whose own paths fail", lambda: put(scenes(), zoo__gold=facts.rate(59, 60))),
    ("five tasks", lambda: scenarios_of(dict.fromkeys(("student", "coreml", "teacher"), shopping.rightly), 5)),
    ("no gain over random weights", lambda: texts(random_init=0.9)),
    ("random weights are better", lambda: texts(random_init=0.93)),
    (
        "a gain over random weights that its sides do not have",
        lambda: put(texts(random_init=0.9), init_gain=texts()["data"]["init_gain"]),
    ),
    ("no student from random weights to compare with", lambda: gone(texts(), "runners.random_init.nll_by_item")),
    ("that comparison left out", lambda: without(texts(), "init_gain")),
    ("one of fewer texts", lambda: put(texts(), init_gain=texts(items=14)["data"]["init_gain"])),
    ("one of more texts than there are", lambda: put(texts(), init_gain=texts(items=41)["data"]["init_gain"])),
    ("a package that lost a nat", lambda: texts(coreml=0.2)),
    ("far behind the teacher", lambda: texts(student=0.005, ce_only=0.001)),
    ("texts no likelier than by their bytes", lambda: texts(student=2.6e-17, ce_only=5e-19)),
    ("texts that are not certain by themselves", lambda: put(texts(), zoo__gold=facts.rate(39, 40))),
    ("a package that was set beside no policy", lambda: gone(texts(), "zoo.above.coreml")),
    ("likelihoods of the student not measured", lambda: gone(texts(), "runners.student.nll_by_item")),
    ("the package never prefers the same token", lambda: agrees("quantized", "top1_agreement", facts.rate(0, 200))),
    ("not even among five", lambda: agrees("fp16", "top5_containment", facts.rate(0, 200))),
    ("fifty nats between package and checkpoint", lambda: agrees("fp16", "kl", facts.measured(50.0, "nat", n=200))),
    ("fifty nats in the decode", lambda: agrees("quantized", "kl", facts.measured(50.0, "nat", n=52), decode=True)),
    ("it says other tokens", lambda: agrees("quantized", "greedy_agreement", facts.rate(0, 65), decode=True)),
    ("agreement of nothing", lambda: agrees("quantized", "greedy_agreement", facts.rate(0, 0), decode=True)),
    ("a lucky guesser", lambda: choices(student=38, ce_only=41)),
    ("a lucky guesser of a guessing teacher", lambda: choices(teacher=39, student=39, ce_only=41)),
    ("choices by guessing", lambda: choices(student=40, ce_only=41)),
    ("choices worse than without a teacher", lambda: choices(student=20, ce_only=4)),
    ("a package that chooses worse", lambda: choices(coreml=30)),
    # of the rows' own answers
    ("49 rows, all right", lambda: golds(0, 0, 0, rows=49)),
    ("no rows to answer", lambda: golds(0, 0, 0, rows=0)),
    ("one number to everything", lambda: golds(70, 80, 80, says=lambda *_: "#### 100")),
    ("the prompt repeated", lambda: golds(70, 80, 80, says=lambda prompt, _: prompt)),
    ("nothing said", lambda: golds(70, 80, 80, says=lambda *_: "")),
    ("a number of the prompt", lambda: golds(70, 80, 80, says=lambda prompt, _: prompt.split()[2])),
    ("every answer at once", lambda: golds(70, 80, 80, says=lambda *_: EVERY_ANSWER)),
    ("every answer at once where containing counts", lambda: golds(70, 80, 80, says=lambda *_: LISTED, **WORDS)),
    ("as many answers as one may name", lambda: golds(70, 80, 80, says=lambda *_: "100, 102", **WORDS)),
    ("nobody is right about anything", lambda: golds(80, 80, 80)),
    ("a teacher that is right about eight, and a student about none", lambda: golds(72, 80, 80)),
    ("a sixth fewer than the teacher", lambda: golds(teacher=0, student=14, ce_only=20)),
    ("right less often than without a teacher", lambda: golds(teacher=12, student=12, ce_only=0)),
    ("a package that forgot a sixth", lambda: golds(coreml=22)),
    ("a package that was asked half of it", lambda: golds(coreml_limit=40)),
    ("a package that was not asked", lambda: gone(golds(), "right.coreml", "package_gain", "zoo.above.coreml")),
    ("no teacher to compare with", lambda: gone(golds(), "right.teacher")),
    ("the gain of another student", lambda: put(golds(student=20), teacher_gain=golds()["data"]["teacher_gain"])),
    ("answers by the word of the report alone", lambda: put(golds(), right__student=BARE)),
    # of preference pairs
    ("49 pairs, all preferred rightly", lambda: preferences(0, 0, 0, rows=49)),
    ("no pairs", lambda: preferences(0, 0, 0, rows=0)),
    ("a coin", lambda: preferences(40, 40, 40)),
    ("the longer answer", lambda: preferences(likes=lambda _, answer: 0.5 + 0.1 * len(answer.split()))),
    ("the shorter answer", lambda: preferences(likes=lambda _, answer: 0.9 ** (len(answer.split()) + 1), score="sum")),
    ("chosen answers that are all longer", lambda: preferences(0, 0, 0, longer=1)),
    ("every answer equally likely", lambda: preferences(likes=lambda _, answer: 0.5 ** (len(answer.split()) + 1))),
    ("everything the wrong way round", lambda: preferences(80, 80, 80)),
    ("no number for one answer", lambda: preferences(likes=lambda prompt, _: float("nan") if prompt == "7" else 0.5)),
    ("infinitely likely answers", lambda: preferences(likes=lambda *_: float("inf"))),
    ("a sixth fewer pairs than the teacher", lambda: preferences(teacher=0, student=14, ce_only=20)),
    ("pairs ranked worse than without a teacher", lambda: preferences(teacher=14, student=14, ce_only=0)),
    ("a package that ranks a sixth less", lambda: preferences(coreml=32)),
    ("a package that was asked about half of the pairs", lambda: preferences(coreml_limit=40)),
    (
        "a package that was asked about no pair",
        lambda: gone(preferences(), "preferred.coreml", "package_gain", "zoo.above.coreml"),
    ),
    ("no teacher to rank with", lambda: gone(preferences(), "preferred.teacher")),
    ("ties that were counted", lambda: put(preferences(), ties__student=TIES)),
    ("chosen answers that are not preferred by themselves", lambda: put(preferences(), zoo__gold=facts.rate(79, 80))),
    ("a gold that was asked about other pairs", lambda: put(preferences(), zoo__gold=facts.rate(79, 79))),
    ("answers that are wrong by their own measure", lambda: put(golds(), zoo__gold=facts.rate(79, 80))),
    ("no more than one constant choice", lambda: choices(teacher=2, student=39, ce_only=40)),
    ("a right choice that is wrong", lambda: put(choices(), zoo__gold=facts.rate(0, 80))),
    ("proportions that are the same for every question", lambda: proportions(student=1 / 3, ce_only=0.2)),
    ("ranks by the word of the report alone", lambda: put(preferences(), preferred__student=BARE)),
    ("a quarter of what the teacher gets right", lambda: choices(teacher=0, student=60, ce_only=61)),
]
EVERY_ANSWER = "\n".join(str(2 * number + 100) for number in range(80))
LISTED = " ".join(str(2 * number + 100) for number in range(80))
TIES = facts.rate(60, 80)
WORDS = {"match": "contains", "numeric": {}, "contains": {"longest": 400}}
METRICS = ("span_f1", "json_validity", "tool_selection", "exact_call")


@pytest.mark.parametrize(("claim", "make"), WRONG, ids=[case[0] for case in WRONG])
def test_a_wrong_report_does_not_pass(claim: str, make: Callable[[], Report]) -> None:
    verdict = judged(make())
    assert verdict.verdict != "PASS", claim
    assert verdict.exit_code != 0


def test_there_are_more_than_thirty() -> None:
    assert len(WRONG) >= 30


@pytest.mark.parametrize("make", [tools, proportions, texts, choices, golds, preferences, package])
def test_a_good_student_passes(make: Callable[[], Report]) -> None:
    """The positive control: gates that refuse everything would refuse the table above."""
    verdict = judged(make())
    wrong = [(one.rule, one.outcome, one.reason) for one in verdict.outcomes if one.blocks]
    assert wrong == []
    assert verdict.verdict == "PASS"


@pytest.mark.parametrize("name", ["N/A", "TODO", "none", "mock", "..."])
def test_what_people_call_their_choices_is_no_placeholder(name: str) -> None:
    report = put(choices(), choices=[name, "B"])
    outcome = next(one for one in judged(report).outcomes if one.rule == "caws/core/genuine")
    assert outcome.outcome == "pass", outcome.reason


@pytest.mark.parametrize("said", ["N/A", "TODO", "mock", "..."])
def test_what_a_model_said_of_a_row_is_no_placeholder(said: str) -> None:
    report = golds(says=lambda prompt, answer: said if prompt == sums(0)[0] else answer, quote=40)
    assert {one["outputs"]["student"] for one in report["data"]["worst"]} == {said}
    verdict = judged(report)
    assert [(one.rule, one.reason) for one in verdict.outcomes if one.blocks] == []


def test_a_placeholder_in_a_field_of_the_report_is_one() -> None:
    report = choices()
    report["environment"] = {**report["environment"], "versions": {"torch": "TODO"}}
    outcome = next(one for one in judged(report).outcomes if one.rule == "caws/core/genuine")
    assert (outcome.outcome, outcome.pointer) == ("fail", "/environment/versions/torch")
