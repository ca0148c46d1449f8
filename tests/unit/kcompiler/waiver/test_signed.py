"""Approvals of a waiver are signatures: what counts for nobody first, here and by the verifier alone, then who counts."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kcompiler import approval, dsse, policy, waiver
from kcompiler.cli import _main
from kcompiler.policy.obligation import Waivable
from kcompiler.verifier import waivers as alone
from kcompiler.waiver import approved
from kcompiler.waiver.load import parsed
from kcompiler.waiver.status import counted
from runtime.machine.state import State
from tests.unit.kcompiler.approval import test_approval as locks
from tests.unit.kcompiler.waiver.test_files import found
from tests.unit.kcompiler.waiver.world import KEYS, NOW, PEOPLE, TERMS, WAIVER, envelope, project

ANA, BO = envelope(WAIVER, "ana", "2026-11-21"), envelope(WAIVER, "bo", "2026-11-22")
WIDER = WAIVER.replace('"0.05"', '"0.5"')
BY_BO, OF_BO = WAIVER.replace("author: dee", "author: Bo"), WAIVER.replace("owner: eli", "owner: bo")
REVOKED = WAIVER + "revoked: {by: ana, on: 2026-12-10, reason: the crawl is back}\n"


def cut(data: bytes) -> bytes:
    return data[:-30]


def under(data: bytes, other: bytes) -> bytes:
    """The payload of one envelope under the signatures of another."""
    return json.dumps({**json.loads(other), "payload": json.loads(data)["payload"]}).encode()


def of_a_lock() -> bytes:
    said = approval.statement(locks.plan(), b"", "bo", NOW)
    return dsse.dump(dsse.sign(said, PEOPLE["bo"])).encode()


def doubled(data: bytes) -> bytes:
    made = json.loads(data)
    return json.dumps({**made, "signatures": made["signatures"] * 2}).encode()


def signed_again(data: bytes) -> bytes:
    """One envelope with the signatures of two who are one."""
    said = json.loads(base64.b64decode(json.loads(data)["payload"]))
    return dsse.dump(dsse.sign(said, PEOPLE["ana"], PEOPLE["ana"])).encode()


#: claim, what lies beside ana's good approval, what is changed of the waiver, and what is said of it
WRONG: list[tuple[str, dict[str, bytes], str, str]] = [
    ("nobody's key", {"mal": envelope(WAIVER, "mal", "2026-11-22")}, WAIVER, "not by a key that is allowed"),
    ("a stranger in an approver's name", {"bo": envelope(WAIVER, "bo", "2026-11-22", PEOPLE["mal"])}, WAIVER, "not by a key that is allowed"),
    ("the same person under another name", {"bo": envelope(WAIVER, "bo", "2026-11-22", PEOPLE["ana"])}, WAIVER, "`ana` approves a second time"),
    ("the same signature twice", {"bo": doubled(ANA)}, WAIVER, "`ana` approves a second time"),
    ("signed twice by one", {"bo": signed_again(ANA)}, WAIVER, "`ana` approves a second time"),
    ("a copy of the other's", {"bo": ANA}, WAIVER, "`ana` approves a second time"),
    ("by the author", {"bo": envelope(BY_BO, "bo", "2026-11-22")}, BY_BO, "`bo` wrote the waiver"),
    ("by the owner", {"bo": envelope(OF_BO, "bo", "2026-11-22")}, OF_BO, "`bo` owns the waiver"),
    ("of a narrower waiver", {"bo": BO}, WIDER, "what it approves is not what the waiver says now"),
    ("of a shorter one", {"bo": BO}, WAIVER.replace("2026-12-20", "2026-12-30"), "what it approves is not what"),
    ("of one with fewer uses", {"bo": BO}, WAIVER.replace("max_uses: 2", "max_uses: 9"), "what it approves is not what"),
    ("of another waiver", {"bo": envelope(WAIVER.replace("WV-0001", "WV-0002"), "bo", "2026-11-22")}, WAIVER, "what it approves"),
    ("before it was written", {"bo": envelope(WAIVER, "bo", "2026-11-19")}, WAIVER, "is not between"),
    ("when it is over", {"bo": envelope(WAIVER, "bo", "2026-12-20")}, WAIVER, "is not between"),
    ("at no time", {"bo": envelope(WAIVER, "bo", "T")}, WAIVER, "does not say when"),
    ("a refusal", {"bo": envelope(WAIVER, "bo", "2026-11-22", decision="refuse")}, WAIVER, "it is no approval of a waiver"),
    ("of a lock", {"bo": of_a_lock()}, WAIVER, "it is no approval of a waiver"),
    ("cut", {"bo": cut(BO)}, WAIVER, "not a DSSE envelope"),
    ("another text under his signature", {"bo": under(envelope(WIDER, "bo", "2026-11-22"), BO)}, WIDER, "not by a key that is allowed"),
    ("a text of his own", {"bo": b"bo approves"}, WAIVER, "not a DSSE envelope"),
    ("nothing", {"bo": b""}, WAIVER, "not a DSSE envelope"),
    ("without its predicate", {"bo": envelope(WAIVER, "bo", "2026-11-22", waiver=None)}, WAIVER, "what it approves"),
]  # fmt: skip


@pytest.mark.parametrize(("beside", "text", "why"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_what_counts_for_nobody(tmp_path: Path, beside: dict[str, bytes], text: str, why: str) -> None:
    """Ana signed the waiver as it is; the other file adds nothing to that, and `waiver check` says why."""
    held = {f"{who}.dsse.json": data for who, data in beside.items()}
    both = {"ana.dsse.json": envelope(text, "ana", "2026-11-21"), **held}
    assert standing(text, both) == ["ana"]
    assert standing(text, held) in ([], ["ana"])
    root = project(tmp_path, text, signed={})
    (root / "waivers" / "WV-0001").mkdir(exist_ok=True)
    for name, data in both.items():
        (root / "waivers" / "WV-0001" / name).write_bytes(data)
    said = {code: summary for code, _, _, summary in found(root)}
    assert why in said["KC6105"]
    assert said["KC6109"] == "it has 1 of 2 approvals"


def standing(text: str, held: dict[str, bytes], dead: frozenset[str] = frozenset()) -> list[str]:
    """Who has approved, by the judge's text and the verifier's."""
    one, problems = parsed(text.encode(), "waivers/WV-0001.yaml", held)
    assert one is not None, problems
    good, _ = approved.read(one.waiver, held, KEYS.values(), dead)
    terms = Waivable.model_validate(TERMS)
    who = sorted(name for name, on in counted(one.waiver, good, terms)[0].items() if on <= NOW)
    other = alone.approvals(one.waiver.meaning, held, set(KEYS.values()), dead)
    assert [(each.key, each.on) for each in good] == [(each.key, each.on) for each in other]
    assert alone.approvers(alone.Given(one.waiver.meaning, one.digest, other), TERMS, NOW) == who
    return who


def test_two_keys_are_two_people_and_a_key_that_is_revoked_is_nobody() -> None:
    both = {"ana.dsse.json": ANA, "x.dsse.json": BO}
    assert standing(WAIVER, both) == ["ana", "bo"]
    # laid out anew, and revoked since: what was approved is the same
    assert standing("# a remark\n" + WAIVER.replace("steps: [measure]", 'steps: ["measure"]'), both) == ["ana", "bo"]
    assert standing(REVOKED, both) == ["ana", "bo"]
    dead = dsse.revoked_keys(KEYS["bo"], "revoked")
    assert standing(WAIVER, both, dead) == ["ana"]


def test_a_key_that_the_list_no_longer_has_approves_nothing(tmp_path: Path) -> None:
    """As for a plan: who leaves the list of a pack is nobody from then on."""
    root = project(tmp_path)
    pack = root / "policies" / "team" / "rows" / "pack.yaml"
    pack.write_text(pack.read_text().replace(KEYS["bo"], dsse.public_line(PEOPLE["mal"])))
    assert [one[0] for one in found(root)] == ["KC6105", "KC6109"]


def test_a_name_of_one_pack_is_nobody_in_another() -> None:
    terms = Waivable.model_validate({**TERMS, "approvers": {"ana": KEYS["ana"], "bo": dsse.public_line(PEOPLE["mal"])}})
    one, _ = parsed(WAIVER.encode(), "waivers/WV-0001.yaml")
    assert one is not None
    good, _ = approved.read(one.waiver, {"a": ANA, "b": BO}, KEYS.values())
    assert sorted(counted(one.waiver, good, terms)[0]) == ["ana"]


def key_file(path: Path, key: Ed25519PrivateKey) -> str:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return str(path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kcompiler.cli.clock.now", lambda: NOW)
    return project(tmp_path, signed={})


FILE = "waivers/WV-0001.yaml"


def test_the_advice_of_check_is_followed_to_its_end(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(["waiver", "check"]) == 7
    assert (
        f"each who approves runs `kcompiler waiver approve {FILE} --key FILE`; of ana, bo, cy"
        in capsys.readouterr().err
    )
    for name, text, code, said in (
        ("mal", WAIVER, 1, "is no approver's key; these are: ana, bo, cy"),
        ("ana", WAIVER.replace("author: dee", "author: ana"), 1, "this approval would not count: `ana` wrote the waiver"),
        ("ana", WAIVER.replace("rows/many", "rows/strict"), 1, "none of its rules can be waived"),
        ("ana", WAIVER.replace("expires: 2026-12-20", "expires: 2026-11-25"), 1, "ended on 2026-11-25"),
        ("ana", REVOKED, 1, "was revoked on 2026-12-10"),
        ("ana", WAIVER + "approvals: [{by: bo, on: 2026-11-21}]\n", 2, "count as nobody"),
        ("ana", WAIVER, 0, ""),
        ("ana", WAIVER, 0, ""),
    ):  # fmt: skip
        (home / FILE).write_text(text)
        assert _main(["waiver", "approve", FILE, "--key", key_file(home / name, PEOPLE[name])]) == code
        assert said in capsys.readouterr().err
    assert _main(["waiver", "approve", FILE, "--key", FILE]) == 2
    assert _main(["waiver", "check"]) == 7
    assert _main(["waiver", "approve", FILE, "--key", key_file(home / "bo", PEOPLE["bo"])]) == 0
    assert "bo approves WV-0001: waivers/WV-0001/bo.dsse.json" in capsys.readouterr().out
    assert _main(["waiver", "check"]) == 0
    # an edit takes both away
    (home / FILE).write_text(WIDER)
    assert _main(["waiver", "check"]) == 1
    assert "what it approves is not what the waiver says now" in capsys.readouterr().err


def test_a_revocation_holds_when_its_line_is_removed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with State(home) as state:
        state.journal.append("run_opened", {})
    text = (home / FILE).read_text()
    assert _main(["waiver", "revoke", FILE, "--by", "ana", "--reason", "the crawl is back"]) == 0
    (home / FILE).write_text(text)
    for who, data in (("ana", ANA), ("bo", BO)):
        (home / "waivers" / "WV-0001" / f"{who}.dsse.json").write_bytes(data)
    capsys.readouterr()
    assert _main(["waiver", "check"]) == 1
    said = capsys.readouterr().err
    assert "it was revoked on 2026-11-28 by ana, and the file does not say so: it stays revoked" in said
    assert _main(["waiver", "list"]) == 0
    assert "revoked (revoked on 2026-11-28 by ana)" in capsys.readouterr().out
    assert _main(["waiver", "approve", FILE, "--key", key_file(home / "ana", PEOPLE["ana"])]) == 1
    # the advice
    (line,) = [one.partition("write it back: ")[2] for one in said.splitlines() if "write it back" in one]
    (home / FILE).write_text(f"{text}{line}\n")
    assert _main(["waiver", "check"]) == 0


def test_a_revocation_that_only_a_file_tells_of_is_written_down(home: Path) -> None:
    """It came from another clone, or the journal is gone; the next apply writes it into the journal here."""
    from kcompiler.cli import excuses
    from kcompiler.project import Project

    (home / FILE).write_text(REVOKED)
    excuses.remember(Project(home))
    (home / FILE).write_text(WAIVER)
    end = {"by": "ana", "on": "2026-12-10", "reason": "the crawl is back"}
    assert excuses.known(Project(home)).ends == {"WV-0001": end}
    # a verdict that was given since tells of it, too: who removes the journal as well undoes nothing
    uses({"waivers": [{"id": "WV-0001", "used": [], "revoked": end}]})(home)
    shutil.rmtree(home / ".kcompiler")
    assert excuses.known(Project(home)).ends == {"WV-0001": end}
    excuses.remember(Project(home))
    (home / "generated" / "lab" / "evidence" / "verdict.json").unlink()
    assert excuses.known(Project(home)).ends == {"WV-0001": end}
    # once; an earlier day is more, a later one is not
    size = (home / ".kcompiler" / "journal.jsonl").stat().st_size
    for day, more in (("2026-12-10", False), ("2026-12-11", False), ("2026-12-09", True)):
        (home / FILE).write_text(REVOKED.replace("2026-12-10", day))
        excuses.remember(Project(home))
        assert ((home / ".kcompiler" / "journal.jsonl").stat().st_size > size) == more
    assert excuses.known(Project(home)).ends["WV-0001"]["on"] == "2026-12-09"


def test_who_is_at_work_is_waited_for_and_nothing_is_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with State(home) as state:
        state.journal.append("run_opened", {})
        text = (home / FILE).read_text()
        assert _main(["waiver", "revoke", FILE, "--by", "ana", "--reason", "the crawl is back"]) == 5
    assert (home / FILE).read_text() == text


def uses(content: Any) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        path = root / "generated" / "lab" / "evidence" / "verdict.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    return make


def test_uses_that_evidence_tells_of_count_where_no_journal_does(home: Path) -> None:
    """Who removes .kcompiler has none back."""
    from kcompiler.cli import excuses
    from kcompiler.project import Project

    assert not (home / ".kcompiler" / "journal.jsonl").exists()
    assert excuses.known(Project(home)).used == {}
    uses({"waivers": [{"id": "WV-0001", "used": ["a", "b"]}]})(home)
    assert excuses.known(Project(home)).used == {"WV-0001": {"a", "b"}}
    # in the journal one of them and another: three in all
    with State(home) as state:
        for use in ("b", "c"):
            state.journal.append("waiver_used", {"waiver": "WV-0001", "use": use})
    assert excuses.known(Project(home)).used == {"WV-0001": {"a", "b", "c"}}


@pytest.mark.parametrize("content", ["{", "[]", {"waivers": [{"id": "WV-0001"}]}, {"waivers": 7}])
def test_where_the_uses_cannot_be_known_a_waiver_that_counts_them_excuses_nothing(
    home: Path, content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from kcompiler.cli import excuses
    from kcompiler.project import Project

    def at_hand(text: str) -> list[str]:
        (home / FILE).write_text(text)
        (one,), _ = waiver.load(home / "waivers")
        terms = policy.load(["team/rows"], [home / "policies"]).packs[0].rules
        asked = [{"rule": rule.name, **rule.terms} for rule in terms]
        made = {
            "asked": {"name": "lab"}, "obligations": asked, "steps": [],
            "waivers": [{"id": "WV-0001", "digest": one.digest}],
        }  # fmt: skip
        return [each.waiver.id for each in excuses.at_hand(made, Project(home))[0].given]

    assert at_hand(WAIVER) == ["WV-0001"]
    uses(content)(home)
    assert at_hand(WAIVER) == []
    assert "generated/lab/evidence/verdict.json cannot be read: it excuses nothing" in capsys.readouterr().err
    assert at_hand(WAIVER.replace("max_uses: 2\n", "")) == ["WV-0001"]
