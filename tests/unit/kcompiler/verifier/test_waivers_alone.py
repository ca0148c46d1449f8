"""What kcompiler says of waivers and approvals, and the stand-alone verifier, written apart: the same every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as hypothetically
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kcompiler import approval, waiver
from kcompiler.audit import forecast
from kcompiler.judge import judge
from kcompiler.policy import kinds
from kcompiler.verifier import approvals, verdict
from kcompiler.verifier import forecast as ahead
from kcompiler.verifier import waivers as alone
from runtime import digest
from runtime.contract import report as facts
from tests.longer import LONG
from tests.unit.kcompiler.approval import test_approval as signing
from tests.unit.kcompiler.judge.samples import bound, number, report
from tests.unit.kcompiler.verifier.test_agrees_with_the_judge import VERIFIER
from tests.unit.kcompiler.waiver.test_effect import NOTHING, OTHER, WRONG
from tests.unit.kcompiler.waiver.world import KEYS, NOW, PLAN, TERMS, asked, given, missed


def locked(one: dict[str, Any]) -> dict[str, Any]:
    """With every parameter written out, as a lock has them."""
    kind = kinds.load(one["kind"].partition("@")[0])
    params = kind.params.model_validate(one["params"]).model_dump(mode="json", by_alias=True)
    return {key: value for key, value in {**one, "params": params}.items() if key != "waivable" or value is not None}


def as_read_alone(one: waiver.Given) -> alone.Given:
    """The same as the verifier has it."""
    by = [alone.Approved(each.key, each.on) for each in one.approvals]
    return alone.Given(one.waiver.meaning, one.digest, by)


def agreed(
    *waivers: waiver.Given,
    data: bytes | None = None,
    obligations: list[dict[str, Any]] | None = None,
    as_of: str | None = NOW,
    used: Mapping[str, frozenset[str]] | None = None,
) -> str:
    """The verdict that both give, with all that they say of waivers."""
    reports, rules = (
        {"measure": missed() if data is None else data},
        [locked(each) for each in obligations or [asked()]],
    )
    held = waiver.Waivers(given=waivers, spec="lab", plan=PLAN, used=used or {})
    one = judge(reports, rules, as_of=as_of, waivers=held).to_json()
    read = {step: VERIFIER.evidence(text) for step, text in reports.items()}
    known = [as_read_alone(each) for each in waivers]
    assert [alone.wrong(each.waiver) for each in known] == [""] * len(known)
    other = verdict.verdict(read, rules, None, as_of, alone.Waivers(known, "lab", PLAN, used or {}))
    assert (other.word, other.code, other.counts) == (one["verdict"], one["exit_code"], one["counts"])
    assert list(other.waivers) == one.get("waivers", [])
    told = [(o["outcome"], o["blocks"], o.get("waivable", False), o.get("waiver")) for o in one["outcomes"]]
    assert [(o.word, o.blocks, o.waivable, o.waiver) for o in other.outcomes] == told
    return other.word


@pytest.mark.parametrize("changes", [one[1] for one in WRONG], ids=[one[0] for one in WRONG])
def test_a_waiver_that_is_wrong(changes: dict[str, Any]) -> None:
    assert agreed(given(**changes)) == "WAIVER_REQUIRED"


@pytest.mark.parametrize("data", [one[1] for one in NOTHING], ids=[one[0] for one in NOTHING])
def test_evidence_that_is_none(data: bytes) -> None:
    assert agreed(given(), data=data) not in ("WAIVED", "PASS")
    every = {**TERMS, "outcomes": ["fail", "inconclusive", "not_evaluated"]}
    agreed(given(), data=data, obligations=[asked(waivable=every)])


@pytest.mark.parametrize(
    ("as_of", "word"),
    [
        ("2026-11-21T23:59:59Z", "WAIVER_REQUIRED"),
        ("2026-11-22T00:00:00Z", "WAIVED"),
        ("2026-12-20T00:00:00Z", "WAIVER_REQUIRED"),
        (None, "WAIVER_REQUIRED"),
    ],
)
def test_the_time(as_of: str | None, word: str) -> None:
    assert agreed(given(), as_of=as_of) == word


TWO = facts.dump(report({"all": {"a": number(0.45), "b": number(0.4)}, "flag": facts.measured(False, "bool")})).encode()
CASES: list[tuple[str, list[waiver.Given], dict[str, Any], str]] = [
    ("none", [], {}, "WAIVER_REQUIRED"),
    ("one that covers", [given()], {}, "WAIVED"),
    ("the narrowest of two", [given(magnitude="0.2"), given(id="WV-0002", magnitude="0.06")], {}, "WAIVED"),
    ("used up", [given(max_uses=1)], {"used": {"WV-0001": frozenset({OTHER})}}, "WAIVER_REQUIRED"),
    ("used for this very report", [given(max_uses=1)], {"used": {"WV-0001": frozenset({digest.of_bytes(missed())})}}, "WAIVED"),
    ("the worst of two places", [given()], {"data": TWO, "obligations": [asked(bound("all.*", ">=", "0.5"))]}, "WAIVER_REQUIRED"),
    ("as far as the worst", [given(magnitude="0.1")], {"data": TWO, "obligations": [asked(bound("all.*", ">=", "0.5"))]}, "WAIVED"),
    ("a flag", [given()], {"data": TWO, "obligations": [asked({"at": "flag"}, kind="all_true@1")]}, "WAIVER_REQUIRED"),
    ("a flag of this report", [given(magnitude=None, subject={"report": digest.of_bytes(TWO)})], {"data": TWO, "obligations": [asked({"at": "flag"}, kind="all_true@1")]}, "WAIVED"),
    ("what nobody may waive", [given()], {"obligations": [asked(waivable=None)]}, "FAIL"),
    ("terms that are none", [given()], {"obligations": [asked(waivable={**TERMS, "min": 0})]}, "NOTHING_EVALUATED"),
    ("beside what nobody may waive", [given()], {"obligations": [asked(), asked(bound("x", ">=", "1"), rule="lab/strict", waivable=None)]}, "FAIL"),
    ("an older plan's time", [given(subject={"lock": PLAN})], {}, "WAIVED"),
]  # fmt: skip


@pytest.mark.parametrize(("waivers", "told", "word"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_what_is_excused(waivers: list[waiver.Given], told: dict[str, Any], word: str) -> None:
    assert agreed(*waivers, **told) == word


@settings(max_examples=200 if LONG else 25, deadline=None)
@hypothetically(
    values=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    op=st.sampled_from([">=", ">", "<=", "<", "=="]),
    covers=st.sampled_from(["0", "1", "2.5", "4"]),
    who=st.sets(st.sampled_from([*KEYS, "dee", "mal"])),
    outcomes=st.sampled_from([["fail"], ["inconclusive"], ["fail", "not_evaluated"]]),
    lost=st.booleans(),
)
def test_a_law(values: list[int], op: str, covers: str, who: set[str], outcomes: list[str], lost: bool) -> None:
    data: dict[str, Any] = {str(n): number(float(value)) for n, value in enumerate(values)}
    if lost:
        data["lost"] = facts.unavailable("no card", "1")
    approvals = [{"by": name, "on": "2026-11-21"} for name in sorted(who)]
    text = facts.dump(report({"all": data})).encode()
    terms = {**TERMS, "outcomes": outcomes}
    word = agreed(
        given(magnitude=covers, approvals=approvals),
        data=text,
        obligations=[asked(bound("all.*", op, "5"), waivable=terms)],
    )
    holds = {">=": ge, ">": gt, "<=": le, "<": lt, "==": eq}[op]
    # a waiver never makes a PASS of what is missed
    assert (word == "PASS") == (not lost and all(holds(value, 5) for value in values))


#: what makes a waiver's content none, for the model and for the verifier alike
DAMAGE: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("a key more", lambda one: one.update(extra=1)),
    ("a key less", lambda one: one.pop("owner")),
    ("a name that is none", lambda one: one.update(owner="e li")),
    ("a reason of its own", lambda one: one.update(reason="because")),
    ("a short title", lambda one: one.update(title="rows")),
    ("a blank description", lambda one: one.update(description=" " * 60)),
    ("a short mitigation", lambda one: one.update(mitigation="none")),
    ("no rule", lambda one: one.update(rules=[])),
    ("a rule twice", lambda one: one.update(rules=["lab/rule", "lab/rule"])),
    ("half a name of a rule", lambda one: one.update(rules=["rule"])),
    ("about everything", lambda one: one.update(subject={"steps": ["measure"]})),
    ("about no digest", lambda one: one.update(subject={"lock": "sha256:0"})),
    ("about something else", lambda one: one["subject"].update(team="us")),
    ("less than nothing", lambda one: one.update(magnitude="-1")),
    ("infinitely much", lambda one: one.update(magnitude="inf")),
    ("no uses", lambda one: one.update(max_uses=0)),
    ("half a use", lambda one: one.update(max_uses=0.5)),
    ("true uses", lambda one: one.update(max_uses=True)),
    ("a day that is none", lambda one: one.update(expires="2026-13-01")),
    ("no day", lambda one: one.update(created="yesterday")),
    ("over before it begins", lambda one: one.update(expires=one["created"])),
    ("revoked without a reason", lambda one: one.update(revoked={"by": "ana", "on": "2026-11-21", "reason": "no"})),
    ("revoked by nobody", lambda one: one.update(revoked={"on": "2026-11-21", "reason": "because it is over"})),
    ("another number", lambda one: one.update(id="WV-1")),
    ("names as approvals", lambda one: one.update(approvals=[{"by": "ana", "on": "2026-11-21"}])),
    ("a list", lambda one: one.update(description=[])),
]  # fmt: skip


@pytest.mark.parametrize("damage", [one[1] for one in DAMAGE], ids=[one[0] for one in DAMAGE])
def test_what_is_no_waiver_is_none_here_and_there(damage: Callable[[dict[str, Any]], Any]) -> None:
    content = given().waiver.meaning
    assert alone.wrong(content) == ""
    damage(content)
    with pytest.raises(ValidationError):
        waiver.Waiver.model_validate(content)
    assert alone.wrong(content)


@pytest.mark.parametrize("make", [one[1] for one in signing.WRONG], ids=[one[0] for one in signing.WRONG])
def test_approvals_that_count_for_nothing(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path)
    assert standing(tmp_path, signing.plan())


def standing(folder: Path, made: dict[str, Any], now: str = NOW) -> list[str]:
    """What both say is lacking."""
    found = approval.standing(made, folder, now)
    envelopes = {path.name: path.read_bytes() for path in folder.glob("*")}
    other = approvals.standing(made, envelopes, now)
    assert (other.lacking, len(other.refused)) == (list(found.lacking), len(found.refused))
    assert other.by == [f"approved by {one.who} on {one.on}" for one in found.by]
    return other.lacking


def test_approvals_that_count(tmp_path: Path) -> None:
    assert standing(tmp_path, signing.plan())
    signing.signed(tmp_path, signing.plan(), signing.ANA, "ana")
    assert not standing(tmp_path, signing.plan())
    assert standing(tmp_path, signing.plan(), "2026-11-01T00:00:00Z")
    assert standing(tmp_path, signing.plan(2))
    assert standing(tmp_path, signing.plan(asked={**signing.plan()["asked"], "owner": "ANA"}))
    part = signing.plan(asked={**signing.plan()["asked"], "targets": ["data"]}, steps=signing.plan()["steps"][:1])
    assert not standing(tmp_path, part)
    assert standing(tmp_path, {**part, "obligations": []})
    assert standing(tmp_path, signing.plan(policies=[{"pack": "p"}]))


@pytest.mark.parametrize("key", ["ssh-ed25519 AAAA", "ssh-ed25519 ====", signing.KEYS["ana"] + "AAAA"])
def test_a_key_of_a_lock_that_is_none_is_nobody_s(tmp_path: Path, key: str) -> None:
    """Whoever is sent a lock that was made up is told so."""
    made = signing.plan(policies=[{"pack": "p", "approval": {"min": 1, "approvers": {"ana": key}}}])
    signing.signed(tmp_path, made, signing.ANA, "ana")
    assert standing(tmp_path, made) == ["0 of 1 approvals for pack `p`; of ana"]


@pytest.mark.parametrize("as_of", ["2026-11-28T12:00:00Z", "2026-12-05T00:00:00Z", "2026-12-31T00:00:00Z"])
def test_what_is_foreseen(as_of: str) -> None:
    """A rule that begins to block, and a waiver that ends."""
    dated = asked(bound("x", ">=", "0.9"), rule="lab/later", waivable=None, effective_on="2026-12-05")
    rules, reports = [locked(asked()), locked(dated)], {"measure": missed()}
    held = waiver.Waivers(given=[given()], spec="lab", plan=PLAN)
    recorded = judge(reports, rules, as_of=NOW, waivers=held).verdict
    assert recorded == "WAIVED"
    lines = forecast.standing({"obligations": rules}, reports, None, held, recorded, as_of)
    read = {step: VERIFIER.evidence(text) for step, text in reports.items()}
    known = alone.Waivers([as_read_alone(given())], "lab", PLAN)
    told = ahead.told(rules, known, as_of, lambda at: verdict.verdict(read, rules, None, at, known).word, recorded)
    assert lines == told
    later = "rule lab/later begins to block in 7 days, on 2026-12-05: then the verdict is FAIL"
    assert (
        lines
        == {
            "2026-11-28T12:00:00Z": [
                "waiver WV-0001 is active as of 2026-11-28T12:00:00Z",
                later,
                "waiver WV-0001 ends in 22 days, on 2026-12-20: then the verdict is FAIL",
            ],
            "2026-12-05T00:00:00Z": [
                "waiver WV-0001 is active as of 2026-12-05T00:00:00Z",
                "the verdict was WAIVED when it was given; as of 2026-12-05T00:00:00Z it is FAIL",
                "waiver WV-0001 ends in 15 days, on 2026-12-20: then the verdict is FAIL",
            ],
            "2026-12-31T00:00:00Z": [
                "waiver WV-0001 is expired as of 2026-12-31T00:00:00Z: ended on 2026-12-20",
                "the verdict was WAIVED when it was given; as of 2026-12-31T00:00:00Z it is FAIL",
            ],
        }[as_of]
    )
