"""The bytes of a bundle → everything recomputed that its evidence claims, without the project that it is of.

What is listed, signed and anchored is looked at as the stand-alone verifier does; the evidence by the audit of a
project, in a folder of its own, where weights, data and inputs are not missed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kcompiler import lock, policy
from kcompiler.audit.finding import Audit, Finding, broken, differs
from kcompiler.verifier.excused import FOLDER, MEANING, TEXT, is_meaning, meaning_of
from kcompiler.verifier.main import UNSIGNED
from kcompiler.verifier.sealed import MANIFEST, PACKS, Trust, opened, vouched
from kcompiler.verifier.zipped import BadZip
from kcompiler.waiver.load import parsed
from runtime import digest
from runtime.contract import strict_json


def audit_bundle(data: bytes, trust: Trust) -> tuple[Audit, Mapping[str, Any]]:
    """The audit of a bundle, and its manifest. Nothing is written but in a folder that is removed again."""
    from kcompiler.audit import audit

    try:
        files, manifest = opened(data)
    except BadZip as why:
        return Audit(findings=[broken("KA51", "the bundle", str(why))], checked={}, verdict=""), {}
    names, found = vouched(files, manifest, trust)
    findings = [broken(_CODES[about], subject, message) for about, subject, message in found]
    if findings:
        return Audit(findings=findings, checked={"files": len(files)}, verdict=""), manifest
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in files.items():
            if is_meaning(name):
                continue  # what authors wrote is read here, and below compared with what a stranger is told
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        result = audit(root, str(manifest["name"]), trust.as_of, bundled=True, revoked=trust.revoked)
        findings = [*result.findings, *_meanings(root, files, str(manifest["name"])), *_waivers(files)]
    if not names:
        findings.append(Finding(code="KA54", severity="unsigned", subject=MANIFEST, message=UNSIGNED))
    return replace(result, findings=findings, checked={"files": len(files), **result.checked}), manifest


def _meanings(root: Path, files: Mapping[str, bytes], name: str) -> Iterator[Finding]:
    """The packs by what they mean, which the stand-alone verifier reads, against the text of their authors."""
    told = {
        path.removeprefix(PACKS).removesuffix(".json"): data for path, data in files.items() if path.startswith(PACKS)
    }
    try:
        plan: Any = lock.read(root / f"generated/{name}/plan.lock")
        pinned = {str(one["pack"]) for one in plan["policies"]}
    except (lock.UnreadableLock, LookupError, TypeError):
        pinned = set()  # the audit says so
    packs = policy.load(sorted(told.keys() | pinned), [root / "policies"])
    for one in packs.packs:
        place = f"{PACKS}{one.pack.name}.json"
        if one.pack.name not in told:
            yield broken("KA02", place, "the pack is gone")
            continue
        try:
            meaning = digest.of_value(strict_json.loads(told[one.pack.name]), "kc.pack.v1")
        except ValueError as reason:
            yield broken("KA02", place, f"the pack cannot be read: {reason}")
            continue
        if meaning != one.digest:
            yield differs("KA02", place, "the pack is not what its rules say")


def _waivers(files: Mapping[str, bytes]) -> Iterator[Finding]:
    """What the bundle says that each waiver means, against the text of its author."""
    texts = {name.removesuffix(MEANING) + TEXT for name in files if is_meaning(name)}
    texts |= {name for name in files if is_meaning(name.removesuffix(TEXT) + MEANING)}
    for text in sorted(texts):
        read = parsed(files[text], text)[0] if text in files else None
        if read is None:
            continue  # the audit says so
        said, wrong = meaning_of(files, text)
        if wrong and not text.startswith(FOLDER):
            yield broken("KA33", text, wrong)
        elif wrong or said != read.waiver.meaning:
            yield differs("KA34", text, wrong or "what stands beside it is not what the waiver says")


#: what the verifier found something wrong with → the code
_CODES = {"files": "KA51", "signature": "KA52", "head": "KA53"}
