"""What a waiver lets through, and what it never does: each wrong use first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as hypothetically
from hypothesis import settings
from hypothesis import strategies as st

from kcompiler.audit.schema import problem_with
from kcompiler.judge import judge
from kcompiler.waiver import NONE, Waivers, ended
from runtime import digest
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import bound, number, report
from tests.unit.kcompiler.waiver.world import KEYS, NOW, PLAN, TERMS, asked, given, judged, missed

OTHER = "sha256:" + 64 * "b"
ANA, BO = {"by": "ana", "on": "2026-11-21"}, {"by": "bo", "on": "2026-11-22"}

#: claim, what is changed of the waiver that would excuse it, and a part of the reason that the outcome gives
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("it ended", {"expires": "2026-11-28"}, "expired, ended on 2026-11-28"),
    ("it has not begun", {"created": "2026-11-29", "approvals": []}, "pending, begins on 2026-11-29"),
    ("it was revoked", {"revoked": {"by": "ana", "on": "2026-11-28", "reason": "mended since"}}, "revoked, revoked on"),
    ("nobody approved", {"approvals": []}, "pending, 0 of 2 approvals"),
    ("one of two approved", {"approvals": [ANA]}, "pending, 1 of 2 approvals"),
    ("one approved twice", {"approvals": [ANA, ANA]}, "pending, 1 of 2 approvals"),
    ("a stranger approved", {"approvals": [ANA, {**BO, "by": "mal"}]}, "pending, 1 of 2 approvals"),
    ("the author approved", {"author": "bo"}, "pending, 1 of 2 approvals"),
    ("the author in capitals approved", {"author": "BO"}, "pending, 1 of 2 approvals"),
    ("the owner approved", {"owner": "ana"}, "pending, 1 of 2 approvals"),
    ("approved before it was written", {"approvals": [ANA, {**BO, "on": "2026-11-19"}]}, "pending, 1 of 2 approvals"),
    ("approved tomorrow", {"approvals": [ANA, {**BO, "on": "2026-11-29"}]}, "pending, 1 of 2 approvals"),
    ("approved when it is over", {"approvals": [ANA, {**BO, "on": "2026-12-20"}]}, "pending, 1 of 2 approvals"),
    ("it lasts too long", {"expires": "2027-01-20"}, "pending, lasts 61 days, and the pack allows 60"),
    ("it covers less", {"magnitude": "0.0499"}, "it misses by 0.05, and the waiver covers 0.0499"),
    ("it covers nothing", {"magnitude": "0"}, "it misses by 0.05, and the waiver covers 0"),
    ("it does not say how much", {"magnitude": None}, "it has no magnitude"),
    ("another spec", {"subject": {"spec": "lab2"}}, "it is about spec `lab2`"),
    ("another profile of the spec", {"subject": {"spec": "lab@smoke"}}, "it is about spec `lab@smoke`"),
    ("another plan", {"subject": {"lock": OTHER}}, "it is about another plan"),
    ("another report", {"subject": {"report": OTHER}}, "it is about another report"),
    ("another step", {"subject": {"spec": "lab", "steps": ["verify"]}}, "it is about step verify"),
    ("right spec, other plan", {"subject": {"spec": "lab", "lock": OTHER}}, "it is about another plan"),
]


@pytest.mark.parametrize(("changes", "reason"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_a_waiver_that_is_wrong_excuses_nothing_and_the_outcome_says_why(changes: dict[str, Any], reason: str) -> None:
    verdict = judged(given(**changes))
    (outcome,) = verdict.outcomes
    assert (verdict.verdict, verdict.exit_code, outcome.outcome, outcome.blocks) == ("WAIVER_REQUIRED", 7, "fail", True)
    assert f"WV-0001 does not excuse it: {reason}" in outcome.reason
    assert outcome.waiver is None
    assert not problem_with("verdict", verdict.to_json())


def test_a_waiver_excuses_what_it_names_and_the_verdict_says_so() -> None:
    verdict = judged(given())
    (outcome,) = verdict.outcomes
    assert (verdict.verdict, verdict.exit_code, outcome.outcome, outcome.blocks) == ("WAIVED", 0, "waived", False)
    assert outcome.mode == "block"
    assert outcome.reason == "0.45 misses >= 0.5 (waived by WV-0001 until 2026-12-20)"
    use = digest.of_bytes(missed())
    assert outcome.waiver == {
        "id": "WV-0001", "digest": given().digest, "until": "2026-12-20", "use": use, "was": "fail",
        "approved": "ana, bo",
    }  # fmt: skip
    assert verdict.counts["waived"] == 1
    assert verdict.counts["pass"] == 0
    assert verdict.to_json()["waivers"] == [{"id": "WV-0001", "digest": given().digest, "used": [use]}]
    assert not problem_with("verdict", verdict.to_json())


@pytest.mark.parametrize(
    ("as_of", "word"),
    [
        ("2026-11-21T23:59:59Z", "WAIVER_REQUIRED"),
        ("2026-11-22T00:00:00Z", "WAIVED"),
        ("2026-12-19T23:59:59Z", "WAIVED"),
        ("2026-12-20T00:00:00Z", "WAIVER_REQUIRED"),
        (None, "WAIVER_REQUIRED"),
    ],
)
def test_the_time_that_is_given_decides_and_no_time_excuses_nothing(as_of: str | None, word: str) -> None:
    assert judged(given(), as_of=as_of).verdict == word


def test_a_revoked_waiver_excuses_what_was_judged_before() -> None:
    one = given(revoked={"by": "ana", "on": "2026-11-28", "reason": "mended since"})
    assert judged(one, as_of="2026-11-27T23:59:59Z").verdict == "WAIVED"


def test_what_the_journal_says_of_its_end_is_an_end_whatever_its_file_says() -> None:
    one = given()
    for day, word in (("2026-11-28", "WAIVER_REQUIRED"), ("2026-11-29", "WAIVED")):
        after = ended(one.waiver, {"WV-0001": {"by": "ana", "on": day, "reason": "mended since"}})
        verdict = judged(replace(one, waiver=after))
        assert verdict.verdict == word
        assert verdict.to_json()["waivers"][0]["revoked"] == {"by": "ana", "on": day, "reason": "mended since"}
        assert not problem_with("verdict", verdict.to_json())
        # the earlier of two counts
        assert ended(after, {"WV-0001": {"by": "bo", "on": "2026-12-01", "reason": "later"}}) == after
    assert ended(one.waiver, {"WV-0002": {}}) == one.waiver


@pytest.mark.parametrize(
    ("obligation", "word", "code"),
    [
        (asked(waivable=None), "FAIL", 1),
        (asked(waivable={**TERMS, "outcomes": ["inconclusive"]}), "FAIL", 1),
        (asked(waivable={**TERMS, "min": 3}), "WAIVER_REQUIRED", 7),
        (asked(waivable={**TERMS, "outcomes": ["error"]}), "NOTHING_EVALUATED", 3),
        (asked(waivable={**TERMS, "min": 0}), "NOTHING_EVALUATED", 3),
        (asked(mode="warn", waivable=None), "PASS", 0),
        (asked(rule="lab/other"), "WAIVER_REQUIRED", 7),
    ],
)
def test_the_pack_alone_says_what_may_be_excused(obligation: dict[str, Any], word: str, code: int) -> None:
    verdict = judged(given(), obligations=[obligation])
    assert (verdict.verdict, verdict.exit_code) == (word, code)
    assert all(one.waiver is None for one in verdict.outcomes)


def test_what_cannot_be_excused_beside_what_is_decides() -> None:
    other = asked(bound("y", ">=", "1"), rule="lab/strict", waivable=None)
    verdict = judged(given(), data=missed(y=number(0.0)), obligations=[asked(), other])
    assert (verdict.verdict, verdict.exit_code) == ("FAIL", 1)
    assert [one.outcome for one in verdict.outcomes] == ["waived", "fail"]


NOTHING: list[tuple[str, bytes]] = [
    ("no report", b""),
    ("no datum", facts.dump(report({"y": number(1.0)})).encode()),
    ("estimated", facts.dump(report({"x": facts.estimated(0.45, "1", by="formula")})).encode()),
    ("unavailable", facts.dump(report({"x": facts.unavailable("no card", "1")})).encode()),
    (
        "forged",
        facts.dump(
            report({"x": number(0.45)}, environment={"forged": True, "backend": "null", "versions": {}})
        ).encode(),
    ),
    ("another unit", facts.dump(report({"x": number(0.45, "s")})).encode()),
]


@pytest.mark.parametrize("data", [one[1] for one in NOTHING], ids=[one[0] for one in NOTHING])
def test_missing_or_broken_evidence_is_no_failure_that_a_waiver_excuses(data: bytes) -> None:
    other = asked(bound("z", ">=", "0"), rule="lab/strict", from_="step:other", waivable=None)
    fine = facts.dump(report({"z": number(1.0)}, step="other")).encode()
    verdict = judge(
        {"measure": data, "other": fine},
        [asked(), other],
        as_of=NOW,
        waivers=Waivers(given=[given()], spec="lab", plan=PLAN),
    )
    assert verdict.outcomes[0].blocks
    assert verdict.outcomes[0].outcome in ("not_evaluated", "error")
    assert verdict.verdict in ("FAIL", "INCONCLUSIVE")


def test_a_place_without_a_number_is_not_hidden_behind_one_that_misses() -> None:
    data = facts.dump(report({"all": {"a": number(0.45), "b": facts.unavailable("no card", "1")}})).encode()
    verdict = judged(given(), data=data, obligations=[asked(bound("all.*", ">=", "0.5"))])
    assert verdict.outcomes[0].outcome == "fail"
    assert "the pack lets nobody excuse not_evaluated" in verdict.outcomes[0].reason
    both = {**TERMS, "outcomes": ["fail", "not_evaluated"]}
    assert (
        judged(given(), data=data, obligations=[asked(bound("all.*", ">=", "0.5"), waivable=both)]).verdict == "WAIVED"
    )


def test_the_worst_of_several_places_is_what_is_covered() -> None:
    data = facts.dump(report({"all": {"a": number(0.45), "b": number(0.4)}})).encode()
    made = [asked(bound("all.*", ">=", "0.5"))]
    assert "it misses by 0.1" in judged(given(), data=data, obligations=made).outcomes[0].reason
    assert judged(given(magnitude="0.1"), data=data, obligations=made).verdict == "WAIVED"


def test_what_measures_no_distance_is_excused_as_it_stands_and_no_further() -> None:
    made = [asked({"at": "x"}, kind="presence@1")]
    data = facts.dump(report({"x": facts.unavailable("no card", "1")})).encode()
    wide = judged(given(magnitude=None), data=data, obligations=made)
    assert wide.outcomes[0].outcome == "fail"
    assert "how far it misses is not measured, and the waiver names no report" in wide.outcomes[0].reason
    exact = given(magnitude=None, subject={"report": digest.of_bytes(data)})
    assert judged(exact, data=data, obligations=made).verdict == "WAIVED"
    other = facts.dump(report({"x": facts.unavailable("no card", "1"), "y": number(1.0)})).encode()
    assert judged(exact, data=other, obligations=made).verdict == "WAIVER_REQUIRED"


def test_each_report_is_one_use_however_often_it_is_judged() -> None:
    one, two = given(max_uses=1), digest.of_bytes(missed())
    assert judged(one).verdict == "WAIVED"
    assert judged(one, used={"WV-0001": frozenset({two})}).verdict == "WAIVED"
    used_up = judged(one, used={"WV-0001": frozenset({OTHER})})
    assert "exhausted, all of its 1 uses are used" in used_up.outcomes[0].reason
    assert used_up.to_json()["waivers"][0]["used"] == [OTHER]
    twice = [asked(), asked(rule="lab/second")]
    assert judged(given(max_uses=1, rules=["lab/rule", "lab/second"]), obligations=twice).verdict == "WAIVED"


def test_the_narrowest_waiver_is_used_and_the_other_is_left() -> None:
    wide = given(id="WV-0001", magnitude="0.2")
    narrow = given(id="WV-0002", magnitude="0.06")
    verdict = judged(wide, narrow)
    assert verdict.outcomes[0].waiver is not None
    assert verdict.outcomes[0].waiver["id"] == "WV-0002"
    assert verdict.to_json()["waivers"][0]["used"] == []


def test_a_verdict_without_waivers_says_nothing_of_them() -> None:
    verdict = judge({"measure": missed(0.6)}, [asked(waivable=None)], waivers=NONE)
    assert "waivers" not in verdict.to_json()
    assert verdict.verdict == "PASS"


@settings(max_examples=60, deadline=None)
@hypothetically(
    value=st.integers(0, 100), covers=st.integers(0, 100), approvals=st.sets(st.sampled_from([*KEYS, "dee", "mal"]))
)
def test_never_more_than_the_magnitude_and_never_without_two_approvers(
    value: int, covers: int, approvals: set[str]
) -> None:
    """A law: waived exactly where the miss is covered and two of the pack's people approved."""
    one = given(magnitude=str(covers), approvals=[{"by": name, "on": "2026-11-21"} for name in sorted(approvals)])
    data = facts.dump(report({"x": number(float(value))})).encode()
    verdict = judged(one, data=data, obligations=[asked(bound("x", ">=", "50"))])
    approved = len(approvals & set(KEYS)) >= 2
    word = "PASS" if value >= 50 else "WAIVED" if 50 - value <= covers and approved else "WAIVER_REQUIRED"
    assert verdict.verdict == word
