"""The bytes of a bundle × what somebody trusts → its files, and who vouches for them. Standard library only."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from kcompiler.verifier import signed
from kcompiler.verifier.reading import digest_of_bytes, laid_out, strict
from kcompiler.verifier.zipped import BadZip, unpack

#: how the files of a bundle are laid out; another number is another layout, which nobody who reads this one can judge
FORMAT = "kcompiler-bundle/3"
_FORMAT = re.compile(r"kcompiler-bundle/([1-9][0-9]{0,8})\Z")
_KEYS = {"files", "format", "head", "name", "plan", "verdict"}
MANIFEST, SIGNATURES, SCHEMAS, PACKS = "manifest.json", "signatures/", "schemas/", "packs/"
VERIFIER, JOURNAL = "verify.py", ".kcompiler/journal.jsonl"
#: in place of a name, where the head that is known from elsewhere vouches
_HEAD = "journal head "
#: predicate of the statement that vouches for a bundle: its subject is manifest.json
PREDICATE = "https://kcompiler.dev/evidence/v1"


_NUMBERED = re.compile(re.escape(SIGNATURES) + r"[1-9][0-9]{0,3}\.dsse\.json\Z")
_ENVELOPE = {"payload", "payloadType", "signatures"}


class Trust(NamedTuple):
    """What whoever asks knows from elsewhere: keys, and the hash of the journal's newest line."""

    allowed: Tuple[signed.Allowed, ...] = ()
    revoked: FrozenSet[str] = frozenset()
    head: str = ""
    as_of: str = "1970-01-01T00:00:00Z"


class OtherFormat(ValueError):
    """A bundle of another version; the message says what it is and what to do."""


