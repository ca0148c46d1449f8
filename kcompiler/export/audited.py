"""The folder of an export × what somebody trusts → its evidence recomputed, and every file derived from it anew."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kcompiler import dsse, export
from kcompiler.audit.bundle import audit_bundle
from kcompiler.audit.finding import Audit, Finding, broken, differs
from kcompiler.export.facts import Facts, gather
from kcompiler.export.signing import envelope_of
from kcompiler.verifier.excused import is_meaning
from kcompiler.verifier.main import UNSIGNED
from kcompiler.verifier.sealed import MANIFEST, SIGNATURES, Trust, vouched
from kcompiler.verifier.zipped import unpack
from runtime import digest
from runtime.contract import BrokenEvidence, strict_json

_CODES = {"files": "KA51", "signature": "KA52", "head": "KA53"}


def is_export(folder: Path) -> bool:
    """Whether a folder says that it is an export."""
    try:
        found: Any = json.loads((folder / MANIFEST).read_bytes())
        return bool(found["format"] == export.FORMAT)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def audit_export(folder: Path, trust: Trust) -> tuple[Audit, Mapping[str, Any]]:
    """The audit of an export, and its manifest. Raises `sealed.OtherFormat` for evidence of another version."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    try:
        manifest: Any = strict_json.loads(files[MANIFEST])
        listed = {str(path): str(pin) for path, pin in manifest["files"].items()}
        told = {key: str(manifest[key]) for key in ("name", "plan", "head")}
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        return Audit(findings=[broken("KA51", MANIFEST, f"it cannot be read: {why}")], checked={}, verdict=""), {}
    names, wrong = vouched(files, {**manifest, "files": listed}, trust)
    findings = [broken(_CODES[about], subject, message) for about, subject, message in wrong]
    if findings or export.EVIDENCE not in files:
        findings = findings or [broken("KA51", export.EVIDENCE, "an export holds the evidence that it is made of")]
        return Audit(findings=findings, checked={"files": len(files)}, verdict=""), manifest
    # whoever vouches for the export vouches for what is in it: the bundle need not be signed by itself
    result, inner = audit_bundle(files[export.EVIDENCE], trust)
    findings = [one for one in result.findings if one.code != "KA54"]
    findings += _signatures(files, trust)
    if not any(one.severity == "evidence" for one in findings):
        findings += _derived(files, told, inner, manifest.get("unjudged"))
    if not names:
        findings.append(Finding(code="KA54", severity="unsigned", subject=MANIFEST, message=UNSIGNED))
    checked = {**result.checked, "files": len(files)}
    return replace(result, findings=findings, checked=checked), manifest


def _signatures(files: Mapping[str, bytes], trust: Trust) -> Iterator[Finding]:
    """Each statement that somebody signed: by a key that is allowed, where keys are asked about."""
    for path, data in files.items():
        if not path.endswith(export.SIGNED) or path.startswith(SIGNATURES):
            continue
        try:
            found = dsse.verify(envelope_of(data), trust.allowed, trust.as_of, trust.revoked)
        except dsse.Unreadable as why:
            yield broken("KA52", path, str(why))
            continue
        if trust.allowed and not found.signers:
            yield broken("KA52", path, "; ".join(found.refused))


def _derived(
    files: Mapping[str, bytes], told: Mapping[str, str], inner: Mapping[str, Any], unjudged: Any
) -> Iterator[Finding]:
    """Each file, and which reports have no test result, against what the evidence gives."""
    try:
        trees: Any = strict_json.loads(files.get(export.TREES, b""))
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name, content in unpack(files[export.EVIDENCE]).items():
                if not is_meaning(name):
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    (root / name).write_bytes(content)
            facts = gather(root, str(inner["name"]), trees)
        wanted = _wanted(files, facts)
    except BrokenEvidence as why:
        yield broken("KA55", export.TREES, f"{why.subject}: {why.message}")
        return
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        yield broken("KA55", export.TREES, f"nothing can be derived from it: {why}")
        return
    if {"name": facts.name, "plan": facts.digest, "head": facts.head} != told:
        yield differs("KA55", MANIFEST, "it is about another run than the evidence")
    if unjudged != export.unjudged(facts):
        yield differs("KA55", MANIFEST, "`unjudged` are not the reports that no rule of the evidence speaks of")
    there = {path for path in files if path != MANIFEST and not path.startswith(SIGNATURES)}
    for path in sorted(there ^ wanted.keys()):
        yield differs("KA55", path, "it is gone" if path in wanted else "the evidence gives no such file")
    for path in sorted(there & wanted.keys()):
        if export.unsigned(path, files[path]) != wanted[path]:
            yield differs("KA55", path, "it does not say what the evidence gives")


def _wanted(files: Mapping[str, bytes], facts: Facts) -> dict[str, bytes]:
    """Path → the file as it is where nobody signs, each under the name it has here."""
    plain = export.files(facts, files[export.EVIDENCE])
    plain.pop(MANIFEST)
    found = {}
    for path, data in plain.items():
        signed = path.removesuffix(export.UNSIGNED) + export.SIGNED
        found[signed if path.endswith(export.UNSIGNED) and signed in files else path] = data
    rests = {
        path: digest.of_bytes(files[path]).removeprefix("sha256:")
        for path in found
        if path in files and path.startswith((export.EVIDENCE, export.TREES, "provenance/", "test-results/"))
    }
    path = next(path for path in found if path.startswith(export.SUMMARY))
    found[path] = export.text(export.summary(facts, rests))
    return found
