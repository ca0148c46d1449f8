"""Two packs: what asks more is stronger, what asks less is weaker, and stronger lets nothing new through."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcompiler import assets, policy
from kcompiler.diff.packs import Moved, compare, gone
from kcompiler.judge import judge
from kcompiler.policy import cases
from kcompiler.policy.load import LoadedPack
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import report

PARAMS = {"metric": ["level"], "op": ">=", "threshold": "0.5", "unit": "ratio"}
RULE = {"id": "loud", "title": "It is loud", "on": "third.sound", "kind": "bound", "remedy": "make it loud"}
PACK = {"name": "lab", "version": 1, "title": "A pack of one rule", "min_n": 1}


def pack(root: Path, *rules: dict[str, Any], **header: Any) -> LoadedPack:
    """A pack of rules that differ from RULE so."""
    for changed in rules or ({},):
        made = {**RULE, "params": PARAMS, **changed}
        folder = root / "lab" / str(made["id"])
        folder.mkdir(parents=True)
        (folder / "rule.yaml").write_text(yaml.safe_dump(made))
    (root / "lab" / "pack.yaml").write_text(yaml.safe_dump({**PACK, **header}))
    loaded = policy.load(["lab"], [root])
    assert list(loaded.problems) == []
    return loaded.packs[0]


def moved(tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> Moved:
    (found,) = compare(pack(tmp_path / "old", old), pack(tmp_path / "new", new))
    return found


def changed(**params: Any) -> dict[str, Any]:
    return {"params": {**PARAMS, **params}}


STRONGER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a higher floor", {}, changed(threshold="0.6")),
    ("a strict floor", {}, changed(op=">")),
    ("the end of the interval", {}, changed(on="low")),
    ("more items", {}, changed(need={"tag": "measured", "min_n": 30})),
    ("a measurement", changed(need={"tag": "estimated"}), {}),
    ("one more place", {}, changed(metric=["level", "other"])),
    ("it blocks", {"mode": "warn"}, {}),
    ("every report below", {}, {"on": "third.*"}),
    ("without a condition", {"when": {"spec": "risk_tier", "has": 1}}, {}),
]


#: where what is weaker stands, in the order of STRONGER read from right to left; "": it is gone
PLACES = ("/params/threshold", "/params/op", "", "", "/params/need/tag", "/params/metric", "/mode", "/on", "/when")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [(*item[1:], place) for item, place in zip(STRONGER, PLACES, strict=True)],
    ids=[item[0] for item in STRONGER],
)
def test_what_asks_more_is_stronger_and_the_reverse_weaker(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], place: str
) -> None:
    there, back = moved(tmp_path / "a", old, new), moved(tmp_path / "b", new, old)
    assert (there.way, there.weakens, back.way, back.weakens) == ("stronger", False, "weaker", True)
    assert there.what
    assert there.at is None
    assert back.at is not None
    assert (back.at.tree.file, back.at.pointer) == ("policies/lab/loud/rule.yaml", place)


OTHER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("another place", {}, changed(metric=["other"])),
    ("another unit", {}, changed(unit="1")),
    ("another kind", {}, {"kind": "all_true", "params": {"at": ["level"]}}),
    ("more here, less there", {}, {**changed(threshold="0.6"), "mode": "warn"}),
    ("another report", {}, {"on": "third.noise"}),
]


@pytest.mark.parametrize(("old", "new"), [item[1:] for item in OTHER], ids=[item[0] for item in OTHER])
def test_what_cannot_be_compared_is_read_like_weaker(tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    found = moved(tmp_path, old, new)
    assert (found.way, found.weakens) == ("incomparable", True)


def test_a_rule_that_is_gone_weakens_and_a_new_one_does_not(tmp_path: Path) -> None:
    one, two = pack(tmp_path / "a"), pack(tmp_path / "b", {}, {"id": "louder"})
    assert [(item.rule, item.way, item.weakens) for item in compare(one, two)][1:] == [("louder", "added", False)]
    assert [(item.rule, item.way, item.weakens) for item in compare(two, one)][1:] == [("louder", "removed", True)]


def test_the_head_of_a_pack_moves_all_of_its_rules(tmp_path: Path) -> None:
    few, many = pack(tmp_path / "a"), pack(tmp_path / "b", min_n=20)
    assert next((item.rule, item.way) for item in compare(many, few)) == ("pack.yaml", "weaker")
    assert next((item.rule, item.way) for item in compare(few, many)) == ("pack.yaml", "stronger")
    assert {one.at and (one.at.tree.file, one.at.pointer) for one in compare(many, few)} == {
        ("policies/lab/pack.yaml", "/min_n")
    }
    narrow = pack(tmp_path / "c", risk_tiers=[1])
    assert compare(few, narrow)[0].weakens
    assert not any(item.weakens for item in compare(narrow, few))


def key(number: int) -> str:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes([number]) * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


ANA, BO, CY = ({"name": name, "key": key(number)} for number, name in enumerate(("ana", "bo", "cy")))


def signed(least: int, *approvers: dict[str, str]) -> dict[str, Any]:
    """The head of a pack that wants so many of them to sign a lock."""
    return {"approvers": list(approvers), "approval": {"lock": {"min": least}}}


TWO = signed(2, ANA, BO)
SIGNERS: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("one signature less", TWO, signed(1, ANA, BO), ["weaker"]),
    ("one signature more", signed(1, ANA, BO), TWO, ["stronger"]),
    ("nobody has to sign", TWO, {}, ["weaker"]),
    ("somebody has to sign", {}, TWO, ["stronger"]),
    ("only waivers are approved", TWO, {**TWO, "approval": {"waiver": {"min": 2}}}, ["weaker"]),
    ("somebody else may sign", TWO, signed(2, ANA, BO, CY), ["incomparable"]),
    ("somebody may sign no more", signed(2, ANA, BO, CY), TWO, ["stronger"]),
    ("another key", TWO, signed(2, ANA, {**BO, "key": CY["key"]}), ["incomparable"]),
    ("another name for a key", TWO, signed(2, ANA, {**BO, "name": "cy"}), ["stronger", "incomparable"]),
    (
        "keys that change hands",
        TWO,
        signed(2, {**ANA, "key": BO["key"]}, {**BO, "key": ANA["key"]}),
        ["incomparable"] * 2,
    ),
    ("another order", TWO, signed(2, BO, ANA), []),
    ("how long a waiver of no rule lasts", {**TWO, "approval": {"lock": {"min": 2}, "waiver": {"min": 2}}}, TWO, []),
]


@pytest.mark.parametrize(("old", "new", "ways"), [item[1:] for item in SIGNERS], ids=[item[0] for item in SIGNERS])
def test_who_signs_a_lock_moves_the_pack(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], ways: list[str]
) -> None:
    found = [one for one in compare(pack(tmp_path / "a", **old), pack(tmp_path / "b", **new)) if one.way != "same"]
    assert [one.way for one in found] == ways
    assert all(one.rule == "pack.yaml" and one.what.startswith("approval.") for one in found)
    assert [one.weakens for one in found] == [way != "stronger" for way in ways]
    said = new.get("approvers", [])
    for one in found:
        pointer = one.at.pointer if one.at else ""
        who = one.what.split()[0].rpartition(".")[2]
        if one.way == "incomparable":
            assert said[int(pointer.removeprefix("/approvers/"))]["name"] == who
        else:
            assert pointer == ("/approval/lock/min" if who == "min" and new.get("approval", {}).get("lock") else "")


def test_a_pack_that_is_gone_takes_its_signers_with_it(tmp_path: Path) -> None:
    assert [(one.rule, one.way, one.weakens) for one in gone(pack(tmp_path / "a", **TWO))] == [
        ("pack.yaml", "weaker", True),
        ("loud", "removed", True),
    ]
    assert [one.rule for one in gone(pack(tmp_path / "b"))] == ["loud"]


def test_a_promise_that_is_taken_back_is_weaker_though_every_rule_stays(tmp_path: Path) -> None:
    def above(name: str, **header: Any) -> LoadedPack:
        root = tmp_path / name
        pack(root)
        for below, more in (("mid", {"strengthens": "lab"}), ("top", header)):
            (root / below / "loud").mkdir(parents=True)
            (root / below / "pack.yaml").write_text(yaml.safe_dump({**PACK, "name": below, **more}))
            (root / below / "loud" / "rule.yaml").write_text(yaml.safe_dump({**RULE, "params": PARAMS}))
        loaded = policy.load(["top"], [root])
        assert list(loaded.problems) == []
        return loaded.packs[0]

    none, lab, mid = above("n"), above("l", strengthens="lab"), above("m", strengthens="mid")

    def ways(old: LoadedPack, new: LoadedPack) -> list[tuple[str, str, bool]]:
        return [(one.rule, one.way, one.weakens) for one in compare(old, new) if one.way != "same"]

    assert ways(lab, none) == [("pack.yaml", "weaker", True)]
    assert ways(mid, lab) == [("pack.yaml", "incomparable", True)]
    # what strengthens `mid` strengthens `lab`, too
    assert ways(lab, mid) == ways(none, lab) == [("pack.yaml", "stronger", False)]
    assert ways(mid, mid) == []


def test_every_shipped_pack_is_the_same_as_itself() -> None:
    root = assets.folder("policies")
    for one in policy.load(policy.available([root]), [root]).packs:
        assert {item.way for item in compare(one, one)} == {"same"}


def test_stronger_lets_no_report_through_that_fails_the_old_rule(tmp_path: Path) -> None:
    draw = random.Random(1337)

    def params() -> dict[str, Any]:
        op = draw.choice([">=", ">", "<=", "<", "=="])
        ends = {">=": ["point", "low"], ">": ["point", "low"], "<=": ["point", "high"], "<": ["point", "high"]}
        need = {"tag": draw.choice(["measured", "estimated"]), "min_n": draw.choice([2, 5, 9])}
        metric = draw.choice([["level"], ["other"], ["level", "other"]])
        # what no ratio can miss is refused when a pack is loaded
        idle = {">=": "0", "<=": "1"}.get(op)
        threshold = draw.choice([end for end in ("0", "0.3", "0.5", "0.6", "1") if end != idle])
        return changed(op=op, threshold=threshold, on=draw.choice(ends.get(op, ["point"])), need=need, metric=metric)

    packs = [pack(tmp_path / str(number), params()) for number in range(40)]
    reports = [
        report({name: facts.rate(draw.randint(0, n), n) for name in ("level", "other")}, kind="third.sound", step="s")
        for n in [draw.randint(1, 12) for _ in range(30)]
    ]
    passed = {one: {at for at, made in enumerate(reports) if passes(packs[one], made)} for one in range(40)}
    counted = {"stronger": 0, "weaker": 0}
    for old in range(40):
        for new in range(40):
            way = compare(packs[old], packs[new])[0].way
            if way == "stronger":
                assert passed[new] <= passed[old]
            if way == "weaker":
                assert passed[old] <= passed[new]
            counted[way] = counted.get(way, 0) + 1
    assert min(counted["stronger"], counted["weaker"]) > 20


def passes(one: LoadedPack, made: dict[str, Any]) -> bool:
    asked = cases.obligation(one.rules[0], cases.Case(report=made, expect=cases.Wanted(outcome="pass")))
    return judge({"s": made}, [asked]).outcomes[0].outcome == "pass"
