"""Facts × keys → model signatures of the OpenSSF kind: one statement a model, over the digests of its files.

The content is that of `model_signing` v1.0 (https://github.com/sigstore/model-transparency), in a Sigstore bundle whose
envelope is signed with Ed25519. That package reads it and compares the files; its own check of keys knows elliptic
curves only, so that the signature is checked by any DSSE library, or by `kcompiler audit`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kcompiler import dsse
from kcompiler.export.facts import MODELS, Facts
from runtime.contract import strict_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREDICATE = "https://model_signing/signature/v1.0"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_FOLDER = ".mlpackage"


def models(facts: Facts, keys: Sequence[Ed25519PrivateKey]) -> dict[str, dict[str, Any]]:
    """Name of a model → its signature, or without keys the statement that nobody signed."""
    found = {}
    for place, artifact in facts.artifacts(*MODELS).items():
        for folder, entries in _folders(facts.trees[artifact]).items():
            name = ".".join(part for part in (*place.split("/"), folder) if part)
            statement = manifest(folder or place.replace("/", "."), entries)
            found[name] = statement if not keys else _bundle(statement, keys)
    return found


def _folders(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Each Core ML package in an artifact by itself, as it is delivered; any other artifact as a whole, under ""."""
    found: dict[str, dict[str, str]] = {}
    packages = {one["path"].partition("/")[0] for one in entries if one["path"].partition("/")[0].endswith(_FOLDER)}
    for one in entries:
        top, _, rest = str(one["path"]).partition("/")
        if not packages:
            found.setdefault("", {})[str(one["path"])] = one["digest"]
        elif top in packages and rest:
            found.setdefault(top, {})[rest] = one["digest"]
    return found


def manifest(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """The statement about a folder of this name: path in it → "sha256:…"."""
    pins = {path: pin.removeprefix("sha256:") for path, pin in sorted(files.items())}
    root = hashlib.sha256(b"".join(map(bytes.fromhex, pins.values()))).hexdigest()
    resources = [{"name": path, "algorithm": "sha256", "digest": pin} for path, pin in pins.items()]
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}
    return dsse.statement({name: root}, PREDICATE, {"serialization": serialization, "resources": resources})


def _bundle(statement: Mapping[str, Any], keys: Sequence[Ed25519PrivateKey]) -> dict[str, Any]:
    """A Sigstore bundle holds the signature of one key: the first."""
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": dsse.shown(keys[0])}, "tlogEntries": []},
        "dsseEnvelope": dsse.sign(statement, keys[0]),
    }


def envelope_of(data: bytes) -> Any:
    """The DSSE envelope in a file of an export: the file, or the part of a Sigstore bundle. Raises dsse.Unreadable."""
    try:
        found: Any = strict_json.loads(data)
    except ValueError as why:
        raise dsse.Unreadable(f"not a DSSE envelope: {why}") from None
    return found.get("dsseEnvelope", found) if isinstance(found, dict) else found
