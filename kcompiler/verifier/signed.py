"""DSSE envelopes over in-toto statements × the keys that somebody trusts → who signed. Standard library only.

Keys are those that people have: `ssh-ed25519 AAAA…` lines, and files of `ALLOWED SIGNERS` as `ssh-keygen` reads them
(principals, then options, then a key). Whatever is not understood there is refused, never skipped: an option may be the
one that takes a key's power away. Times are UTC. https://github.com/secure-systems-lab/dsse, https://in-toto.io/Statement/v1
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Sequence, Tuple

from kcompiler.verifier.ed25519 import is_signature
from kcompiler.verifier.reading import laid_out, strict

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
#: what a key must be allowed for, where its line says `namespaces=…`
NAMESPACE = "kcompiler"
KEY_KIND = "ssh-ed25519"
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
_LINE = re.compile(
    r'(?P<who>"[^"]+"|[^\s"]+)\s+(?:(?P<options>(?:[^\s"]|"[^"]*")+)\s+)?'
    r"(?P<kind>(?:ssh|ecdsa|sk)-[a-z0-9@.-]+)\s+(?P<key>[A-Za-z0-9+/]+=*)(?:\s.*)?\Z"
)
_OPTION = re.compile(r'(?P<name>[A-Za-z-]+)(?:="(?P<value>[^"]*)")?(?:,|\Z)')
_TIME = re.compile(r"(\d{8})(\d{4})?(\d\d)?Z?\Z")


class Unreadable(ValueError):
    """A text that is no key, no list of keys, or no envelope; the message says where and why."""


class Allowed(NamedTuple):
    """One key that may sign, for whom, and from when to when (14 digits, or "" for no end). `namespaces` are patterns;
    none allow everything."""

    who: str
    key: bytes
    after: str
    before: str
    namespaces: Tuple[str, ...]


class Signer(NamedTuple):
    """Whose signature is good: the principals as the list has them, and the key's fingerprint."""

    who: str
    fingerprint: str


class Verified(NamedTuple):
    """What an envelope says, who of those that are allowed signed it, and why other signatures count for nothing."""

    statement: Dict[str, Any]
    signers: Tuple[Signer, ...]
    refused: Tuple[str, ...]


def blob_of(key: bytes) -> bytes:
    """A public key as OpenSSH writes it, before base64."""
    name = KEY_KIND.encode()
    return len(name).to_bytes(4, "big") + name + len(key).to_bytes(4, "big") + key


def fingerprint_of(key: bytes) -> str:
    """ "SHA256:…", as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob_of(key)).digest()).decode().rstrip("=")


def _key(text: str) -> bytes:
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("the key is not base64") from None
    key = blob[-32:]
    if blob != blob_of(key):
        raise Unreadable(f"the key is no {KEY_KIND} key")
    return key


def public_key(text: str) -> bytes:
    """The 32 bytes of a line `ssh-ed25519 AAAA… comment`. Raises Unreadable."""
    parts = text.split()
    if len(parts) < 2 or parts[0] != KEY_KIND:
        raise Unreadable(f"not a line `{KEY_KIND} AAAA…`")
    return _key(parts[1])


def _lines(text: str) -> List[Tuple[int, str]]:
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip() and not line.strip().startswith("#")]


def allowed_signers(text: str, name: str) -> List[Allowed]:
    """The Ed25519 keys of an ALLOWED SIGNERS text; keys of other kinds cannot have signed an envelope of ours. `name`
    is the file's. Raises Unreadable, with the line."""
    found = []
    for number, line in _lines(text):
        match = _LINE.match(line)
        if match is None:
            raise Unreadable(f"{name}:{number}: not a line `PRINCIPALS [OPTIONS] {KEY_KIND} AAAA…`")
        try:
            if any(one.startswith("!") for one in match["who"].strip('"').split(",")):
                raise Unreadable(f"`{match['who']}` says who does not sign; name those who do")
            options = _options(match["options"] or "")
            if match["kind"] == KEY_KIND:
                spaces = tuple(options["namespaces"].split(",")) if "namespaces" in options else ()
                after, before = (_time(options.get(f"valid-{end}", "")) for end in ("after", "before"))
                found.append(Allowed(match["who"].strip('"'), _key(match["key"]), after, before, spaces))
        except Unreadable as why:
            raise Unreadable(f"{name}:{number}: {why}") from None
    if not found:
        raise Unreadable(f"{name}: no {KEY_KIND} key stands in it")
    return found


