"""What is exported is what the evidence gives, to the byte; others read it; and an audit of it notices every change."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kcompiler import dsse, export
from kcompiler.audit import packing
from kcompiler.audit.items import stored
from kcompiler.cli import _main
from kcompiler.export.audited import audit_export, is_export
from kcompiler.export.facts import Facts, gather
from kcompiler.export.statements import TREE
from kcompiler.verifier.sealed import MANIFEST, Trust
from kcompiler.verifier.zipped import pack
from runtime import digest
from tests.longer import LONG
from tests.unit.kcompiler.audit.conftest import NAME, ROOT
from tests.unit.kcompiler.audit.forger import Files, text

NOW = "2027-06-15T12:00:00Z"
OURS, THEIRS = (Ed25519PrivateKey.from_private_bytes(bytes([one]) * 32) for one in (7, 8))
SPEC = f"specs/{NAME}.yaml"
EVALUATED = "evaluate-answers"


@pytest.fixture(scope="module")
def bundled(measured: Files) -> bytes:
    return pack(measured)


@pytest.fixture(scope="module")
def facts(carried_out: Path, measured: Files, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Of the run that seems to be measured: its reports are others than those in the store, its artifacts the same."""
    root = tmp_path_factory.mktemp("unpacked")
    for name, data in measured.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    trees: dict[str, list[dict[str, Any]]] = {}
    for line in measured[f"generated/{NAME}/evidence/journal.jsonl"].splitlines():
        for give in json.loads(line)["data"]["gives"].values():
            folder = stored(carried_out, give["digest"])
            if folder.is_dir():
                trees[give["digest"]] = digest.manifest(folder)
    for data in (data for name, data in measured.items() if "/reports/" in name):
        entry = {"path": "report.json", "bytes": len(data), "digest": digest.of_bytes(data)}
        trees[digest.of_one_file("report.json", data)] = [entry]
    return gather(root, NAME, trees)


@pytest.fixture(scope="module")
def told(facts: Facts) -> Facts:
    """With the report of an evaluation that was measured."""
    file = next(
        path
        for path in sorted((ROOT / "policies").rglob("pass.json"))
        if (json.loads(path.read_text()).get("report") or {}).get("kind") == "eval.tool_use"
    )
    report = {**json.loads(file.read_text())["report"], "step": EVALUATED}
    return replace(facts, reports={**facts.reports, EVALUATED: text(report)})


@pytest.fixture(scope="module")
def made(facts: Facts, bundled: bytes) -> Files:
    return export.files(facts, bundled, [OURS])


def trust(*keys: Ed25519PrivateKey) -> Trust:
    lines = "".join(f"ci@example.com {dsse.public_line(key)}\n" for key in keys)
    return Trust(tuple(dsse.allowed_signers(lines, "allowed")) if keys else (), frozenset(), "", NOW)


def laid(folder: Path, files: Files) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def audited(folder: Path, files: Files, *keys: Ed25519PrivateKey) -> tuple[int, set[str]]:
    """The exit code, and what was found wrong."""
    found, _ = audit_export(laid(folder, files), trust(*keys))
    return found.exit_code, {one.code for one in found.findings if one.severity != "note"}


def again(files: Files, *keys: Ed25519PrivateKey) -> Files:
    """The same with a manifest of what is there now, signed by these."""
    kept = {name: data for name, data in files.items() if not name.startswith("signatures/") and name != MANIFEST}
    manifest = json.loads(files[MANIFEST])
    manifest["files"] = {name: digest.of_bytes(data)[7:] for name, data in sorted(kept.items())}
    return export.sealed({**kept, MANIFEST: text(manifest)}, keys)


def test_the_same_evidence_and_keys_give_the_same_bytes(facts: Facts, bundled: bytes, made: Files) -> None:
    assert export.files(facts, bundled, [OURS]) == made
    plain = export.files(facts, bundled)
    assert not any(name.endswith(".dsse.json") for name in plain)
    assert {name for name in plain if name.endswith(".unsigned.json")}
    rooms = {name.partition("/")[0] for name in made if "/" in name}
    assert rooms == {"provenance", "test-results", "models", "signatures"}
    assert {"README.md", "bom.cdx.json", "evidence.zip", "trees.json", "verification-summary.dsse.json"} <= made.keys()


