"""What a judge says gates nothing unless the judge has passed in the same verdict: no pack can leave it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from kcompiler.policy import believed
from runtime import digest
from runtime.contract import hosted, verdicts
from runtime.contract import report as facts
from tests.unit.kcompiler.policy import test_reports
from tests.unit.kcompiler.policy.judged import compared, judges, outcome

PACKS = policy.load(["quality/judged"], [assets.folder("policies")])
SPEC = {
    **test_reports.SPEC,
    "evaluation": {"suites": [{"use": "judged"}], "judge": {"model": "judge", "rows": None}, "baselines": []},
}
REFEREE, COURT, AFTER = "evaluate-the-judge", "evaluate-judged", "count"
TAKES = {
    REFEREE: {"judge": "input:judge", "dataset": "step:data#dataset"},
    COURT: {"judge": "input:judge", "standing": f"step:{REFEREE}#report", "dataset": "step:data#dataset"},
    AFTER: {"items": f"step:{COURT}#items"},
    "later": {"counted": f"step:{AFTER}#report"},
}
Report = dict[str, Any]
JUDGE = "9" * 63 + "b"


def referee(**params: Any) -> Report:
    """The report on the judge, which is a model of its own with words of its own."""
    made = judges(**params)
    own = dict.fromkeys(("model", "tokenizer", "prompt_wrapper"), JUDGE)
    return {
        **made,
        "step": REFEREE,
        "subject": {"takes.judge": f"sha256:{JUDGE}"},
        "fingerprints": {**made["fingerprints"], **own},
    }


def court(of: str = "", **ends: Any) -> Report:
    made = compared(**ends)
    return {**made, "subject": {**made["subject"], "takes.judge": f"sha256:{of or JUDGE}"}}


def obligations() -> list[dict[str, Any]]:
    written, problems = policy.obligations(PACKS, SPEC, {"eval.judge": [REFEREE], "eval.judged": [COURT]})
    assert not problems
    return believed.named(written, believed.edges(TAKES))


GOOD = court(won=90, lost=60, tied=40, flipped=10)


def decided(reports: Mapping[str, Report], asked: list[dict[str, Any]] | None = None, **options: Any) -> Verdict:
    return judge(reports, obligations() if asked is None else asked, **options)


def of_the_court(verdict: Verdict) -> dict[str, str]:
    return {one.rule: one.outcome for one in verdict.outcomes if one.step == COURT}


def test_a_judge_that_passes_is_believed() -> None:
    verdict = decided({REFEREE: referee(), COURT: GOOD})
    assert verdict.verdict == "PASS", [one for one in verdict.outcomes if one.blocks]
    assert set(of_the_court(verdict).values()) == {"pass"}
    assert {one.outcome for one in verdict.outcomes if one.step == REFEREE} == {"pass"}


def test_a_believed_judge_condemns() -> None:
    verdict = decided({REFEREE: referee(), COURT: court(won=40, lost=110, tied=40, flipped=10)})
    assert of_the_court(verdict)["quality/judged/judged-no-worse"] == "fail"
    assert verdict.verdict == "FAIL"


def says(verdict: Callable[[verdicts.Pair], str]) -> Callable[[verdicts.Pair, int], str]:
    return lambda pair, number: outcome(pair, number) if pair.asked == verdicts.CLAUSE else verdict(pair)


WRONG: list[tuple[str, Callable[[], dict[str, Report]]]] = [
    ("a judge that is not as sure as it is right", lambda: {REFEREE: referee(student=50)}),
    ("a judge of seats", lambda: {REFEREE: referee(says=says(lambda _: verdicts.FIRST))}),
    ("a judge that always says tie", lambda: {REFEREE: referee(says=says(lambda _: verdicts.TIE))}),
    ("no report on the judge", dict),
    (
        "a forged report on the judge",
        lambda: {REFEREE: {**referee(), "environment": {**referee()["environment"], "forged": True}}},
    ),
    ("a report on the judge by another step", lambda: {REFEREE: {**referee(), "step": "evaluate-other"}}),
    ("a report of another kind in its place", lambda: {REFEREE: {**GOOD, "step": REFEREE}}),
    ("a judge that was judged by nothing", lambda: {REFEREE: referee(rows=[])}),
]


@pytest.mark.parametrize("given", [given for _, given in WRONG], ids=[name for name, _ in WRONG])
def test_who_has_not_passed_is_not_believed(given: Callable[[], dict[str, Report]]) -> None:
    for said in (GOOD, court(won=40, lost=110, tied=40, flipped=10)):
        verdict = decided({**given(), COURT: said})
        assert set(of_the_court(verdict).values()) == {"inconclusive"}
        assert verdict.verdict in ("FAIL", "INCONCLUSIVE")


def test_the_judge_that_was_evaluated_is_the_one_that_is_asked() -> None:
    """Two reports that took different judges are evidence for nothing; nor is one on a judge that it did not take."""
    other = decided({REFEREE: referee(), COURT: court(of="8" * 63 + "b", won=90, lost=60, tied=50)})
    assert set(of_the_court(other).values()) == {"error"}
    mine = referee()
    relabelled = {**mine, "fingerprints": {**mine["fingerprints"], "model": "7" * 63 + "b"}}
    assert set(of_the_court(decided({REFEREE: relabelled, COURT: GOOD})).values()) == {"inconclusive"}
    students = {**judges(), "step": REFEREE}
    assert (
        decided({REFEREE: {**students, "fingerprints": mine["fingerprints"]}, COURT: GOOD}).verdict
        == "NOTHING_EVALUATED"
    )


WHICH = hosted.judge("http://127.0.0.1:8000/v1", "judge-1", "judge-1-0301")


def served(report: Report, which: dict[str, str] = WHICH) -> Report:
    """The same report, where the judge is behind a server."""
    pin = hosted.fingerprint(which)
    own = ("judge", "model", "tokenizer", "prompt_wrapper") if report["kind"] == "eval.judge" else ("judge",)
    subject = {port: value for port, value in report["subject"].items() if port != "takes.judge"}
    return {
        **report,
        "subject": subject,
        "fingerprints": {**report["fingerprints"], **dict.fromkeys(own, pin)},
        "environment": {**report["environment"], "judge": which},
    }


def resting(report: Report) -> Report:
    return {**report, "subject": {**report["subject"], "takes.standing": "sha256:" + "4" * 63 + "b"}}


def test_a_judge_behind_a_server_is_believed_where_the_same_model_judged_and_was_judged() -> None:
    verdict = decided({REFEREE: served(referee()), COURT: resting(served(GOOD))})
    assert verdict.verdict == "PASS", [one for one in verdict.outcomes if one.blocks]
    assert set(of_the_court(verdict).values()) == {"pass"}
    failed = decided({REFEREE: served(referee(student=50)), COURT: resting(served(GOOD))})
    assert set(of_the_court(failed).values()) == {"inconclusive"}


def without(report: Report, section: str, name: str) -> Report:
    return {**report, section: {key: value for key, value in report[section].items() if key != name}}


def having(report: Report, section: str, **changes: Any) -> Report:
    return {**report, section: {**report[section], **changes}}


OTHERS = [{**WHICH, name: f"{text}x"} for name, text in WHICH.items()]
NOT_THE_ONE: list[tuple[str, Report, Report]] = [
    *(("another model compares", served(referee()), served(GOOD, which)) for which in OTHERS),
    ("a folder compares", served(referee()), GOOD),
    ("a folder was judged", referee(), served(GOOD)),
    ("which compares is not said", served(referee()), resting(without(served(GOOD), "fingerprints", "judge"))),
    ("where is not said", served(referee()), without(served(GOOD), "environment", "judge")),
    ("where is no place", served(referee()), having(served(GOOD), "environment", judge="http://127.0.0.1")),
    ("more is said of it", served(referee()), having(served(GOOD), "environment", judge={**WHICH, "more": "x"})),
    ("it has no words", served(referee()), having(served(GOOD), "environment", judge={**WHICH, "model": 3})),
    ("its version was renamed", served(referee()), having(served(GOOD), "environment", judge=OTHERS[2])),
    ("the report on it names another", having(served(referee()), "environment", judge=OTHERS[2]), served(GOOD)),
    (
        "the report on it is of another model",
        having(served(referee()), "fingerprints", model="7" * 63 + "b"),
        served(GOOD),
    ),
    ("it is a folder, too", served(referee()), having(served(GOOD), "subject", **{"takes.judge": f"sha256:{JUDGE}"})),
]


@pytest.mark.parametrize(("about", "said"), [one[1:] for one in NOT_THE_ONE], ids=[one[0] for one in NOT_THE_ONE])
def test_two_reports_of_different_judges_behind_servers_are_evidence_for_nothing(about: Report, said: Report) -> None:
    found = decided({REFEREE: about, COURT: said})
    assert set(of_the_court(found).values()) <= {"error", "inconclusive"}
    assert found.verdict != "PASS"


def test_a_judge_of_another_lock_is_not_believed() -> None:
    """The report on the run names the artifact of the report on the judge that it rests on; here another."""

    def artifact(report: Report) -> str:
        return digest.of_one_file("report.json", facts.dump(report).encode())

    subject = {"plan": "sha256:" + "1" * 64, REFEREE: artifact(referee()), COURT: artifact(GOOD)}
    run = {**test_reports.EVERY["apply"], "subject": subject}
    own = {REFEREE: referee(), COURT: GOOD, "apply": run}
    assert set(of_the_court(decided(own, lock=subject["plan"])).values()) == {"pass"}
    stranger = {**own, REFEREE: referee(student=3)}
    assert set(of_the_court(decided(stranger, lock=subject["plan"])).values()) == {"inconclusive"}


def test_no_pack_can_forget_the_judge() -> None:
    """Rules about the answers alone; rules about the judge that only warn; no rule about how sure it is."""
    every = obligations()
    alone = [one for one in every if one["from"] == f"step:{COURT}"]
    warned = [{**one, "mode": "warn"} if one["from"] == f"step:{REFEREE}" else one for one in every]
    uncalibrated = [one for one in every if not one["rule"].endswith("/judge-calibration")]
    for asked in (alone, warned, uncalibrated):
        found = decided({REFEREE: referee(), COURT: GOOD}, asked)
        assert set(of_the_court(found).values()) == {"inconclusive"}
        assert found.verdict == "INCONCLUSIVE"


def test_some_obligations_of_a_plan_are_decided_by_all_of_its_judge() -> None:
    alone = [one for one in obligations() if one["from"] == f"step:{COURT}"]
    found = decided({REFEREE: referee(), COURT: GOOD}, alone, every=obligations())
    assert set(of_the_court(found).values()) == {"pass"}
    found = decided({REFEREE: referee(student=50), COURT: GOOD}, alone, every=obligations())
    assert set(of_the_court(found).values()) == {"inconclusive"}


def test_what_is_made_of_judged_answers_rests_on_the_judge_too() -> None:
    assert believed.edges(TAKES) == dict.fromkeys((COURT, AFTER, "later"), f"step:{REFEREE}")
    named = believed.named(
        [{"from": "step:x", "against": f"step:{AFTER}"}, {"from": "step:x", "judged_by": "y"}], believed.edges(TAKES)
    )
    assert named == [{"from": "step:x", "against": f"step:{AFTER}", "judged_by": f"step:{REFEREE}"}, {"from": "step:x"}]


def constant() -> Report:
    """What is no worse than the teacher's answers, where a judge cannot tell: one text, whatever is asked."""
    return court(won=0, lost=0, tied=200, anything=200, says=lambda _: "gold 0")


