"""A bundle convinces a stranger, or says why not: `audit` and the stand-alone verifier, over every way to tamper."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kcompiler import assets, dsse, policy, verifier
from kcompiler.audit import Audit, packing
from kcompiler.audit.bundle import audit_bundle
from kcompiler.verifier import main
from kcompiler.verifier.sealed import MANIFEST, PREDICATE, Trust
from kcompiler.verifier.zipped import BadZip, pack, unpack
from runtime import digest
from runtime.contract import chain
from tests.longer import LONG
from tests.unit.kcompiler.audit.conftest import NAME, Bundle, carry_out
from tests.unit.kcompiler.audit.forger import HEAD, JOURNAL, Files, forge, manifest, reseal, text

EVIDENCE, LOCK = f"generated/{NAME}/evidence", f"generated/{NAME}/plan.lock"
NOW = "2026-06-15T12:00:00Z"
OURS, THEIRS = (Ed25519PrivateKey.from_private_bytes(bytes([one]) * 32) for one in (7, 8))


def trust(options: str = "", as_of: str = NOW, revoked: bool = False, head: str = "") -> Trust:
    line = dsse.public_line(OURS)
    dead = dsse.revoked_keys(line, "revoked") if revoked else frozenset[str]()
    return Trust(tuple(dsse.allowed_signers(f"ci@example.com {options} {line}", "allowed")), dead, head, as_of)


NOBODY = Trust(as_of=NOW)
OWN = verifier.assembled().encode()


@cache
def audited(data: bytes, given: Trust) -> tuple[Audit, main.Checked]:
    """What `audit` and the stand-alone verifier say."""
    return audit_bundle(data, given)[0], main.check(data, given, OWN)


def both(files: Files | bytes, given: Trust) -> tuple[int, int]:
    """Their exit codes."""
    one, other = audited(files if isinstance(files, bytes) else pack(files), given)
    return one.exit_code, other.code


def codes(files: Files | bytes, given: Trust) -> set[str]:
    one, _ = audited(files if isinstance(files, bytes) else pack(files), given)
    return {finding.code for finding in one.findings if finding.severity != "note"}


def signed(files: Files, key: Ed25519PrivateKey = OURS) -> Files:
    return packing.signed(files, [key])


def test_a_bundle_of_a_project_is_sound_and_the_same_bytes(carried_out: Path) -> None:
    data = packing.bundle(carried_out, NAME, [OURS])
    assert packing.bundle(carried_out, NAME, [OURS]) == data
    found, told = audit_bundle(data, trust())
    assert [one for one in found.findings if one.severity != "note"] == []
    assert (found.exit_code, found.word, found.verdict) == (0, "sound", told["verdict"])
    alone = main.check(data, trust())
    assert alone.findings == ()
    assert (alone.code, alone.verdict) == (0, told["verdict"])
    assert alone.vouched == (f"ci@example.com {dsse.shown(OURS)}",)


def test_what_is_measured_is_judged_alike(measured: Files) -> None:
    """Most rules are decided: this is what the tampering below starts from."""
    recorded = json.loads(measured[f"{EVIDENCE}/verdict.json"])
    assert recorded["counts"]["pass"] > 30
    assert recorded["counts"]["fail"] + recorded["counts"]["error"] > 3
    assert both(signed(measured), trust()) == (0, 0)


def test_unsigned_it_proves_nothing_about_who_made_it(measured: Files) -> None:
    assert both(measured, NOBODY) == (7, 7)
    assert both(measured, trust()) == (7, 7)
    assert both(signed(measured), NOBODY) == (7, 7)
    assert codes(measured, NOBODY) == {"KA54"}
    shown = "\n".join(main.shown(main.check(pack(measured), NOBODY)))
    assert "self-consistent, unsigned: proves nothing about who made it" in shown


def test_the_head_that_is_known_from_elsewhere_vouches_for_it(measured: Files) -> None:
    head = json.loads(measured[MANIFEST])["head"]
    assert both(measured, Trust(head=head, as_of=NOW)) == (0, 0)
    assert both(measured, Trust(head="sha256:" + "0" * 64, as_of=NOW)) == (3, 3)
    assert codes(measured, Trust(head="sha256:" + "0" * 64, as_of=NOW)) == {"KA53"}


@pytest.mark.parametrize("name", ["", "..", "../other", "a/b", "a\\b"])
def test_a_manifest_names_a_folder_and_none_elsewhere(measured: Files, name: str) -> None:
    spoilt = text({**json.loads(measured[MANIFEST]), "name": name})
    assert both({**measured, MANIFEST: spoilt}, NOBODY) == (3, 3)


# --- tampering: what is done, to signed files, and what both must say with and without the signature


def edited(files: Files, path: str) -> Files:
    data = bytearray(files[path])
    data[len(data) // 2] ^= 1
    return {**files, path: bytes(data)}


def cut(files: Files, path: str) -> Files:
    return {**files, path: files[path][: len(files[path]) // 2]}


def gone(files: Files, path: str) -> Files:
    return {name: data for name, data in files.items() if name != path}


def swapped(files: Files, path: str) -> Files:
    other = f"{EVIDENCE}/run.json" if path != f"{EVIDENCE}/run.json" else LOCK
    return {**files, path: files[other]}


SPOILT: dict[str, Callable[[Files, str], Files]] = {"edit": edited, "cut": cut, "gone": gone, "swap": swapped}
QUICK = [
    LOCK,
    JOURNAL,
    HEAD,
    f"{EVIDENCE}/verdict.json",
    f"{EVIDENCE}/reports/verify.json",
    "schemas/report.schema.json",
]


@pytest.mark.parametrize("how", SPOILT)
def test_any_file_that_is_spoilt_is_named(measured: Files, how: str) -> None:
    """KCOMPILER_LONG=1: each file of the bundle. The manifest is left as it was, and with it the signature."""
    for path in sorted(set(measured) - {MANIFEST}) if LONG else QUICK:
        spoilt = SPOILT[how](signed(measured), path)
        found, _ = audit_bundle(pack(spoilt), trust())
        assert found.exit_code == 3, path
        assert [one.subject for one in found.findings if one.code == "KA51"] == [path]
        assert [subject for _, subject, _ in main.check(pack(spoilt), trust()).findings] == [path]


@pytest.mark.parametrize("how", SPOILT)
def test_any_file_that_is_spoilt_is_noticed_where_the_manifest_was_made_anew(measured: Files, how: str) -> None:
    """By whoever can compute a digest and nothing more; and by both alike."""
    every = sorted(set(measured) - {MANIFEST})
    for path in every if LONG else QUICK[list(SPOILT).index(how) :: len(SPOILT)]:
        try:
            files = manifest(SPOILT[how](measured, path))
        except (ValueError, LookupError, TypeError):
            continue  # nobody can write a manifest of what cannot be read
        mine, alone = both(files, NOBODY)
        assert mine == alone, path
        assert mine in (1, 3), path


@pytest.mark.parametrize("how", SPOILT)
def test_what_a_pack_means_is_noticed_where_it_cannot_be_read(measured: Files, how: str) -> None:
    path = next(one for one in sorted(measured) if one.startswith("packs/"))
    mine, alone = both(manifest(SPOILT[how](measured, path)), NOBODY)
    assert mine == alone
    assert mine in (1, 3)


def earlier(files: Files) -> Files:
    """A report of another run: genuine, and not of this one."""
    path = f"{EVIDENCE}/reports/verify.json"
    report = json.loads(files[path])
    report["data"]["variants"] = report["data"]["variants"][:1]
    return {**files, path: text(report)}


def reordered(files: Files) -> Files:
    path = f"{EVIDENCE}/journal.jsonl"
    one, two, *rest = files[path].splitlines(keepends=True)
    return {**files, path: b"".join([two, one, *rest])}


def reordered_and_chained(files: Files) -> Files:
    one, two, *rest = files[JOURNAL].splitlines(keepends=True)
    return {**files, JOURNAL: reseal(b"".join([two, one, *rest]))}


def without_its_end(files: Files) -> Files:
    return {**files, JOURNAL: b"".join(files[JOURNAL].splitlines(keepends=True)[:-2])}


def promoted(files: Files) -> Files:
    """FAIL turned into PASS everywhere, as somebody would who wants to ship."""
    path = f"{EVIDENCE}/verdict.json"
    verdict = json.loads(files[path])
    for outcome in verdict["outcomes"]:
        outcome |= {"outcome": "pass", "blocks": False}
    counts = dict.fromkeys(verdict["counts"], 0) | {"pass": len(verdict["outcomes"])}
    return {**files, path: text({**verdict, "verdict": "PASS", "exit_code": 0, "counts": counts})}


def looser(files: Files) -> Files:
    """A threshold that was loosened in the lock after the run, the pack left as it is."""
    made = json.loads(files[LOCK])
    one = next(one for one in made["obligations"] if one["kind"] == "bound@1" and one["params"]["threshold"])
    one["params"]["threshold"] = "1000000" if one["params"]["op"].startswith("<") else "0"
    return {**files, LOCK: text(made)}


def looser_pack(files: Files) -> Files:
    """The same in the pack."""
    made = json.loads(files["packs/caws/core.json"])
    rule = next(one for one in made["rules"].values() if "threshold" in one.get("params", {}))
    rule["params"]["threshold"] = "0.123"
    return {**files, "packs/caws/core.json": text(made)}


def asks_less(files: Files) -> Files:
    made = json.loads(files[LOCK])
    return {**files, LOCK: text({**made, "obligations": made["obligations"][1:]})}


def without_answers(files: Files) -> Files:
    return {name: data for name, data in files.items() if not name.startswith(".kcompiler/store/")}


NAIVE: dict[str, Callable[[Files], Files]] = {
    "replay of an older report": earlier,
    "kept lines reordered": reordered,
    "journal reordered and chained again": reordered_and_chained,
    "end of the journal cut": without_its_end,
    "verdict promoted": promoted,
    "threshold loosened in the lock": looser,
    "threshold loosened in the pack": looser_pack,
    "an obligation left out": asks_less,
    "answers left out": without_answers,
}


@pytest.mark.parametrize("what", NAIVE)
def test_what_does_not_fit_is_noticed(measured: Files, what: str) -> None:
    """The manifest is made anew: what notices it is that the parts no longer say the same."""
    spoilt = NAIVE[what](measured)
    assert spoilt != measured
    mine, alone = both(manifest(spoilt), NOBODY)
    assert mine == alone
    assert mine in (1, 3)
    if LONG:
        assert both(signed(manifest(spoilt)), trust()) == (mine, alone)
    # under the old signature it is the signature that says so, or the manifest
    old = {name: data for name, data in signed(measured).items() if name.startswith("signatures/")}
    assert both({**manifest(spoilt), **old}, trust()) == (3, 3)
    assert codes({**manifest(spoilt), **old}, trust()) == {"KA52"}


#: a field of an outcome, or of the verdict beside them → another text
SAID: dict[str, Any] = {
    **dict.fromkeys(("reason", "observed", "threshold", "distance", "counterfactual"), "~"),
    **dict.fromkeys(("title", "remedy", "pack", "report"), "~"),
    **{
        "matches": 7,
        "pointer": "/data/x",
        "advisory": "until release",
        "phase": "release",
        "effective_on": "2026-01-01",
    },
    **{"schemas": {}, "unjudged": ["x"], "layout": None},
}


def resaid(files: Files, field: str) -> Files:
    path = f"{EVIDENCE}/verdict.json"
    verdict = json.loads(files[path])
    if field == "layout":
        return {**files, path: json.dumps(verdict).encode()}
    if field in verdict:
        return {**files, path: text({**verdict, field: SAID[field]})}
    one = next(one for one in verdict["outcomes"] if one["outcome"] == "fail")
    assert one.get(field) != SAID[field]
    one[field] = SAID[field]
    return {**files, path: text(verdict)}


@pytest.mark.parametrize("field", SAID if LONG else ["threshold"])
def test_what_a_verdict_says_of_an_outcome_is_not_edited(measured: Files, field: str) -> None:
    """The head of the journal is known, and the journal names the verdict. KCOMPILER_LONG=1: each field."""
    known = Trust(head=json.loads(measured[MANIFEST])["head"], as_of=NOW)
    spoilt = manifest(resaid(measured, field))
    assert (audit_bundle(pack(spoilt), known)[0].exit_code, main.check(pack(spoilt), known).code) == (1, 1)


def unnamed(files: Files) -> Files:
    """As a journal is of an earlier version, which names no verdict."""
    lines = [json.loads(line) for line in files[JOURNAL].splitlines()]
    for line in lines:
        line["data"].pop("verdict", None)
    kept, journal = f"{EVIDENCE}/journal.jsonl", reseal(b"\n".join(json.dumps(line).encode() for line in lines))
    new = dict(zip(files[JOURNAL].splitlines(keepends=True), journal.splitlines(keepends=True), strict=True))
    head = json.loads(files[HEAD])
    anchor = chain.head_text(head["seq"], json.loads(journal.splitlines()[head["seq"] - 1])["hash"])
    lines_kept = b"".join(new[line] for line in files[kept].splitlines(keepends=True))
    return manifest({**files, JOURNAL: journal, kept: lines_kept, HEAD: anchor})


def test_words_that_nothing_holds_are_said_not_to_be_checked(measured: Files) -> None:
    found = main.check(pack(signed(unnamed(measured))), trust())
    assert found.code == 2
    [(severity, subject, message)] = found.findings
    assert (severity, subject) == ("unknown", f"{EVIDENCE}/verdict.json")
    assert "reason" in message
    assert "Apply again" in message


def better(reports: dict[str, Any]) -> None:
    """A metric changed: what failed passes, or the other way round."""
    datum = reports["data"]["data"]["overlap_exact"]
    datum["value"] = 0 if datum["value"] else 3


def loosened(plan: dict[str, Any]) -> None:
    one = next(one for one in plan["obligations"] if one["kind"] == "bound@1" and one["params"]["threshold"])
    one["params"]["threshold"] = "1000000" if one["params"]["op"].startswith("<") else "0"


class TestConsistentForgery:
    """A metric changed, and every digest, the chain, the verdict and the manifest recomputed."""

    @pytest.fixture(scope="class")
    @classmethod
    def forged(cls, measured: Files) -> Files:
        made = forge(measured, NAME, better)
        before, after = (json.loads(one[f"{EVIDENCE}/verdict.json"])["counts"] for one in (measured, made))
        assert before["pass"] != after["pass"]
        return made

    def test_unsigned_it_is_called_what_it_is(self, forged: Files) -> None:
        assert both(forged, NOBODY) == (7, 7)

    def test_asked_by_key_it_is_no_yes(self, forged: Files) -> None:
        assert both(forged, trust()) == (7, 7)

    def test_the_old_signature_gives_it_away(self, measured: Files, forged: Files) -> None:
        old = {name: data for name, data in signed(measured).items() if name.startswith("signatures/")}
        assert both({**forged, **old}, trust()) == (3, 3)
        assert both({**forged, **old}, NOBODY) == (3, 3)

    def test_a_signature_of_the_forger_is_not_allowed(self, forged: Files) -> None:
        assert both(signed(forged, THEIRS), trust()) == (3, 3)

    def test_the_head_gives_it_away(self, measured: Files, forged: Files) -> None:
        assert both(forged, Trust(head=json.loads(measured[MANIFEST])["head"], as_of=NOW)) == (3, 3)

    def test_a_threshold_loosened_with_everything_after_it_is_not_what_the_pack_says(self, measured: Files) -> None:
        assert both(signed(forge(measured, NAME, plan=loosened)), trust()) == (1, 1)


@pytest.mark.parametrize(
    "given",
    [
        {"options": 'valid-before="20260615"'},
        {"options": 'valid-after="20260616"'},
        {"options": 'namespaces="git"'},
        {"revoked": True},
    ],
    ids=lambda given: str(next(iter(given.values()))),
)
def test_a_key_that_is_expired_revoked_or_for_something_else_does_not_vouch(
    measured: Files, given: dict[str, Any]
) -> None:
    assert both(signed(measured), trust(**given)) == (3, 3)
    assert codes(signed(measured), trust(**given)) == {"KA52"}


def test_as_of_a_day_on_which_the_key_was_valid_it_does(measured: Files) -> None:
    ended = 'valid-before="20260615"'
    assert both(signed(measured), trust(ended, as_of="2026-06-14T23:59:59Z")) == (0, 0)


def test_a_signature_of_something_else_is_none(measured: Files) -> None:
    for statement in (
        dsse.statement({MANIFEST: digest.of_bytes(measured[MANIFEST])}, "https://example.com/other", {}),
        dsse.statement({"other.json": digest.of_bytes(measured[MANIFEST])}, PREDICATE, {}),
    ):
        envelope = dsse.dump(dsse.sign(statement, OURS)).encode()
        assert both({**measured, "signatures/1.dsse.json": envelope}, trust()) == (3, 3)


class TestZip:
    def test_every_byte_counts(self, measured: Files) -> None:
        data = pack(signed(measured))
        assert unpack(data) == signed(measured)
        for at in range(0, len(data), 1 if LONG else len(data) // 40):
            spoilt = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            assert main.check(spoilt, trust()).code == 3, at

    @pytest.mark.parametrize("size", [0, 1, 100, -1, -30])
    def test_a_part_of_it_is_none(self, measured: Files, size: int) -> None:
        assert both(pack(measured)[:size], NOBODY) == (3, 3)
        assert codes(pack(measured)[:size], NOBODY) == {"KA51"}

    def test_text_before_between_and_after_is_refused(self, measured: Files) -> None:
        data = pack(measured)
        for spoilt in (b"x" + data, data + b"x", data[:-2] + b"\1\0x"):
            with pytest.raises(BadZip):
                unpack(spoilt)

    @pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../b", "a//b", "a\\b", ""])
    def test_a_name_that_leads_out_is_refused(self, name: str) -> None:
        with pytest.raises(BadZip):
            unpack(pack({name: b"x"}))

    def test_compressed_is_refused(self, tmp_path: Path) -> None:
        import zipfile

        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MANIFEST, b"{}" * 1000)
        with pytest.raises(BadZip, match="compressed"):
            unpack((tmp_path / "a.zip").read_bytes())


class TestAlone:
    """`verify.py` on a machine with nothing but Python."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, measured: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("stranger")
        (folder / "verify.py").write_bytes(measured["verify.py"])
        (folder / "out.zip").write_bytes(pack(signed(measured)))
        (folder / "unsigned.zip").write_bytes(pack(measured))
        (folder / "allowed").write_text(f"ci@example.com {dsse.public_line(OURS)}\n", encoding="utf-8")
        (folder / "empty").write_text("", encoding="utf-8")
        return folder

    def run(self, folder: Path, *words: str) -> tuple[int, str, str]:
        python = shutil.which("python3.9") or sys.executable
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
            python = sys.executable
        command = [python, "-I", "-S", "verify.py", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={})
        return done.returncode, done.stdout, done.stderr

    def test_it_answers_as_here(self, folder: Path) -> None:
        code, out, err = self.run(folder, "out.zip", "--key", "allowed")
        assert (code, err) == (0, "")
        assert "vouched for   by ci@example.com SHA256:" in out
        assert out.splitlines()[-1] == "outcome=sound code=0"
        code, out, err = self.run(folder, "unsigned.zip")
        assert (code, err) == (7, "outcome=self-consistent-unsigned code=7\n")

    @pytest.mark.parametrize(
        "words",
        [
            ("none.zip",),
            (".",),
            ("out.zip", "--key", "none"),
            ("out.zip", "--key", "empty"),
            ("out.zip", "--key", "verify.py"),
            ("out.zip", "--head", "abc"),
            ("out.zip", "--as-of", "soon"),
            ("out.zip", "--key", "allowed", "--revoked", "verify.py"),
            ("out.zip", "--revoked", "allowed"),
        ],
        ids=" ".join,
    )
    def test_wrong_words_are_no_answer(
        self, folder: Path, words: tuple[str, ...], capsys: Any, monkeypatch: Any
    ) -> None:
        monkeypatch.chdir(folder)
        assert main.main(words) == 2
        assert "outcome=usage code=2" in capsys.readouterr().err

    def test_it_imports_nothing_but_the_standard_library(self) -> None:
        import ast

        text_ = verifier.assembled()
        sources = [text_, *(one for one in ast.literal_eval(repr(_sources(text_))).values())]
        for source in sources:
            for node in ast.walk(ast.parse(source, feature_version=(3, 9))):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
                assert {str(name).partition(".")[0] for name in names} <= {*sys.stdlib_module_names, "verifier"}