def test_what_was_signed_is_sound_and_unsigned_is_called_so(
    facts: Facts, bundled: bytes, made: Files, tmp_path: Path
) -> None:
    assert audited(tmp_path / "a", made, OURS) == (0, set())
    assert audited(tmp_path / "a", made) == (7, {"KA54"})
    assert audited(tmp_path / "a", made, THEIRS) == (3, {"KA52"})
    assert audited(tmp_path / "b", export.files(facts, bundled)) == (7, {"KA54"})
    assert is_export(tmp_path / "a")
    assert not is_export(tmp_path)


def better(name: str, old: str, new: str) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        assert old.encode() in files[name], name
        return {**files, name: files[name].replace(old.encode(), new.encode())}

    return change


def restated(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], Files]:
    """A statement that somebody else signed, with something else in it."""

    def made(files: Files) -> Files:
        whole = json.loads(files[name])
        envelope = whole.get("dsseEnvelope", whole)
        statement = json.loads(base64.b64decode(envelope["payload"]))
        change(statement)
        envelope.update(dsse.sign(statement, OURS))
        return {**files, name: text(whole)}

    return made


def gone(name: str) -> Callable[[Files], Files]:
    return lambda files: {path: data for path, data in files.items() if path != name}


CHANGES: list[tuple[str, Callable[[Files], Files], int]] = [
    ("a better verdict on the card", better("README.md", "Verdict **", "Verdict **very "), 1),
    ("another part in the ML-BOM", better("bom.cdx.json", f'"name": "{NAME}"', '"name": "other"'), 1),
    ("a file of an artifact has another digest", better("trees.json", '"digest": "sha256:', '"digest": "sha256:0'), 3),
    ("no card", gone("README.md"), 1),
    ("no provenance of a step", gone("provenance/data.dsse.json"), 1),
    ("no evidence", gone("evidence.zip"), 3),
    ("a file more", lambda files: {**files, "extra.json": b"{}"}, 1),
    ("a test that passed", restated("test-results/data.dsse.json", lambda one: one["predicate"].update(passedTests=["all"])), 1),
    ("another backend", restated("provenance/data.dsse.json", lambda one: one["predicate"]["buildDefinition"]["internalParameters"].update(backend="cuda")), 1),
    ("a summary that passed", restated("verification-summary.dsse.json", lambda one: one["predicate"].update(verificationResult="PASSED", verifiedLevels=["x"])), 1),
    ("a statement for another predicate", restated("provenance/data.dsse.json", lambda one: one.update(predicateType="https://example.com/x")), 1),
    ("cut", lambda files: {**files, "provenance/data.dsse.json": files["provenance/data.dsse.json"][:-40]}, 3),
]  # fmt: skip


QUICK = CHANGES if LONG else CHANGES[::3]


@pytest.mark.parametrize(("change", "code"), [one[1:] for one in QUICK], ids=[one[0] for one in QUICK])
def test_what_does_not_follow_from_the_evidence_is_found(
    made: Files, tmp_path: Path, change: Callable[[Files], Files], code: int
) -> None:
    """First as it is, where the manifest names it; then with a manifest that was made and signed anew.
    KCOMPILER_LONG=1: each."""
    spoilt = change(made)
    assert spoilt != made
    assert audited(tmp_path / "a", spoilt, OURS) == (3, {"KA51"})
    found, codes = audited(tmp_path / "b", again(spoilt, OURS), OURS)
    assert found == code, codes
    assert codes & {"KA51", "KA52", "KA55"}


def test_the_subjects_are_files_by_their_own_digests(facts: Facts) -> None:
    for step, statement in export.statements(facts).items():
        assert all(set(one["digest"]) == {"sha256"} for one in statement["subject"]), step
    tree = facts.records["data"]["gives"]["dataset"]["digest"]
    made = export.statements(facts)["provenance/data"]
    listed = {one["name"]: one["digest"]["sha256"] for one in made["subject"]}
    assert {f"data/dataset/{one['path']}": one["digest"][7:] for one in facts.trees[tree]}.items() <= listed.items()
    products = {one["name"]: one["digest"] for one in made["predicate"]["runDetails"]["byproducts"]}
    assert products["dataset"] == {TREE: tree[7:]}