#: each is made when its test runs: collecting tests makes none
WRONG_COMPARISONS: list[tuple[str, Callable[[], Report], str]] = [
    ("worse answers", lambda: court(won=80, lost=90, tied=30), "judged-no-worse"),
    ("verdicts that turn", lambda: court(won=90, lost=40, tied=20, flipped=50), "judged-flips"),
    ("one row", lambda: court(won=1, lost=0, tied=0), "judged-items"),
    ("no rows", lambda: court(won=0, lost=0, tied=0), "judged-no-worse"),
    ("one answer for every row", lambda: court(says=lambda _: "gold 0"), "judged-above-trivial"),
    ("one answer for every row, before a judge to whom any is as good", constant, "judged-above-trivial"),
    ("good answers, before a judge to whom any is as good", lambda: court(anything=200), "judged-above-trivial"),
    ("answers that hold hardly more than one constant answer", lambda: court(worse=170), "judged-above-trivial"),
    (
        "as good as a teacher of one answer, and no better",
        lambda: court(won=0, lost=0, tied=200, worse=200),
        "judged-above-trivial",
    ),
    ("a judge that finds answers worse than themselves", lambda: court(unsound=40), "judged-sound"),
    ("a judge that finds all answers worse than themselves", lambda: court(unsound=200), "judged-above-trivial"),
]


