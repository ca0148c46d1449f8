"""Sound evidence → what others read of it: in-toto statements, an ML-BOM, a model card, model signatures; and back.

Everything is derived from the evidence that an audit found sound (`facts`), and from nothing that anybody types; the
same evidence and keys give the same bytes. An export carries that evidence, so that it is audited again anywhere: the
bundle first, then every file derived anew and compared. One more format is one more file here and its line in `files`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kcompiler import dsse
from kcompiler.export.bom import bom
from kcompiler.export.card import card
from kcompiler.export.facts import Facts
from kcompiler.export.signing import models
from kcompiler.export.statements import provenance, results, summary, unjudged
from kcompiler.verifier.sealed import MANIFEST, SIGNATURES
from runtime import digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "BOM",
    "CARD",
    "EVIDENCE",
    "FORMAT",
    "SIGNED",
    "SUMMARY",
    "TREES",
    "UNSIGNED",
    "bom",
    "card",
    "files",
    "sealed",
    "statements",
    "summary",
    "text",
    "unjudged",
    "unsigned",
]

FORMAT = "kcompiler-export/1"
EVIDENCE, TREES, SUMMARY, BOM, CARD = "evidence.zip", "trees.json", "verification-summary", "bom.cdx.json", "README.md"
#: what a statement's file ends in, where somebody signed it and where nobody did
SIGNED, UNSIGNED = ".dsse.json", ".unsigned.json"


def text(value: Any) -> bytes:
    """JSON for a file: sorted keys, LF."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def files(facts: Facts, bundle: bytes, keys: Sequence[Ed25519PrivateKey] = ()) -> dict[str, bytes]:
    """Path in the export → bytes, with the manifest and the signatures over it."""
    made = {EVIDENCE: bundle, TREES: text(facts.trees)}
    for path, statement in statements(facts).items():
        made |= dict([_statement(path, statement, keys)])
    # the summary names what it rests on by the bytes that lie here
    rests = {path: digest.of_bytes(data).removeprefix("sha256:") for path, data in sorted(made.items())}
    made |= dict([_statement(SUMMARY, summary(facts, rests), keys)])
    made |= {f"models/{name}{_ending(keys)}": text(one) for name, one in models(facts, keys).items()}
    made |= {BOM: text(bom(facts)), CARD: card(facts).encode()}
    made[MANIFEST] = text(
        {
            "format": FORMAT,
            "name": facts.name,
            "plan": facts.digest,
            "head": facts.head,
            "verdict": facts.verdict["verdict"],
            "unjudged": unjudged(facts),
            "files": {path: digest.of_bytes(data).removeprefix("sha256:") for path, data in sorted(made.items())},
        }
    )
    return sealed(made, keys)


def statements(facts: Facts) -> dict[str, dict[str, Any]]:
    """Path without its ending → in-toto statement, of all but the summary."""
    steps = {f"provenance/{step}": one for step, one in provenance(facts).items()}
    return {**steps, **{f"test-results/{step}": one for step, one in results(facts).items()}}


def _ending(keys: Sequence[object]) -> str:
    return SIGNED if keys else UNSIGNED


def _statement(path: str, statement: Mapping[str, Any], keys: Sequence[Ed25519PrivateKey]) -> tuple[str, bytes]:
    if not keys:
        return f"{path}{UNSIGNED}", text(statement)
    return f"{path}{SIGNED}", dsse.dump(dsse.sign(statement, *keys)).encode()


def sealed(made: Mapping[str, bytes], keys: Sequence[Ed25519PrivateKey]) -> dict[str, bytes]:
    """The same files with the signature of each key over the manifest."""
    from kcompiler.audit.packing import signed

    return signed(made, keys) if keys else dict(made)


def unsigned(path: str, data: bytes) -> bytes:
    """A file of an export as it is where nobody signs: the statement alone. Raises dsse.Unreadable."""
    if not path.endswith(SIGNED) or path.startswith(SIGNATURES):
        return data
    from kcompiler.export.signing import envelope_of
    from kcompiler.verifier import signed

    payload, _ = signed.opened(envelope_of(data))
    return text(signed.statement_of(payload))