def test_a_report_that_no_rule_speaks_of_has_no_result_and_is_listed(
    facts: Facts, made: Files, bundled: bytes, tmp_path: Path
) -> None:
    said = json.loads(made[MANIFEST])["unjudged"]
    results = {path.removeprefix("test-results/") for path in export.statements(facts) if path.startswith("test-r")}
    assert results | {Path(one).stem for one in said} >= facts.reports.keys() - {"apply"}
    # one more report, of which no rule speaks
    more = replace(facts, reports={**facts.reports, "other": facts.reports["data"]})
    assert export.unjudged(more) == sorted([*said, "reports/other.json"])
    assert json.loads(export.files(more, bundled)[MANIFEST])["unjudged"] == export.unjudged(more)
    # a manifest that lists another one, or none
    manifest = json.loads(made[MANIFEST])
    for wrong in ([*said, "reports/data.json"], None):
        files = again({**made, MANIFEST: text({**manifest, "unjudged": wrong})}, OURS)
        assert audited(tmp_path / str(wrong is None), files, OURS) == (1, {"KA55"})


def test_a_result_says_what_the_verdict_says(facts: Facts) -> None:
    every = [one["predicate"] for path, one in export.statements(facts).items() if path.startswith("test-results/")]
    outcomes = facts.verdict["outcomes"]
    assert sum(len(one["failedTests"]) for one in every) == sum(one["blocks"] for one in outcomes)
    assert sum(len(one["passedTests"]) for one in every) == facts.verdict["counts"]["pass"]
    assert {one["result"] for one in every} >= {"PASSED", "FAILED"}
    assert all((one["result"] == "FAILED") == bool(one["failedTests"]) for one in every)
    summary = export.summary(facts, {})["predicate"]
    assert (summary["verificationResult"], summary["verifiedLevels"]) == ("FAILED", ["FAILED"])
    passed = export.summary(replace(facts, released="PASS"), {})["predicate"]
    assert (passed["verificationResult"], passed["verifiedLevels"]) == ("PASSED", ["KCOMPILER_RISK_TIER_3"])


class TestOthersReadIt:
    def test_the_bom_satisfies_the_published_schema(self, told: Facts) -> None:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        check = JsonStrictValidator(SchemaVersion.V1_6)
        content = export.bom(told)
        assert check.validate_str(json.dumps(content)) is None
        assert check.validate_str(json.dumps({**content, "components": [{"type": "model"}]})) is not None
        card = content["metadata"]["component"]["modelCard"]
        numbers = card["quantitativeAnalysis"]["performanceMetrics"]
        assert any("confidenceInterval" in one for one in numbers)

    def test_the_card_is_read_with_every_number_of_its_report(self, told: Facts, facts: Facts) -> None:
        from huggingface_hub import ModelCard

        card = ModelCard(export.card(told))
        results = card.data.eval_results
        report = told.report(EVALUATED)
        assert results is not None
        assert len(results) > 5
        for one in results:
            datum: Any = report["data"]
            for name in one.metric_type.split("."):
                datum = datum[name]
            assert one.metric_value == datum["value"]
            assert {
                key: datum[key] for key in ("low", "high", "k", "n") if key in datum
            }.items() <= one.metric_args.items()
            assert one.dataset_args == {"report": digest.of_bytes(told.reports[EVALUATED])}
        assert any("low" in one.metric_args for one in results)
        # what is forged is no result
        assert ModelCard(export.card(facts)).data.eval_results is None

    def test_in_toto_s_own_bindings_validate_the_statements(self, facts: Facts) -> None:
        pytest.importorskip("in_toto_attestation")
        from google.protobuf.json_format import ParseDict
        from in_toto_attestation.v1 import statement_pb2
        from in_toto_attestation.v1.statement import Statement

        every = {**export.statements(facts), "summary": export.summary(facts, {})}
        assert len(every) > len(facts.records)
        for content in every.values():
            # raises for what is no statement
            message = ParseDict(content, statement_pb2.Statement())
            Statement.copy_from_pb(message).validate()

    def test_securesystemslib_verifies_the_envelopes(self, made: Files) -> None:
        pytest.importorskip("securesystemslib")
        from securesystemslib.dsse import Envelope
        from securesystemslib.exceptions import VerificationError
        from securesystemslib.signer import SSlibKey

        def key(of: Ed25519PrivateKey) -> Any:
            return SSlibKey(dsse.shown(of), "ed25519", "ed25519", {"public": of.public_key().public_bytes_raw().hex()})

        names = [name for name in made if name.endswith(".dsse.json")]
        for name in names:
            whole = json.loads(made[name])
            envelope = Envelope.from_dict(whole.get("dsseEnvelope", whole))
            assert len(envelope.verify([key(OURS)], 1)) == 1
            with pytest.raises(VerificationError):
                envelope.verify([key(THEIRS)], 1)

    def test_model_signing_reads_the_manifest_of_the_files(self, carried_out: Path, made: Files, facts: Facts) -> None:
        """By hand, of `pip install model-signing`, which brings much with it."""
        pytest.importorskip("model_signing")
        from model_signing import hashing
        from model_signing._signing.signing import dsse_payload_to_manifest

        looked = 0
        for place, artifact in facts.artifacts("checkpoint").items():
            name = place.replace("/", ".")
            envelope = json.loads(made[f"models/{name}.dsse.json"])["dsseEnvelope"]
            said = dsse_payload_to_manifest(json.loads(base64.b64decode(envelope["payload"])))
            found = (
                hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False).hash(stored(carried_out, artifact))
            )
            assert said == found
            looked += 1
        assert looked