def opened(data: bytes) -> Tuple[Dict[str, bytes], Dict[str, Any]]:
    """The files of a bundle and its manifest. Raises BadZip for what is no bundle, OtherFormat for one of another
    layout."""
    files = unpack(data)
    try:
        manifest = strict(files[MANIFEST])
        other = _FORMAT.match(str(manifest["format"]))
        if other and manifest["format"] != FORMAT:
            raise OtherFormat(_other(int(other.group(1))))
        if manifest["format"] != FORMAT or not all(isinstance(manifest[key], str) for key in ("name", "plan", "head")):
            raise ValueError(f"{MANIFEST} is not of format {FORMAT}")
        if manifest.keys() != _KEYS:
            raise ValueError(f"{MANIFEST} has other keys than {', '.join(sorted(_KEYS))}")
        if re.search(r"[/\\\0]", manifest["name"]) or manifest["name"] in ("", ".", ".."):
            raise ValueError(f"{MANIFEST} names no folder of generated/")
        if not all(isinstance(one, str) for one in manifest["files"].values()):
            raise ValueError(f"{MANIFEST} does not state digests")
        if laid_out(manifest) != files[MANIFEST]:
            raise ValueError("its layout is not kcompiler's")
    except OtherFormat:
        raise
    except KeyError as why:
        raise BadZip(f"it has no {why}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        raise BadZip(f"{MANIFEST} cannot be read: {why}") from None
    return files, manifest


def _other(number: int) -> str:
    """What a bundle of another layout is, and what to do with it."""
    mine = int(FORMAT.rpartition("/")[2])
    said = f"its format is {FORMAT.rpartition('/')[0]}/{number}, and this verifier reads {FORMAT}: "
    if number < mine:
        return f"{said}an older version made it, whose files nobody accounts for byte by byte. {_AGAIN}"
    return f"{said}a newer version made it. Ask that version, or one after it"


_AGAIN = (
    "Nothing in it was judged. Let whoever has the project make it again (`kcompiler audit SPEC --bundle FILE`), or "
    "ask the version that made it"
)


#: what is wrong: with the files, a signature or the head; with which of them; and how
Wrong = Tuple[str, str, str]


def vouched(files: Mapping[str, bytes], manifest: Mapping[str, Any], trust: Trust) -> Tuple[List[str], List[Wrong]]:
    """Who vouches for a bundle, and what is not as the manifest, the signatures or the head that is known say."""
    names: List[str] = []
    found: List[Wrong] = [("files", *one) for one in _unlisted(files, manifest["files"])]
    mine = digest_of_bytes(files[MANIFEST])
    for name in sorted(name for name in files if name.startswith(SIGNATURES)):
        try:
            one = signed.verify(files[name], trust.allowed, trust.as_of, trust.revoked)
            if not _NUMBERED.match(name) or not _plainly(files[name]):
                raise signed.Unreadable("it has another name or layout than kcompiler gives it, or holds no signature")
        except signed.Unreadable as why:
            found.append(("signature", name, str(why)))
            continue
        if one.statement["predicateType"] != PREDICATE or f"sha256:{signed.about(one.statement, MANIFEST)}" != mine:
            found.append(("signature", name, "it is the signature of something else than this manifest"))
        elif trust.allowed and not one.signers:
            found.append(("signature", name, "; ".join(one.refused)))
        else:
            names += [f"{signer.who} {signer.fingerprint}" for signer in one.signers]
    if trust.head and trust.head != manifest["head"]:
        found.append(("head", JOURNAL, f"its newest line is {manifest['head']}, and not {trust.head}"))
    elif trust.head:
        names.append(_HEAD + trust.head)
    return list(dict.fromkeys(names)), found


def claims(manifest: Mapping[str, Any], holds: Mapping[str, Any]) -> Iterator[str]:
    """What a manifest says of the evidence, and the evidence `holds` another."""
    for key, value in holds.items():
        if manifest.get(key) != value:
            yield f"it says that `{key}` is {_short(manifest.get(key))}, and the evidence has {_short(value)}"


def _short(value: Any) -> str:
    return str(value)[:80]


def verifier(files: Mapping[str, bytes], names: Sequence[str], own: bytes) -> Iterator[Tuple[str, str, str]]:
    """Where the verifier in a bundle is another than the one that is asked, `own`; b"" where nobody knows that. One of
    another version is good where somebody whose key is trusted signed it: whom the bundle is of, by `names`."""
    if VERIFIER not in files:
        yield "disagreement", VERIFIER, "it belongs to the bundle, and is gone"
        return
    if not own or files[VERIFIER] == own.replace(b"\r\n", b"\n"):
        return
    message = "it is another verifier than the one that is asked: what it says of this bundle is not this answer"
    if any(not name.startswith(_HEAD) for name in names):
        yield "note", VERIFIER, f"{message}; whoever signed the bundle vouches for it"
    else:
        yield "disagreement", VERIFIER, message


def _plainly(data: bytes) -> bool:
    """Whether an envelope holds signatures, what was signed and nothing else, and is laid out as kcompiler does."""
    said = strict(data)
    signatures = said["signatures"]
    parts = [one.keys() == {"keyid", "sig"} for one in signatures]
    return bool(signatures) and all(parts) and said.keys() == _ENVELOPE and laid_out(said) == data


def _unlisted(files: Mapping[str, bytes], listed: Mapping[str, str]) -> Iterator[Tuple[str, str]]:
    there = {name for name in files if name != MANIFEST and not name.startswith(SIGNATURES)}
    for name in sorted(there ^ listed.keys()):
        yield name, "it is in the manifest and gone" if name in listed else "the manifest does not name it"
    for name in sorted(there & listed.keys()):
        if digest_of_bytes(files[name]) != f"sha256:{listed[name]}":
            yield name, "it does not have the digest that the manifest states"


def trusted(key: str, revoked: str, head: str, as_of: str, names: Tuple[str, str]) -> Trust:
    """What somebody trusts, from the texts of two files of these names, "" for none. Raises ValueError."""
    as_of = as_of or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if re.match(r"\d{4}-\d\d-\d\d\Z", as_of):
        as_of += "T00:00:00Z"
    try:
        datetime.strptime(as_of, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise ValueError(f"--as-of {as_of!r} is not a UTC time such as 2026-01-31T00:00:00Z") from None
    if head and not re.match(r"(sha256:)?[0-9a-f]{64}\Z", head):
        raise ValueError(f"--head {head!r} is not 64 hexadecimal digits")
    if revoked and not key:
        raise ValueError("revoked keys without --key: of signatures that nobody is asked about")
    allowed = signed.allowed_signers(key, names[0]) if key else []
    dead = signed.revoked_keys(revoked, names[1]) if revoked else frozenset()
    return Trust(tuple(allowed), dead, f"sha256:{head[-64:]}" if head else "", as_of)
