"""A bundle whose verdict rests on a waiver and an approval: every way to forge them, by `audit` and the verifier alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kcompiler import dsse
from kcompiler.audit import Audit, packing
from kcompiler.audit.bundle import audit_bundle
from kcompiler.verifier import main
from kcompiler.verifier.sealed import Trust
from kcompiler.verifier.zipped import pack
from tests.longer import LONG
from tests.unit.kcompiler.audit.conftest import NAME
from tests.unit.kcompiler.audit.excusing import (
    ANA,
    APPROVALS,
    BO,
    COPY,
    EVIDENCE,
    JUDGED,
    MAL,
    NOW,
    OURS,
    OWN,
    OWNER,
    WAIVER,
    approved,
    chained,
    envelope,
    read,
    told,
)
from tests.unit.kcompiler.audit.forger import JOURNAL, Files, manifest, text


def trust(as_of: str = NOW, revoked: Ed25519PrivateKey | None = None) -> Trust:
    line = dsse.public_line(OURS)
    dead = frozenset[str]() if revoked is None else dsse.revoked_keys(dsse.public_line(revoked), "revoked")
    return Trust(tuple(dsse.allowed_signers(f"ci@example.com {line}", "allowed")), dead, "", as_of)


def both(files: Files, given: Trust | None = None) -> tuple[Audit, main.Checked]:
    """What both say of the files, signed by who made the bundle."""
    data = pack(packing.signed(files, [OURS]))
    return audit_bundle(data, given or trust())[0], main.check(data, given or trust())


def codes(files: Files, given: Trust | None = None) -> tuple[int, int]:
    one, other = both(files, given)
    return one.exit_code, other.code


def test_a_verdict_that_rests_on_a_waiver_and_an_approved_lock_is_sound(sound: Files) -> None:
    assert json.loads(sound[f"{EVIDENCE}/verdict.json"])["verdict"] == "WAIVED"
    one, other = both(sound)
    assert [found for found in one.findings if found.severity != "note"] == []
    approved_by = "approved by ana on 2026-05-30T00:00:00Z"
    assert [found.message for found in one.findings if found.subject == APPROVALS] == [approved_by]
    assert other.findings == (("note", APPROVALS, approved_by),)
    assert (one.exit_code, one.verdict, other.code, other.verdict) == (0, "WAIVED", 0, "WAIVED")
    assert list(one.standing) == list(other.standing)
    assert list(one.standing) == [
        f"waiver WV-0001 is active as of {NOW}",
        "waiver WV-0001 ends in 14 days, on 2026-06-29: then the verdict is WAIVER_REQUIRED",
    ]
    shown = "\n".join(main.shown(other))
    assert "standing      waiver WV-0001 ends in 14 days" in shown
    # nobody signed the bundle itself
    assert main.check(pack(sound), trust()).code == 7


@pytest.mark.parametrize(
    ("as_of", "standing"),
    [
        (JUDGED, [f"waiver WV-0001 is active as of {JUDGED}", "waiver WV-0001 ends in 28 days, on 2026-06-29: then the verdict is WAIVER_REQUIRED"]),
        ("2026-06-28T23:59:59Z", ["waiver WV-0001 is active as of 2026-06-28T23:59:59Z", "waiver WV-0001 ends in 1 day, on 2026-06-29: then the verdict is WAIVER_REQUIRED"]),
        ("2026-06-29T00:00:00Z", ["waiver WV-0001 is expired as of 2026-06-29T00:00:00Z: ended on 2026-06-29", "the verdict was WAIVED when it was given; as of 2026-06-29T00:00:00Z it is WAIVER_REQUIRED"]),
    ],
)  # fmt: skip
def test_the_time_that_is_asked_about_says_where_it_stands(sound: Files, as_of: str, standing: list[str]) -> None:
    one, other = both(sound, trust(as_of))
    assert (one.exit_code, other.code) == (0, 0)
    assert (list(one.standing), list(other.standing)) == (standing, standing)


def test_before_it_was_given_there_was_no_such_verdict(sound: Files) -> None:
    assert codes(sound, trust("2026-06-01T00:30:00Z")) == (1, 1)


def edited(path: str, old: str, new: str) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        assert old.encode() in files[path]
        return {**files, path: files[path].replace(old.encode(), new.encode())}

    return change


def without(*paths: str) -> Callable[[Files], Files]:
    return lambda files: {name: data for name, data in files.items() if name not in paths}


def alike(*changes: Callable[[Files], Files]) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        for one in changes:
            files = one(files)
        return files

    return change


def widened(ending: str) -> Callable[[Files], Files]:
    """Copy and file, each with a meaning that fits the new text."""

    def change(files: Files) -> Files:
        loaded = read(WAIVER.replace('"1000000"', '"2000000"'))
        if ending == "file":
            return {**files, f"{OWN}.yaml": text(loaded.waiver.meaning)}
        meaning = text({"source": loaded.digest, "waiver": loaded.waiver.meaning})
        made = {**files, f"{COPY}.yaml": loaded.data, f"{COPY}.json": meaning}
        return {**made, f"{OWN}.yaml": loaded.data} if ending == "both" else made

    return change


def replaced(key: Ed25519PrivateKey, who: str = "ana", **changes: Any) -> Callable[[Files], Files]:
    return lambda files: approved(without(f"{APPROVALS}/ana.dsse.json")(files), key, who, **changes)


ENVELOPE = f"{APPROVALS}/ana.dsse.json"
FORGED: list[tuple[str, Callable[[Files], Files], tuple[int, int]]] = [
    ("the copy was widened", edited(f"{COPY}.yaml", '"1000000"', '"2000000"'), (3, 3)),
    ("the copy was widened, and what it means", widened("copy"), (3, 3)),
    ("copy and file were widened alike", widened("both"), (3, 3)),
    ("the copy is gone", without(f"{COPY}.yaml", f"{COPY}.json"), (3, 3)),
    ("what the copy means is gone", without(f"{COPY}.json"), (3, 3)),
    ("what the copy means was widened", edited(f"{COPY}.json", '"1000000"', '"2000000"'), (1, 1)),
    ("what the copy means is of another text", edited(f"{COPY}.json", '"source": "sha256:', '"source": "sha256:0'), (3, 3)),
    ("another waiver under its name", edited(f"{COPY}.yaml", "id: WV-0001", "id: WV-0002"), (3, 3)),
    ("the file was prolonged", edited(f"{OWN}.yaml", "2026-06-29", "2026-07-01"), (1, 1)),
    ("the file was widened, and what it means", widened("file"), (1, 1)),
    ("the file is gone", without(f"{OWN}.yaml"), (1, 1)),
    ("a copy was added", lambda files: {**files, COPY.replace("0001", "0002") + ".yaml": files[f"{COPY}.yaml"]}, (1, 1)),
    ("the verdict keeps silent", edited(f"{EVIDENCE}/verdict.json", '"waivers": [', '"waivers": [], "x": ['), (3, 3)),
    ("a pass was made of it", edited(f"{EVIDENCE}/verdict.json", '"outcome": "waived"', '"outcome": "pass"'), (1, 1)),
    ("PASS was made of WAIVED", edited(f"{EVIDENCE}/verdict.json", '"verdict": "WAIVED"', '"verdict": "PASS"'), (1, 1)),
    ("judged before the run began", edited(f"{EVIDENCE}/verdict.json", JUDGED, "2026-05-31T23:59:59Z"), (1, 1)),
    ("judged tomorrow", edited(f"{EVIDENCE}/verdict.json", JUDGED, "2026-06-16T00:00:00Z"), (1, 1)),
    ("a signature under the copy is gone", without(f"{COPY}/bo.dsse.json"), (1, 1)),
    ("a signature under the copy was cut", lambda files: {**files, f"{COPY}/bo.dsse.json": files[f"{COPY}/bo.dsse.json"][:-30]}, (1, 1)),
    ("a signature under the copy by a key of nobody", lambda files: {**files, f"{COPY}/bo.dsse.json": envelope(WAIVER, "bo", MAL)}, (1, 1)),
    ("one signed twice", lambda files: {**files, f"{COPY}/bo.dsse.json": files[f"{COPY}/ana.dsse.json"]}, (1, 1)),
    ("a third beside two", lambda files: {**files, f"{COPY}/mal.dsse.json": envelope(WAIVER, "mal", MAL)}, (1, 1)),
    ("more beside the signatures", lambda files: {**files, f"{COPY}/note.txt": b"bo said yes"}, (1, 1)),
    ("signatures of no waiver", lambda files: {**files, f"{EVIDENCE}/waivers/WV-0002/bo.dsse.json": files[f"{COPY}/bo.dsse.json"]}, (1, 1)),
    ("no approval", without(ENVELOPE), (1, 1)),
    ("an approval of another lock", replaced(ANA, budgets={"wall_s": 1}), (1, 1)),
    ("an approval by a key of nobody", replaced(MAL), (1, 1)),
    ("an approval by a key of nobody beside a good one", lambda files: approved(files, MAL, "mal"), (1, 1)),
    ("an approval by the owner", replaced(OWNER, "ml-platform"), (1, 1)),
    ("an approval that was cut", lambda files: {**files, ENVELOPE: files[ENVELOPE][:-30]}, (1, 1)),
]  # fmt: skip


QUICK = FORGED if LONG else FORGED[::3]


@pytest.mark.parametrize(("forged", "expected"), [one[1:] for one in QUICK], ids=[one[0] for one in QUICK])
def test_what_was_changed_afterwards_is_found(
    sound: Files, forged: Callable[[Files], Files], expected: tuple[int, int]
) -> None:
    """By who can write a manifest anew, and sign it. KCOMPILER_LONG=1: each."""
    made = manifest(forged(sound))
    assert made != sound
    one, other = both(made)
    assert (one.exit_code, other.code) == expected, (one.findings, other.findings)


@pytest.mark.parametrize("path", [f"{COPY}.yaml", f"{COPY}.json", f"{OWN}.yaml", ENVELOPE])
def test_under_the_old_signature_it_is_the_signature_that_says_so(sound: Files, path: str) -> None:
    signed = packing.signed(sound, [OURS])
    old = {name: data for name, data in signed.items() if name.startswith("signatures/")}
    assert trusted({**signed, path: signed[path][:-9]}) == (3, 3)
    assert trusted({**manifest({**sound, path: sound[path][:-9]}), **old}) == (3, 3)


def trusted(files: Files) -> tuple[int, int]:
    """The exit codes about the files as they are."""
    data = pack(files)
    return audit_bundle(data, trust())[0].exit_code, main.check(data, trust()).code


#: claim, and what the waiver says in truth, where the judge was made to believe that it is a good one
LIES: list[tuple[str, str, str]] = [
    ("it had ended", "expires: 2026-06-29", "expires: 2026-06-01"),
    ("it was revoked", "max_uses: 1", "revoked: {by: ana, on: 2026-06-01, reason: the crawl is back}"),
    ("it had not begun", "created: 2026-05-20", "created: 2026-06-02"),
    ("it lasts too long", "expires: 2026-06-29", "expires: 2026-09-29"),
    ("its owner approved", "owner: eli", "owner: Bo"),
    ("its author approved", "author: dee", "author: ana"),
    ("it covers less", '"1000000"', '"1"'),
    ("it says nothing of how much", 'magnitude: "1000000"\n', ""),
    ("another spec", f"spec: {NAME}", "spec: other"),
    ("another step", "steps: [data]", "steps: [verify]"),
    ("another plan", "subject: {", 'subject: {lock: "sha256:' + 64 * "0" + '", '),
    ("another report", "subject: {", 'subject: {report: "sha256:' + 64 * "0" + '", '),
    ("another rule", "rules: [team/law/many]", "rules: [team/law/few]"),
]


SOME = LIES if LONG else LIES[::4]


#: claim, and who has signed in truth, where the judge was made to believe that ana and bo had
UNSIGNED: list[tuple[str, dict[str, bytes]]] = [
    ("one signed", {"ana": envelope(WAIVER, "ana", ANA)}),
    ("nobody signed", {}),
    ("one signed twice", {"ana": envelope(WAIVER, "ana", ANA), "bo": envelope(WAIVER, "bo", ANA)}),
    ("a stranger signed", {"ana": envelope(WAIVER, "ana", ANA), "bo": envelope(WAIVER, "bo", MAL)}),
    ("one signed less", {"ana": envelope(WAIVER, "ana", ANA), "bo": envelope(WAIVER.replace('"1000000"', '"1"'), "bo", BO)}),
    ("one signed afterwards", {"ana": envelope(WAIVER, "ana", ANA), "bo": envelope(WAIVER, "bo", BO, "2026-06-02T00:00:00Z")}),
]  # fmt: skip
FEW = UNSIGNED if LONG else UNSIGNED[2:4]


@pytest.mark.parametrize("signed", [one[1] for one in FEW], ids=[one[0] for one in FEW])
def test_a_waiver_that_too_few_signed_is_no_excuse_though_everything_says_so(
    plain: Files, signed: dict[str, bytes]
) -> None:
    """KCOMPILER_LONG=1: each."""
    made = approved(told(plain, signed={f"{who}.dsse.json": data for who, data in signed.items()}))
    assert json.loads(made[f"{EVIDENCE}/verdict.json"])["verdict"] == "WAIVED"
    one, other = both(made)
    assert (one.exit_code, other.code) == (1, 1), (one.findings, other.findings)
    assert one.verdict == other.verdict == "WAIVER_REQUIRED"


def test_what_was_revoked_stays_so_whatever_its_file_says(plain: Files, sound: Files) -> None:
    end = {"by": "ana", "on": "2026-05-31", "reason": "the crawl is back"}
    made = approved(told(plain, ends=end))
    one, other = both(made)
    assert (one.exit_code, other.code, one.verdict, other.verdict) == (1, 1, "WAIVER_REQUIRED", "WAIVER_REQUIRED")
    # revoked since, and the line is gone from the file: what was excused stays, and both say so
    lines = [json.loads(line) for line in sound[JOURNAL].splitlines()]
    since = {**lines[-1], "type": "waiver_revoked", "data": {"waiver": "WV-0001", **end, "on": "2026-06-10"}}
    one, other = both(manifest(chained(sound, [*lines, since])))
    assert (one.exit_code, other.code, one.verdict, other.verdict) == (1, 1, "WAIVED", "WAIVED")
    assert any("does not tell of its end" in found.message for found in one.findings)
    assert any("does not tell of its end" in message for _, _, message in other.findings)


@pytest.mark.parametrize(("old", "new"), [one[1:] for one in SOME], ids=[one[0] for one in SOME])
def test_a_waiver_that_excuses_nothing_is_no_excuse_though_everything_says_so(plain: Files, old: str, new: str) -> None:
    """KCOMPILER_LONG=1: each; that the verifier refuses each of them is told by `verifier/test_waivers_alone.py`."""
    assert old in WAIVER
    made = approved(told(plain, WAIVER.replace(old, new), believed=WAIVER))
    assert json.loads(made[f"{EVIDENCE}/verdict.json"])["verdict"] == "WAIVED"
    one, other = both(made)
    assert (one.exit_code, other.code) == (1, 1), (one.findings, other.findings)
    assert one.verdict == other.verdict == "WAIVER_REQUIRED"


def test_a_waiver_is_used_no_more_often_than_it_allows(plain: Files) -> None:
    """The judge refuses a second use; whoever lets it believe that there may be more is found by the count."""
    other = "sha256:" + 64 * "1"
    refused = told(plain, others=(other,))
    assert json.loads(refused[f"{EVIDENCE}/verdict.json"])["verdict"] == "WAIVER_REQUIRED"
    made = approved(told(plain, believed=WAIVER.replace("max_uses: 1", "max_uses: 2"), others=(other,)))
    assert json.loads(made[f"{EVIDENCE}/verdict.json"])["verdict"] == "WAIVED"
    assert codes(made) == (1, 1)
    # a use that the verdict does not tell
    verdict = json.loads(made[f"{EVIDENCE}/verdict.json"])
    verdict["waivers"][0]["used"].remove(other)
    assert codes(manifest({**made, f"{EVIDENCE}/verdict.json": text(verdict)})) == (1, 1)


def test_a_lock_that_asks_nobody_is_not_what_the_pack_says(plain: Files) -> None:
    made = told(plain, asks=False)
    assert json.loads(made[f"{EVIDENCE}/verdict.json"])["verdict"] == "WAIVED"
    assert codes(made) == (1, 1)


def test_a_revocation_since_changes_nothing_of_what_it_excused(sound: Files) -> None:
    loaded = read(WAIVER + "revoked: {by: ana, on: 2026-06-14, reason: the crawl is back}\n")
    one, other = both(manifest({**sound, f"{OWN}.yaml": text(loaded.waiver.meaning)}))
    assert (one.exit_code, other.code, one.verdict) == (0, 0, "WAIVED")
    assert any("revoked" in found.message for found in one.findings)
    assert any("revoked" in message for _, _, message in other.findings)


def test_a_key_that_was_revoked_approves_nothing(sound: Files) -> None:
    assert codes(sound, trust(revoked=MAL)) == (0, 0)
    # bo's is under the waiver, ana's under the lock, too
    assert codes(sound, trust(revoked=BO)) == (1, 1)
    assert codes(sound, trust(revoked=ANA)) == (1, 1)


def test_a_consistent_forgery_of_the_waiver_is_the_signature_s_to_find(plain: Files, sound: Files) -> None:
    wider = approved(told(plain, WAIVER.replace("2026-06-29", "2026-07-10")))
    assert (audit_bundle(pack(wider), trust())[0].exit_code, main.check(pack(wider), trust()).code) == (7, 7)
    old = {name: data for name, data in packing.signed(sound, [OURS]).items() if name.startswith("signatures/")}
    assert main.check(pack({**wider, **old}), trust()).code == 3
    assert audit_bundle(pack({**wider, **old}), trust())[0].exit_code == 3