def _options(text: str) -> Dict[str, str]:
    found: Dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _OPTION.match(text, at)
        name = "" if match is None else match["name"].lower()
        if match is None or name not in ("namespaces", "valid-after", "valid-before") or match["value"] is None:
            raise Unreadable(f"option `{text[at:][:40]}` is not understood")
        if name in found or not match["value"].strip():
            raise Unreadable(f"option `{name}` says nothing, or stands twice")
        found[name] = match["value"]
        at = match.end()
    return found


def _time(text: str) -> str:
    match = _TIME.match(text)
    if text and match is None:
        raise Unreadable(f"`{text}` is no time YYYYMMDD[HHMM[SS]]")
    return "" if match is None else match[1] + (match[2] or "0000") + (match[3] or "00")


def revoked_keys(text: str, name: str) -> FrozenSet[str]:
    """Fingerprints of a revocation list: a line `SHA256:…`, or a public key, for each. Raises Unreadable."""
    found = set()
    for number, line in _lines(text):
        if re.match(r"SHA256:[A-Za-z0-9+/]{43}(\s|\Z)", line):
            found.add(line.split()[0])
            continue
        try:
            found.add(fingerprint_of(public_key(line)))
        except Unreadable as why:
            raise Unreadable(f"{name}:{number}: {why}") from None
    return frozenset(found)


