"""A key of a pack that has an end: from that day on nothing counts that it signed, for kcompiler and for the verifier."""

from __future__ import annotations

from pathlib import Path

import pytest

from kcompiler import approval, policy, waiver
from kcompiler.audit import forecast
from kcompiler.cli import _main
from kcompiler.diff.packs import compare
from kcompiler.judge import judge
from kcompiler.policy.rule import Pack, approving
from kcompiler.verifier import approvals, main, signed
from tests.unit.kcompiler.approval import test_approval as signing
from tests.unit.kcompiler.approval.test_approval import ANA, BO, KEYS, PACK, RULE
from tests.unit.kcompiler.verifier.test_waivers_alone import agreed, locked, standing
from tests.unit.kcompiler.waiver import world
from tests.unit.kcompiler.waiver.test_files import found
from tests.unit.kcompiler.waiver.test_signed import key_file
from tests.unit.kcompiler.waiver.world import PLAN, TERMS, asked, given, missed

DAY, BEFORE, AFTER = "2026-12-10", "2026-12-09T23:59:59Z", "2026-12-10T00:00:00Z"
ENDS = {"policies": [{"pack": "team/law", "approval": {"min": 1, "approvers": KEYS, "until": {"ana": DAY}}}]}


def test_a_lock_signed_by_a_key_that_has_ended_is_not_approved(tmp_path: Path) -> None:
    made = signing.plan(**ENDS)
    signing.signed(tmp_path, made, ANA, "ana")
    assert standing(tmp_path, made, BEFORE) == []
    assert standing(tmp_path, made, AFTER) == ["0 of 1 approvals for pack `team/law`; of bo"]
    over = f"ana.dsse.json: the key of `ana` ended on {DAY}, by pack `team/law`"
    assert approval.standing(made, tmp_path, AFTER).refused == [over]
    # one that says of itself that it is older counts no more than one that is
    signing.signed(tmp_path, made, ANA, "ana", "2026-01-01T00:00:00Z")
    assert standing(tmp_path, made, AFTER)
    signing.signed(tmp_path, made, BO, "bo")
    assert standing(tmp_path, made, AFTER) == []
    # a pack that does not end the key still hears it
    two = {"pack": "other", "approval": {"min": 1, "approvers": {"ana": KEYS["ana"]}}}
    both = signing.plan(policies=[*ENDS["policies"], two])
    signing.signed(tmp_path, both, ANA, "ana")
    assert standing(tmp_path, both, AFTER) == ["0 of 1 approvals for pack `team/law`; of bo"]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2026-11-25T12:00:00Z", []),
        ("2026-11-26T12:00:00Z", [f"ends soon: the key of `ana` for pack `team/law` ends in 14 days, on {DAY}"]),
        (BEFORE, [f"ends soon: the key of `ana` for pack `team/law` ends in 1 day, on {DAY}"]),
        (AFTER, []),
    ],
)
def test_the_end_of_a_key_is_told_in_time(tmp_path: Path, now: str, said: list[str]) -> None:
    made = signing.plan(**ENDS)
    made["steps"] = [{**one, "backend": "torch"} for one in made["steps"]]
    assert [line for line in approval.words(made, tmp_path, now) if line.startswith("ends")] == said


UNTIL = {**TERMS, "until": {"ana": DAY}}


@pytest.mark.parametrize(("as_of", "word"), [(BEFORE, "WAIVED"), (AFTER, "WAIVER_REQUIRED")])
def test_a_waiver_that_a_key_approved_which_has_ended_excuses_nothing(as_of: str, word: str) -> None:
    assert agreed(given(), obligations=[asked(waivable=UNTIL)], as_of=as_of) == word
    assert agreed(given(), obligations=[asked(waivable={**UNTIL, "min": 1})], as_of=as_of) == "WAIVED"


