"""Texts of a bundle that people read, what its manifest says, and its verifier: edited, both verifiers say so alike."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets, dsse, policy
from kcompiler.audit import packing, plan
from kcompiler.plan import meaning
from kcompiler.verifier import sealed, texts
from kcompiler.verifier.reading import digest_of_files
from kcompiler.verifier.sealed import MANIFEST, Trust
from kcompiler.verifier.zipped import pack
from runtime import digest
from tests.longer import LONG
from tests.unit.kcompiler.audit.conftest import NAME
from tests.unit.kcompiler.audit.forger import Files, manifest, text
from tests.unit.kcompiler.audit.test_bundle import NOW, OURS, OWN, audited, both, signed, trust

SPEC, LOCK = f"specs/{NAME}.yaml", f"generated/{NAME}/plan.lock"
CORE = "policies/caws/core"


def head(files: Files) -> Trust:
    """Somebody who wrote the journal's end down, and has no key."""
    return Trust(head=json.loads(files[MANIFEST])["head"], as_of=NOW)


def named(files: Files, given: Trust, subject: str) -> bool:
    """Whether both name the file, and not as a note."""
    one, other = audited(pack(files), given)
    return any(found.subject == subject and found.severity != "note" for found in one.findings) and any(
        place == subject and severity != "note" for severity, place, _ in other.findings
    )


def changed(path: str, change: Callable[[Any], None]) -> Callable[[Files], Files]:
    def edit(files: Files) -> Files:
        said = json.loads(files[path])
        change(said)
        return {**files, path: text(said)}

    return edit


def without(start: str) -> Callable[[Files], Files]:
    return lambda files: {path: data for path, data in files.items() if not path.startswith(start)}


def added(path: str, data: bytes = b"{}\n") -> Callable[[Files], Files]:
    return lambda files: {**files, path: data}


def in_both(files: Files) -> Files:
    """A rule in its file and in what the pack means."""
    path = f"{CORE}/parity-cosine/rule.yaml"
    files = changed(path, lambda rule: rule["params"].update(threshold="0.1"))(files)
    return changed("packs/caws/core.json", lambda one: one["rules"].update({"parity-cosine": json.loads(files[path])}))(
        files
    )