class TestVerb:
    @pytest.fixture(scope="class")
    @classmethod
    def desk(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("desk")
        (folder / "key").write_bytes(OURS.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        (folder / "allowed").write_text(f"ci@example.com {dsse.public_line(OURS)}\n", encoding="utf-8")
        return folder

    def test_it_is_made_and_audited_elsewhere(
        self, carried_out: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        monkeypatch.chdir(carried_out)
        words = ["audit", SPEC, "--export", str(desk / "out"), "--sign-key", str(desk / "key")]
        assert _main(words) == 0
        assert "export      " in capsys.readouterr().out
        assert _main(words) == 0  # over an earlier one
        assert _main(["audit", SPEC, "--export", str(desk)]) == 2
        assert "holds what is no export" in capsys.readouterr().err
        monkeypatch.chdir(desk)
        assert _main(["audit", "out", "--key", "allowed"]) == 0
        assert _main(["audit", "out"]) == 7
        assert _main(["audit", "out", "--key", "allowed", "--bundle", "x.zip"]) == 2
        card = desk / "out" / "README.md"
        card.write_text(card.read_text().replace("Verdict **", "Verdict **very "))
        capsys.readouterr()
        assert _main(["audit", "out", "--key", "allowed"]) == 3
        said = capsys.readouterr()
        assert "KA51" in said.out
        assert "kcompiler audit SPEC --export DIR" in said.err

    def test_what_is_not_sound_is_not_exported(
        self, carried_out: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
    ) -> None:
        monkeypatch.chdir(carried_out)
        verdict = carried_out / "generated" / NAME / "evidence" / "verdict.json"
        sound = verdict.read_bytes()
        try:
            verdict.write_bytes(sound.replace(b'"verdict": "', b'"verdict": "PASS', 1))
            assert _main(["audit", SPEC, "--export", str(tmp_path / "out")]) == 3
        finally:
            verdict.write_bytes(sound)
        assert not (tmp_path / "out").exists()
        assert packing.bundle(carried_out, NAME)


@pytest.mark.parametrize("trees", [b"", b"[]", b"{}", b'{"sha256:0": 3}'])
def test_trees_that_are_none_are_named(made: Files, tmp_path: Path, trees: bytes) -> None:
    assert audited(tmp_path, again({**made, "trees.json": trees}, OURS), OURS) == (3, {"KA55"})
