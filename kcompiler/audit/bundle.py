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

from kcompiler import policy
from kcompiler.audit.finding import Audit, Finding, broken, differs
from kcompiler.verifier.main import MANIFEST, PACKS, UNSIGNED, Trust, opened, vouched
from kcompiler.verifier.zipped import BadZip
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
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        result = audit(root, str(manifest["name"]), trust.as_of, bundled=True)
        findings = [*result.findings, *_meanings(root, files)]
    if not names:
        findings.append(Finding(code="KA54", severity="unsigned", subject=MANIFEST, message=UNSIGNED))
    return replace(result, findings=findings, checked={"files": len(files), **result.checked}), manifest


def _meanings(root: Path, files: Mapping[str, bytes]) -> Iterator[Finding]:
    """The packs by what they mean, which the stand-alone verifier reads, against the text of their authors."""
    told = {
        name.removeprefix(PACKS).removesuffix(".json"): data for name, data in files.items() if name.startswith(PACKS)
    }
    packs = policy.load(sorted(told), [root / "policies"])
    for one in packs.packs:
        meaning = digest.of_value(strict_json.loads(told[one.pack.name]), "kc.pack.v1")
        if meaning != one.digest:
            yield differs("KA02", f"{PACKS}{one.pack.name}.json", "the pack is not what its rules say")


#: what the verifier found something wrong with → the code
_CODES = {"files": "KA51", "signature": "KA52", "head": "KA53"}
