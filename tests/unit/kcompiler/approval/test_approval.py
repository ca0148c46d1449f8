"""Approvals of a lock: what counts for nothing first, then what stands, and what a change leaves to be approved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kcompiler import approval, dsse, lock, policy
from kcompiler.cli import _main

ROOT = Path(__file__).resolve().parents[4]
NOW = "2026-11-28T12:00:00Z"
ANA, BO, MAL = (Ed25519PrivateKey.from_private_bytes(bytes([one]) * 32) for one in (1, 2, 3))
KEYS = {"ana": dsse.public_line(ANA), "bo": dsse.public_line(BO)}
SPEC = "specs/eight-ball.yaml"
PACK = f"""\
name: team/law
version: 1
title: Who approves what is trained
approvers:
  - {{name: ana, key: {KEYS["ana"]}}}
  - {{name: bo, key: {KEYS["bo"]}}}
approval: {{lock: {{min: 1}}}}
"""
RULE = """\
id: some
title: There are rows
on: data.splits
kind: bound
params: {metric: splits.train.rows, op: ">=", threshold: "1", unit: row}
remedy: make rows
"""


def plan(least: int = 1, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "asked": {"name": "lab", "spec": "lab.yaml", "owner": "team", "risk_tier": 1},
        "policies": [{"pack": "team/law", "approval": {"min": least, "approvers": KEYS}}],
        "obligations": [{"rule": "lab/rule"}],
        "budgets": {"wall_s": 60},
        "steps": [{"id": "data", "derivation": "1"}, {"id": "train", "derivation": "2"}],
    }
    return made | changes


def signed(
    folder: Path, made: dict[str, Any], key: Ed25519PrivateKey, name: str, on: str = NOW, **predicate: Any
) -> Path:
    said = approval.statement(made, lock.dump(made).encode(), name, on)
    said["predicate"] |= predicate
    path = folder / f"{name}{approval.END}"
    path.write_text(dsse.dump(dsse.sign(said, key)))
    return path


def lacks(made: dict[str, Any], folder: Path, now: str = NOW) -> str:
    return "; ".join(approval.standing(made, folder, now).lacking)


def test_nobody_is_too_few(tmp_path: Path) -> None:
    assert lacks(plan(), tmp_path) == "0 of 1 approvals for pack `team/law`; of ana, bo"
    assert lacks(plan(), tmp_path / "absent") == "0 of 1 approvals for pack `team/law`; of ana, bo"
    assert "no pack of the spec names who gives it" in lacks(plan(policies=[{"pack": "p"}]), tmp_path)
    three = plan(policies=[{"pack": "p"}], asked={**plan()["asked"], "risk_tier": 3})
    assert lacks(three, tmp_path) == ""


def torn(path: Path) -> None:
    path.write_text(path.read_text()[:-20])


def swapped(path: Path) -> None:
    """The payload of another plan under a good signature."""
    envelope = json.loads(path.read_text())
    other = plan(budgets={"wall_s": 1})
    envelope["payload"] = dsse.sign(approval.statement(other, b"", "ana", NOW), ANA)["payload"]
    path.write_text(json.dumps(envelope))


WRONG: list[tuple[str, Callable[[Path], Any], str]] = [
    ("a stranger", lambda folder: signed(folder, plan(), MAL, "mal"), "not by a key that is allowed"),
    ("a stranger in an approver's name", lambda folder: signed(folder, plan(), MAL, "ana"), "not by a key that is allowed"),
    ("another plan", lambda folder: signed(folder, plan(budgets={"wall_s": 61}), ANA, "ana"), ""),
    ("tomorrow", lambda folder: signed(folder, plan(), ANA, "ana", "2026-11-29T00:00:00Z"), "which has not come"),
    ("a refusal", lambda folder: signed(folder, plan(), ANA, "ana", decision="refuse"), "it is no approval of a plan"),
    ("a text that is none", lambda folder: (folder / "ana.dsse.json").write_text("{}"), "not a DSSE envelope"),
    ("cut", lambda folder: torn(signed(folder, plan(), ANA, "ana")), "not a DSSE envelope"),
    ("another payload", lambda folder: swapped(signed(folder, plan(), ANA, "ana")), "not by a key that is allowed"),
    ("without steps", lambda folder: signed(folder, plan(), ANA, "ana", steps=None), "ana.dsse.json"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "refused"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_what_counts_for_nothing(tmp_path: Path, make: Callable[[Path], Any], refused: str) -> None:
    make(tmp_path)
    found = approval.standing(plan(), tmp_path, NOW)
    assert found.lacking
    assert refused in "".join(found.refused)


def test_whoever_owns_the_spec_approves_nothing(tmp_path: Path) -> None:
    made = plan(asked={**plan()["asked"], "owner": "Ana"})
    signed(tmp_path, made, ANA, "ana")
    assert lacks(made, tmp_path)
    signed(tmp_path, made, BO, "bo")
    assert not lacks(made, tmp_path)


def test_two_are_two_people(tmp_path: Path) -> None:
    made = plan(2)
    signed(tmp_path, made, ANA, "ana")
    signed(tmp_path, made, ANA, "bo")
    assert lacks(made, tmp_path) == "1 of 2 approvals for pack `team/law`; of ana, bo"
    signed(tmp_path, made, BO, "bo")
    assert not lacks(made, tmp_path)


def test_every_pack_that_asks_must_have_its_own(tmp_path: Path) -> None:
    made = plan()
    made["policies"] += [{"pack": "other", "approval": {"min": 1, "approvers": {"bo": KEYS["bo"]}}}]
    signed(tmp_path, made, ANA, "ana")
    assert lacks(made, tmp_path) == "0 of 1 approvals for pack `other`; of bo"


def test_a_name_of_one_pack_is_nobody_in_another(tmp_path: Path) -> None:
    """Whoever writes a spec could name a pack of their own, in which `ana` has their key."""
    made = plan()
    made["policies"] += [{"pack": "own", "approval": {"min": 1, "approvers": {"ana": dsse.public_line(MAL)}}}]
    signed(tmp_path, made, MAL, "ana")
    assert lacks(made, tmp_path) == "0 of 1 approvals for pack `team/law`; of ana, bo"


def test_an_identical_plan_stays_approved_and_a_changed_one_shows_what_nobody_approved(tmp_path: Path) -> None:
    signed(tmp_path, plan(), ANA, "ana")
    assert not lacks(json.loads(json.dumps(plan(), indent=7)), tmp_path)
    steps = [{"id": "data", "derivation": "1"}, {"id": "train", "derivation": "3"}]
    found = approval.standing(plan(steps=steps), tmp_path, NOW)
    assert found.lacking
    assert [line.split()[:2] for line in found.unapproved] == [["step", "train"]]
    found = approval.standing(plan(budgets={"wall_s": 90}), tmp_path, NOW)
    assert [line.split()[:2] for line in found.unapproved] == [["section", "budgets"]]


def test_a_part_of_an_approved_plan_is_approved(tmp_path: Path) -> None:
    signed(tmp_path, plan(), ANA, "ana")
    part = plan(asked={**plan()["asked"], "targets": ["data"]}, steps=plan()["steps"][:1])
    assert not lacks(part, tmp_path)
    assert lacks({**part, "steps": [{"id": "data", "derivation": "9"}]}, tmp_path)
    assert lacks({**part, "obligations": []}, tmp_path)


@pytest.mark.parametrize(
    ("pack", "summary"),
    [
        (PACK.replace("{min: 1}", "{min: 3}"), "3 must approve a lock, and there are 2"),
        (PACK.replace("approval: {lock: {min: 1}}", "approval: {}"), "say what is approved"),
    ],
)
def test_a_pack_says_who_and_how_many(tmp_path: Path, pack: str, summary: str) -> None:
    governed(tmp_path, pack)
    problems = policy.load(["team/law"], [tmp_path / "policies"]).problems
    assert summary in problems[0].summary


def governed(root: Path, pack: str = PACK) -> None:
    folder = root / "policies" / "team" / "law"
    (folder / "some").mkdir(parents=True)
    (folder / "some" / "rule.yaml").write_text(RULE)
    (folder / "pack.yaml").write_text(pack)


def key_file(path: Path, key: Ed25519PrivateKey) -> str:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return str(path)


def test_apply_asks_for_it_and_its_advice_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "specs").mkdir()
    shutil.copy(ROOT / SPEC, tmp_path / SPEC)
    (tmp_path / ".kcompiler").mkdir()
    governed(tmp_path)
    monkeypatch.chdir(tmp_path)
    spec = tmp_path / SPEC
    spec.write_text(spec.read_text().replace("policies: [", "policies: [team/law, "))
    assert "team/law" in spec.read_text()
    assert _main(["apply", SPEC, "--only", "data"]) == 7
    said = capsys.readouterr().err
    assert "0 of 1 approvals for pack `team/law`; of ana, bo" in said
    assert said.splitlines()[-1] == f"outcome=approval-needed code=7 next=kcompiler approve {SPEC} --key FILE"
    assert _main(["approvals", SPEC]) == 7
    # a key of nobody, and no key
    assert _main(["approve", SPEC, "--key", key_file(tmp_path / "mal", MAL)]) == 1
    assert _main(["approve", SPEC, "--key", SPEC]) == 2
    assert _main(["approve", SPEC, "--key", key_file(tmp_path / "ana", ANA)]) == 0
    assert "approved  step data " in capsys.readouterr().out
    assert _main(["approvals", SPEC]) == 0
    assert "approved  by ana on " in capsys.readouterr().out
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    assert _main(["plan", SPEC, "--check"]) == 0
    # what is forged costs nothing and proves nothing; what is changed is shown, and that alone
    spec.write_text(spec.read_text().replace("temperature: 1.0", "temperature: 3.0"))
    capsys.readouterr()
    assert _main(["apply", SPEC, "--only", "data"]) == 7
    shown = [line.split()[2:4] for line in capsys.readouterr().err.splitlines() if line.startswith("not approved: ")]
    assert ["step", "train-kd"] in shown
    assert ["step", "data"] not in shown