def encoded(payload: bytes, kind: str = PAYLOAD) -> bytes:
    """What is signed: the pre-authentication encoding of DSSE v1."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def opened(envelope: Any) -> Tuple[bytes, List[bytes]]:
    """(payload, signatures) of an envelope of ours, as bytes or parsed. Raises Unreadable."""
    try:
        found = strict(envelope) if isinstance(envelope, (bytes, str)) else envelope
        if not isinstance(found, dict) or found.get("payloadType") != PAYLOAD:
            raise Unreadable(f"not a DSSE envelope of payload type {PAYLOAD}")
        signatures = [base64.b64decode(one["sig"], validate=True) for one in found["signatures"]]
        return base64.b64decode(found["payload"], validate=True), signatures
    except Unreadable:
        raise
    except (ValueError, LookupError, TypeError) as why:
        raise Unreadable(f"not a DSSE envelope: {why}") from None


def statement_of(payload: bytes) -> Dict[str, Any]:
    """The in-toto statement in a payload. Raises Unreadable."""
    try:
        found = strict(payload)
    except ValueError as why:
        raise Unreadable(f"the payload is not strict JSON: {why}") from None
    if not isinstance(found, dict) or found.get("_type") != STATEMENT:
        raise Unreadable(f"the payload is no statement of type {STATEMENT}")
    subjects = found.get("subject")
    if not isinstance(subjects, list) or not subjects or not all(map(_is_subject, subjects)):
        raise Unreadable("the statement names nothing that it is about by its sha256")
    if not isinstance(found.get("predicateType"), str) or not isinstance(found.get("predicate"), dict):
        raise Unreadable("the statement has no predicate with a type")
    return found


def _is_subject(one: Any) -> bool:
    digest = one.get("digest") if isinstance(one, dict) else None
    return isinstance(digest, dict) and bool(_HEX.match(str(digest.get("sha256"))))


def verify(
    envelope: Any,
    allowed: Sequence[Allowed],
    as_of: str,
    revoked: FrozenSet[str] = frozenset(),
    check: Callable[[bytes, bytes, bytes], bool] = is_signature,
) -> Verified:
    """Whose signatures on an envelope count at `as_of` (2026-01-31T00:00:00Z). One key counts once, however often it
    stands there. `check(key, message, signature)` decides about one. Raises Unreadable for what is no envelope or no
    statement; ValueError for an `as_of` that is no time."""
    if not _MOMENT.match(as_of):
        raise ValueError(f"as_of {as_of!r} is not a UTC time such as 2026-01-31T00:00:00Z")
    payload, signatures = opened(envelope)
    statement, message = statement_of(payload), encoded(payload)
    signers: Dict[str, Signer] = {}
    refused = [] if signatures else ["nobody signed it"]
    for number, signature in enumerate(signatures, start=1):
        mine = [one for one in allowed if check(one.key, message, signature)]
        why = [_barred(one, re.sub(r"\D", "", as_of), revoked) for one in mine]
        good = [one for one, barred in zip(mine, why) if not barred]
        if good:
            signers[fingerprint_of(good[0].key)] = Signer(good[0].who, fingerprint_of(good[0].key))
        else:
            refused.append(f"signature {number}: " + (why[0] if why else "not by a key that is allowed"))
    return Verified(statement, tuple(signers.values()), tuple(refused))


def exact(envelope: bytes, keys: Iterable[str]) -> Tuple[Dict[str, Any], Tuple[str, ...]]:
    """What an envelope says, and the keys (lines `ssh-ed25519 AAAA…`) that signed it, of which each is one of these:
    then every byte of its text is theirs. Raises Unreadable for any other text."""
    allowed = []
    for key in sorted(keys):
        try:
            allowed.append(Allowed(key, public_key(key), "", "", ()))
        except Unreadable:
            continue  # nobody signs with what is no key
    found = verify(envelope, allowed, "1970-01-01T00:00:00Z")
    if found.refused:
        raise Unreadable(found.refused[0])
    payload, signatures = opened(envelope)
    names = [one.fingerprint for one in found.signers]
    if len(names) != len(signatures):
        raise Unreadable("one key signed it twice")
    told = [{"keyid": name, "sig": base64.b64encode(sig).decode()} for name, sig in zip(names, signatures)]
    again = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD, "signatures": told}
    if laid_out(again) != envelope:
        raise Unreadable("it holds more than what was signed, or in another layout than kcompiler's")
    return found.statement, tuple(one.who for one in found.signers)


def _barred(one: Allowed, moment: str, revoked: FrozenSet[str]) -> str:
    """Why a key may not sign at a moment of 14 digits, or ""."""
    name = f"the key {fingerprint_of(one.key)} of {one.who}"
    if fingerprint_of(one.key) in revoked:
        return f"{name} is revoked"
    if one.after and moment < one.after:
        return f"{name} is valid from {one.after} on"
    if one.before and moment >= one.before:
        return f"{name} was valid until {one.before}"
    if one.namespaces and not _listed(NAMESPACE, one.namespaces):
        return f"{name} is not for namespace `{NAMESPACE}`"
    return ""


def _listed(name: str, patterns: Sequence[str]) -> bool:
    """Whether a list of patterns has a name, as OpenSSH reads one: some pattern fits, and none that begins with `!`
    does. `*` stands for any characters, `?` for one, every other character for itself."""
    fits = [one for one in patterns if re.fullmatch(_pattern(one[1:] if one.startswith("!") else one), name)]
    return bool(fits) and not any(one.startswith("!") for one in fits)


def _pattern(text: str) -> str:
    words = {"*": ".*", "?": "."}
    return "".join(words.get(one) or re.escape(one) for one in re.sub(r"[*]+", "*", text))


def living(approvers: Mapping[str, str], until: Mapping[str, str], as_of: str) -> Dict[str, str]:
    """Those of the approvers of a pack (name → key) whose key has not ended at a time. `until` is the day (UTC) from
    whose first second on what a key signed counts no more. It is compared with the time that is asked about: an
    envelope says by its signer's own word when it was made, and nobody else says it."""
    return {name: key for name, key in approvers.items() if until.get(name, "~") > as_of[:10]}


def about(statement: Mapping[str, Any], name: str) -> str:
    """The sha256 that a statement says of the subject of this name; "" where it says none."""
    return next((str(one["digest"]["sha256"]) for one in statement["subject"] if one.get("name") == name), "")