def test_the_verdict_from_that_day_on_is_foreseen() -> None:
    rules, reports = [locked(asked(waivable=UNTIL))], {"measure": missed()}
    held = waiver.Waivers(given=[given()], spec="lab", plan=PLAN)
    recorded = judge(reports, rules, as_of=BEFORE, waivers=held).verdict
    lines = forecast.standing({"obligations": rules}, reports, None, held, recorded, BEFORE)
    assert lines[1] == (
        "the key of ana, who approved waiver WV-0001, ends in 1 day, on 2026-12-10: then the verdict is WAIVER_REQUIRED"
    )


def test_check_tells_of_it_before_and_after(tmp_path: Path) -> None:
    key = world.KEYS["ana"]
    pack = world.PACK.replace(f"name: ana, key: {key}", f"name: ana, key: {key}, until: {DAY}")
    home = world.project(tmp_path, pack=pack)
    assert found(home, "2026-11-25T00:00:00Z") == []
    (soon,) = found(home, "2026-12-01T00:00:00Z")
    assert (soon[0], soon[1]) == ("KC6110", "warning")
    assert soon[3] == f"it ends in 9 days, on {DAY}, with the key of `ana` who approved it"
    after = {(one[0], one[3]) for one in found(home, AFTER)}
    assert ("KC6105", f"this approval does not count: the key of `ana` ended on {DAY}") in after
    assert ("KC6109", "it has 1 of 2 approvals") in after


def test_nobody_signs_with_a_key_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = world.KEYS["ana"]
    pack = world.PACK.replace(f"name: ana, key: {key}", f"name: ana, key: {key}, until: 2026-11-28")
    home = world.project(tmp_path, pack=pack, signed={})
    monkeypatch.chdir(home)
    monkeypatch.setattr("kcompiler.cli.clock.now", lambda: world.NOW)
    words = ["waiver", "approve", "waivers/WV-0001.yaml", "--key", key_file(home / "ana", world.PEOPLE["ana"])]
    assert _main(words) == 1
    assert "would not count: the key of `ana` has ended" in capsys.readouterr().err
    assert not list(home.glob("waivers/WV-0001/*"))


def lab(root: Path, until: str = "") -> policy.Policy:
    (root / "team/law/some").mkdir(parents=True)
    text = PACK.replace(f"name: ana, key: {KEYS['ana']}", f"name: ana, key: {KEYS['ana']}{until}")
    (root / "team/law/pack.yaml").write_text(text)
    (root / "team/law/some/rule.yaml").write_text(RULE)
    return policy.load(["team/law"], [root])


@pytest.mark.parametrize("day", ["2026-02-30", "soon", "2026-12-10T00:00:00Z"])
def test_a_day_that_is_none_is_told_at_its_line(tmp_path: Path, day: str) -> None:
    (wrong,) = lab(tmp_path, f', until: "{day}"').problems
    assert (wrong.code, wrong.line) == ("KC6002", 5)


def test_the_lock_has_the_day_and_the_verifier_reads_it_of_the_pack(tmp_path: Path) -> None:
    one = lab(tmp_path / "a", f", until: {DAY}").packs[0]
    content = Pack.model_validate(one.tree.data)
    asks = {"min": 1, "approvers": KEYS, "until": {"ana": DAY}}
    (pin,) = policy.load(["team/law"], [tmp_path / "a"]).pins()
    assert pin["approval"] == asks == main._approval(one.tree.data)  # type: ignore[arg-type]
    assert approving(content)["until"] == {"ana": DAY}
    # a longer life is weaker, at its line; a shorter one is not
    endless, later = lab(tmp_path / "b").packs[0], lab(tmp_path / "c", ", until: 2027-12-10").packs[0]
    moved = [next(iter(compare(one, other))) for other in (endless, later)]
    assert [(each.way, each.what.split()[0]) for each in moved] == [("weaker", "approval.until.ana")] * 2
    assert [each.at and each.at.pointer for each in moved] == ["/approvers/0", "/approvers/0/until"]
    assert next(iter(compare(endless, one))).way == "stronger"
    assert signed.living(KEYS, {"ana": DAY}, AFTER).keys() == {"bo"}
    assert approvals.standing(signing.plan(**ENDS), {}, AFTER).lacking
