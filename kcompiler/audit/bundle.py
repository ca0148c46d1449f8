"""The bytes of a bundle → everything recomputed that its evidence claims, without the project that it is of.

What is listed, signed and anchored is looked at as the stand-alone verifier does; the evidence by the audit of a
project, in a folder of its own, where weights, data and inputs are not missed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kcompiler import lock
from kcompiler.audit.finding import Audit, Finding, broken, differs, note
from kcompiler.audit.journal import chain
from kcompiler.verifier import assembled, sealed, strays, texts
from kcompiler.verifier.excused import MEANING, TEXT, is_meaning, meaning_of
from kcompiler.verifier.main import UNSIGNED
from kcompiler.verifier.sealed import MANIFEST, Trust, opened, vouched
from kcompiler.verifier.zipped import BadZip
from kcompiler.waiver.load import parsed
from runtime.contract import strict_json


def audit_bundle(data: bytes, trust: Trust) -> tuple[Audit, Mapping[str, Any]]:
    """The audit of a bundle, and its manifest. Nothing is written but in a folder that is removed again. Raises
    `sealed.OtherFormat` for a bundle of another version."""
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
        told = {(one.code, one.severity, one.subject) for one in result.findings}
        more = (one for one in _alike(files, manifest, names) if (one.code, one.severity, one.subject) not in told)
        findings = [*result.findings, *more, *_waivers(files)]
    if not names:
        findings.append(Finding(code="KA54", severity="unsigned", subject=MANIFEST, message=UNSIGNED))
    return replace(result, findings=findings, checked={"files": len(files), **result.checked}), manifest


def _alike(files: Mapping[str, bytes], manifest: Mapping[str, Any], names: Sequence[str]) -> Iterator[Finding]:
    """The texts, the claims of the manifest and the verifier, as the stand-alone verifier looks at them."""
    name = str(manifest["name"])
    folder = f"generated/{name}"
    try:
        plan: Any = lock.load(files[f"{folder}/plan.lock"].decode())
        found = list(texts.wrong(files, plan, folder))
        recorded: Any = strict_json.loads(files[f"{folder}/evidence/verdict.json"])
        head = chain(files[sealed.JOURNAL], files[strays.HEAD], sealed.JOURNAL)[0][-1].hash
        holds = {"plan": lock.plan_digest(plan), "head": head, "verdict": recorded["verdict"]}
    except (lock.UnreadableLock, ValueError, LookupError, TypeError, AttributeError):
        return  # the audit says so
    found += [("disagreement", sealed.MANIFEST, message) for message in sealed.claims(manifest, holds)]
    found += sealed.verifier(files, names, assembled().encode())
    for severity, subject, message in found:
        if severity == "note":
            yield note(subject, message)
        else:
            code = "KA51" if subject in (sealed.MANIFEST, sealed.VERIFIER) else "KA02"
            code = "KA21" if severity == "evidence" and subject.startswith(strays.STORE) else code
            yield (broken if severity == "evidence" else differs)(code, subject, message)


def _waivers(files: Mapping[str, bytes]) -> Iterator[Finding]:
    """What the bundle says that each waiver means, against the text of its author."""
    texts = {name.removesuffix(MEANING) + TEXT for name in files if is_meaning(name)}
    texts |= {name for name in files if is_meaning(name.removesuffix(TEXT) + MEANING)}
    for text in sorted(texts):
        read = parsed(files[text], text)[0] if text in files else None
        if read is None:
            continue  # the audit says so
        said, wrong = meaning_of(files, text)
        if wrong:
            yield broken("KA33", text, wrong)
        elif said != read.waiver.meaning:
            yield differs("KA34", text, "what stands beside it is not what the waiver says")


#: what the verifier found something wrong with → the code
_CODES = {"files": "KA51", "signature": "KA52", "head": "KA53"}