def _sources(text_: str) -> dict[str, str]:
    space: dict[str, Any] = {"__name__": "looked-at"}
    exec(text_.partition('\nsys.modules["verifier"]')[0], space)
    found: dict[str, str] = space["_MODULES"]
    return found


def test_every_shipped_pack_means_the_same_in_a_bundle(tmp_path: Path) -> None:
    """With those that it strengthens, and without any that lies elsewhere."""
    shipped = assets.folder("policies")
    names = policy.available([shipped])
    for path, data in packing._policies(tmp_path / "nowhere", names, {}):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    there = policy.load(names, [tmp_path / "policies"])
    assert there.problems == ()
    assert there.pins() == policy.load(names, [shipped]).pins()
    for pin in there.pins():
        meaning = json.loads((tmp_path / f"packs/{pin['pack']}.json").read_text(encoding="utf-8"))
        assert digest.of_value(meaning, "kc.pack.v1") == pin["digest"]


@pytest.mark.parametrize("lacking", ["evidence/run.json", "evidence/verdict.json", "evidence/journal.jsonl"])
def test_what_is_not_whole_is_not_packed(bundle: Bundle, lacking: str) -> None:
    (bundle.lock.parent / lacking).unlink()
    with pytest.raises(packing.Incomplete, match=lacking):
        packing.files(bundle.root, NAME)


def test_an_unfinished_run_is_told(tmp_path: Path) -> None:
    """It is packed as it is: what lacks is for the audit to say."""
    carry_out(tmp_path, only=["data"])
    assert both(signed(packing.files(tmp_path, NAME)), trust()) == (1, 1)


def test_without_the_journal_of_the_project_nothing_is_packed(bundle: Bundle) -> None:
    (bundle.state / "journal.jsonl").unlink()
    with pytest.raises(packing.Incomplete, match="journal"):
        packing.files(bundle.root, NAME)