@pytest.mark.parametrize(
    ("given", "rule"), [one[1:] for one in WRONG_COMPARISONS], ids=[one[0] for one in WRONG_COMPARISONS]
)
def test_a_comparison_that_shows_nothing_does_not_pass(given: Callable[[], Report], rule: str) -> None:
    verdict = decided({REFEREE: referee(), COURT: given()})
    assert verdict.verdict != "PASS"
    assert of_the_court(verdict)[f"quality/judged/{rule}"] != "pass"


def test_counts_that_do_not_add_up_are_no_evidence() -> None:
    wrong = {**GOOD, "data": {**GOOD["data"], "won": compared(won=100, lost=60, tied=40)["data"]["won"]}}
    assert set(of_the_court(decided({REFEREE: referee(), COURT: wrong})).values()) == {"error"}


def test_one_answer_for_every_row_is_not_worse_where_the_judge_cannot_tell_and_passes_all_the_same_not() -> None:
    """What it is compared with is no worse either, and so are the rows' own answers: then nothing is measured."""
    found = decided({REFEREE: referee(), COURT: constant()})
    told = {rule.rpartition("/")[2]: outcome for rule, outcome in of_the_court(found).items()}
    assert told["judged-no-worse"] == told["judged-flips"] == "pass"
    assert told["judged-above-trivial"] not in ("pass", "fail")
    assert constant()["data"]["zoo"]["above"]["first"]["tag"] == "unavailable"
    assert found.verdict == "INCONCLUSIVE"
