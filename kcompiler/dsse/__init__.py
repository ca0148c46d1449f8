"""A statement and somebody's key → a signed envelope, and back: who of those that are allowed signed what.

DSSE envelopes over in-toto statements, Ed25519, with the keys that people have: private keys as `ssh-keygen -t ed25519`
writes them, public ones in a file of allowed signers. What reads envelopes and keys is the stand-alone verifier's own
(`kcompiler.verifier.signed`), so that a stranger's machine and this one never read the same signature differently.

    envelope = sign(statement([about_file(…)], PREDICATE, {…}), private_key(path.read_bytes()))
    verified = verify(envelope, allowed_signers(text, name), as_of)     # .statement, .signers, .refused

`cryptography` is imported when something is signed or verified, and not before.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kcompiler.verifier import signed
from kcompiler.verifier.signed import (
    Allowed,
    Signer,
    Unreadable,
    Verified,
    about,
    allowed_signers,
    fingerprint_of,
    revoked_keys,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "Allowed",
    "Signer",
    "Unreadable",
    "Verified",
    "about",
    "allowed_signers",
    "dump",
    "fingerprint_of",
    "private_key",
    "public_line",
    "revoked_keys",
    "shown",
    "sign",
    "statement",
    "verify",
]


def statement(subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """An in-toto Statement v1. `subjects` maps a name to "sha256:…" of its bytes. Raises ValueError without any."""
    made = {
        "_type": signed.STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
            for name, digest in sorted(subjects.items())
        ],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    signed.statement_of(_text(made))
    return made


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def private_key(data: bytes) -> Ed25519PrivateKey:
    """The key in an OpenSSH private key file. Raises Unreadable for any other file, one of another algorithm, and one
    that a passphrase protects."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(data, None)
    except (TypeError, UnsupportedAlgorithm):
        raise Unreadable(
            "a passphrase protects the key; write a copy without one: ssh-keygen -p -N '' -f COPY, and delete it after"
        ) from None
    except ValueError:
        raise Unreadable("not an OpenSSH private key, as `ssh-keygen -t ed25519` writes it") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Unreadable("not an Ed25519 key; make one with `ssh-keygen -t ed25519`")
    return key


def _public(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def public_line(key: Ed25519PrivateKey) -> str:
    """`ssh-ed25519 AAAA…`, as it stands in a file of allowed signers after the principals."""
    return f"{signed.KEY_KIND} {base64.b64encode(signed.blob_of(_public(key))).decode()}"


def shown(key: Ed25519PrivateKey) -> str:
    """The fingerprint of a key: what may be told of it."""
    return fingerprint_of(_public(key))


def sign(statement: Mapping[str, Any], *keys: Ed25519PrivateKey) -> dict[str, Any]:
    """The envelope of a statement, with one signature for each key. The same statement and keys give the same bytes."""
    payload = _text(statement)
    signed.statement_of(payload)
    message = signed.encoded(payload)
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": signed.PAYLOAD,
        "signatures": [
            {"keyid": fingerprint_of(_public(key)), "sig": base64.b64encode(key.sign(message)).decode()} for key in keys
        ],
    }


def dump(envelope: Mapping[str, Any]) -> str:
    """The text of an envelope as it is kept in a file."""
    return json.dumps(envelope, indent=2, sort_keys=True) + "\n"


def verify(
    envelope: Mapping[str, Any] | bytes, allowed: Sequence[Allowed], as_of: str, revoked: frozenset[str] = frozenset()
) -> Verified:
    """What an envelope says and whose signatures count at `as_of` (2026-01-31T00:00:00Z).

    `.signers` is empty where nobody's do, and `.refused` says of each other signature why not. `revoked` holds
    fingerprints. Raises Unreadable for what is no envelope, or no statement.
    """
    return signed.verify(envelope, allowed, as_of, revoked, _is_signature)


def _is_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