#: what is done → the file that both must name, and the code of both
TEXTS: dict[str, tuple[Callable[[Files], Files], str, int]] = {
    "a rule loosened": (
        changed(f"{CORE}/parity-cosine/rule.yaml", lambda rule: rule["params"].update(threshold="0.1")),
        f"{CORE}/parity-cosine/rule.yaml",
        1,
    ),
    "a rule loosened in both forms": (in_both, "packs/caws/core.json", 1),
    "a rule's remedy": (
        changed(f"{CORE}/parity-cosine/rule.yaml", lambda rule: rule.update(remedy="ship it")),
        f"{CORE}/parity-cosine/rule.yaml",
        1,
    ),
    "a pack asks less": (
        changed(f"{CORE}/pack.yaml", lambda one: one.update(min_n=1)),
        f"{CORE}/pack.yaml",
        1,
    ),
    "a comment that lies": (
        lambda files: {**files, f"{CORE}/pack.yaml": b"# every rule was passed\n" + files[f"{CORE}/pack.yaml"]},
        f"{CORE}/pack.yaml",
        3,
    ),
    "no texts of packs": (without("policies/"), f"{CORE}/pack.yaml", 3),
    "no text of a rule": (without(f"{CORE}/parity-cosine/"), f"{CORE}/parity-cosine/rule.yaml", 3),
    "an empty rule": (added(f"{CORE}/parity-cosine/rule.yaml", b""), f"{CORE}/parity-cosine/rule.yaml", 3),
    "a rule that no pack has": (added(f"{CORE}/easy/rule.yaml"), f"{CORE}/easy/rule.yaml", 1),
    "a pack that nobody named": (added("packs/team/law.json"), "packs/team/law.json", 1),
    "a pack that is none": (added("packs/caws/core.json"), "packs/caws/core.json", 3),
    "the spec": (changed(SPEC, lambda spec: spec["execution"].update(seed=1)), SPEC, 1),
    "a comment in the spec": (lambda files: {**files, SPEC: files[SPEC] + b"# 9 B parameters\n"}, SPEC, 3),
    "no spec": (without(SPEC), SPEC, 3),
    "a note to the reader": (added("README.md", b"PASS\n"), "README.md", 1),
    "no schemas": (without("schemas/"), "schemas/plan.schema.json", 3),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_text_that_is_not_what_was_planned_is_named(measured: Files, what: str) -> None:
    """By a known head alone: whoever edits a text makes a manifest that fits. KCOMPILER_LONG=1: all of them by both."""
    change, path, code = TEXTS[what]
    spoilt = manifest(change(measured))
    if path.startswith("schemas/"):
        assert both(spoilt, head(measured)) == (code, code)
        return
    found = list(texts.wrong(spoilt, json.loads(spoilt[LOCK]), f"generated/{NAME}"))
    assert {1: "disagreement", 3: "evidence"}[code] in [severity for severity, subject, _ in found if subject == path]
    if LONG or what in ("a rule loosened", "no texts of packs", "the spec"):
        assert both(spoilt, head(measured)) == (code, code)
        assert named(spoilt, head(measured), path)


def test_that_every_rule_only_warns_is_said_by_both(measured: Files) -> None:
    def warns(plan: Any) -> None:
        for one in plan["obligations"]:
            one["mode"] = "warn"

    assert both(manifest(changed(LOCK, warns)(measured)), head(measured)) == (1, 1)


@pytest.mark.parametrize(("key", "value"), [("verdict", "PASS"), ("plan", "sha256:" + "1" * 64)])
def test_a_manifest_that_says_something_else_than_the_evidence_is_named(
    measured: Files, key: str, value: str | None
) -> None:
    said = json.loads(measured[MANIFEST])
    assert said[key] != value
    spoilt = {**measured, MANIFEST: text({**said, key: value})}
    assert both(spoilt, head(measured)) == (1, 1)
    assert named(spoilt, head(measured), MANIFEST)
    if LONG:
        assert both(spoilt, Trust(as_of=NOW)) == (1, 1)
        assert both(signed(spoilt), trust()) == (1, 1)


FOLDER, STORED = f"generated/{NAME}", ".kcompiler/store/sha256"
#: files that nothing in the lock or the journal speaks of, in every folder that a bundle has
STRAYS = (
    "waivers/WV-0009.yaml",
    "waivers/evil.txt",
    "waivers/WV-0001/ana.dsse.json",
    f"{FOLDER}/evidence/note.txt",
    f"{FOLDER}/evidence/waivers/evil.txt",
    f"{FOLDER}/approvals/z.txt",
    f"{FOLDER}/approvals/z.dsse.json",
    ".kcompiler/paid/spend.jsonl",
    f"{FOLDER}/approvals/more/z.dsse.json",
    "schemas/evil.txt",
    ".kcompiler/store/x",
)


def test_files_that_nothing_accounts_for_are_named_by_both(measured: Files) -> None:
    sound = packed_artifact({"x": b"nobody made this\n"})
    spoilt = manifest({**measured, **dict.fromkeys(STRAYS, b"{}\n"), **sound})
    one, other = audited(pack(spoilt), head(spoilt))
    assert (one.exit_code, other.code) == (1, 1)
    told = {*STRAYS, next(iter(sound)).rpartition("/")[0]}
    assert {found.subject for found in one.findings if found.severity != "note"} == told
    assert {place for severity, place, _ in other.findings if severity != "note"} == told


def packed_artifact(files: dict[str, bytes]) -> Files:
    pin = digest_of_files(files).partition(":")[2]
    return {f"{STORED}/{pin[:2]}/{pin}/{name}": data for name, data in files.items()}


def test_an_artifact_that_is_not_what_it_is_stored_as_is_named_by_both(measured: Files) -> None:
    """Also a second copy of one that the evidence rests on, under another name of its folder."""
    stored = next(path for path in measured if path.startswith(STORED))
    start, pin, file = stored.removeprefix(f"{STORED}/").split("/")
    foreign, moved = f"{STORED}/aa/{'a' * 64}/x", f"{STORED}/zz/{pin}/{file}"
    assert start != "zz"
    spoilt = manifest({**measured, foreign: b"x", moved: b"x"})
    one, other = audited(pack(spoilt), head(spoilt))
    assert (one.exit_code, other.code) == (3, 3)
    told = {foreign.rpartition("/")[0], moved}
    assert {found.subject for found in one.findings if found.severity != "note"} == told
    assert {place for severity, place, _ in other.findings if severity != "note"} == told


def test_a_manifest_has_no_other_keys(measured: Files) -> None:
    said = json.loads(measured[MANIFEST])
    assert both({**measured, MANIFEST: text({**said, "note": "x"})}, head(measured)) == (3, 3)


def test_a_manifest_with_another_head_is_named(measured: Files) -> None:
    """Without a head that is known, too."""
    spoilt = {**measured, MANIFEST: text({**json.loads(measured[MANIFEST]), "head": "sha256:" + "1" * 64})}
    assert both(spoilt, Trust(as_of=NOW)) == (1, 1)
    assert both(spoilt, head(measured)) == (3, 3)


class TestVerifier:
    """The verifier in a bundle is what a stranger would run next."""

    LIES = b'print("outcome=sound code=0")\n'

    def test_another_one_is_named(self, measured: Files) -> None:
        spoilt = manifest({**measured, "verify.py": self.LIES})
        for given in (head(measured), Trust(as_of=NOW), trust()) if LONG else (head(measured),):
            assert both(spoilt, given) == (1, 1)
            assert named(spoilt, given, "verify.py")

    def test_that_of_another_version_is_told_where_a_trusted_key_signed_it(self, measured: Files) -> None:
        other = signed(manifest({**measured, "verify.py": self.LIES}))
        assert both(other, trust()) == (0, 0)
        found, alone = audited(pack(other), trust())
        assert [one.severity for one in found.findings if one.subject == "verify.py"] == ["note"]
        assert [severity for severity, subject, _ in alone.findings if subject == "verify.py"] == ["note"]

    def test_the_line_ends_of_a_checkout_are_no_other_verifier(self, measured: Files) -> None:
        own = OWN.replace(b"\n", b"\r\n")
        assert list(sealed.verifier(measured, ["journal head sha256:1"], own)) == []

    def test_the_script_compares_the_one_in_the_bundle_with_itself(self, measured: Files, tmp_path: Path) -> None:
        (tmp_path / "verify.py").write_bytes(OWN)
        (tmp_path / "out.zip").write_bytes(pack(manifest({**measured, "verify.py": self.LIES})))
        words = [sys.executable, "-I", "-S", "verify.py", "out.zip", "--head", head(measured).head]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "outcome=disagreement code=1\n")
        assert "disagreement  verify.py: it is another verifier" in done.stdout


def test_a_signature_twice_is_one_name(measured: Files) -> None:
    files = packing.signed(measured, [OURS, OURS])
    assert len([name for name in files if name.startswith("signatures/")]) == 2
    names, wrong = sealed.vouched(files, json.loads(files[MANIFEST]), trust())
    assert (names, wrong) == ([f"ci@example.com {dsse.shown(OURS)}"], [])


@pytest.mark.parametrize("profile", ["", "small"])
def test_a_spec_of_fragments_and_profiles_is_one_text_with_the_digest_of_the_lock(tmp_path: Path, profile: str) -> None:
    part = b"# ours\nstudent: {layers: 4, width: 64}\n"
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "part.yaml").write_bytes(part)
    pin = digest.of_bytes(part)
    words = f"""\
# a comment
include: [{{path: part.yaml, sha256: {pin[7:]}}}]
metadata: {{name: a, description: "é \\u00e9 \\U0001F600"}}
training: {{rate: 1e-05, steps: 12, seeds: ["1", 2], tied: no}}
profiles: {{small: {{student.layers: 1}}}}
"""
    (tmp_path / "specs" / "a.yaml").write_text(words, encoding="utf-8")
    said = plan.composed("specs/a.yaml", words.encode(), tmp_path, profile)
    assert said is not None
    assert said["student"] == {"layers": 1 if profile else 4, "width": 64}
    sources = [{"path": "specs/a.yaml", "meaning": meaning(said)}, {"path": "specs/part.yaml", "meaning": pin}]
    made = {"asked": {"spec": "specs/a.yaml", "profile": profile}, "sources": sources, "policies": [], "schemas": []}
    files = {"specs/a.yaml": packing._spec(tmp_path, made), "specs/part.yaml": part}
    assert list(texts.wrong(files, made, "generated/a")) == []
    # and read as YAML, it says the same
    (tmp_path / "specs" / "a.yaml").write_bytes(files["specs/a.yaml"])
    assert [found for entry in sources for found in plan._source(made, entry, tmp_path, "")] == []
    assert ("disagreement", "specs/part.yaml") in {
        found[:2] for found in texts.wrong({**files, "specs/part.yaml": part[7:]}, made, "generated/a")
    }


def test_the_pack_below_is_pinned_by_the_one_that_strengthens_it(tmp_path: Path) -> None:
    """Its floors hold for the rules above, and its other rules stand in the bundle to be read."""
    names = ["caws/tier-1"]
    files = dict(packing._policies(tmp_path, names, {}))
    loaded = policy.load(names, [assets.folder("policies")])
    made: dict[str, Any] = {"asked": {"spec": "s"}, "sources": [{"path": "s"}], "policies": loaded.pins()}
    assert texts.packs(files, made)[1] == []
    assert set(texts.packs(files, made)[0]) == {"caws/tier-1", "caws/tier-2", "caws/tier-3"}
    lower = changed("policies/caws/tier-3/pack.yaml", lambda one: one.update(min_n=1))(files)
    lower = changed("packs/caws/tier-3.json", lambda one: one["pack"].update(min_n=1))(lower)
    assert [found[:2] for found in texts.packs(lower, made)[1]] == [("disagreement", "packs/caws/tier-3.json")]


#: a rule that compares with an earlier run, and the plan of that run
RAN, PIN = "reproducibility/eight-ball-again", "sha256:" + "7" * 64


def test_a_baseline_beside_a_rule_is_the_one_that_it_pins(tmp_path: Path) -> None:
    files = dict(packing._policies(tmp_path, ["reproducibility"], {RAN: PIN}))
    pins = policy.load(["reproducibility"], [assets.folder("policies")]).pins()
    made: dict[str, Any] = {"policies": pins, "obligations": [{"rule": RAN, "expect": {"plan": PIN}}]}
    assert texts.packs(files, made)[1] == []
    path = "policies/reproducibility/eight-ball-again/baseline/evaluate-answers.json"
    spoilt = {**files, path: files[path] + b" "}
    assert ("disagreement", path) in [found[:2] for found in texts.packs(spoilt, made)[1]]
    run = "policies/reproducibility/eight-ball-again/baseline/run.json"
    for data in (files[run] + b" ", files[run].replace(b"77", b"78", 1), text({**json.loads(files[run]), "note": "x"})):
        assert [found[:2] for found in texts.packs({**files, run: data}, made)[1]] == [("disagreement", run)]
    assert [found[:2] for found in texts.packs(without(run)(files), made)[1]] == [("evidence", run)]
