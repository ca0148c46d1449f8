"""Envelopes, keys and lists of keys: who signed what, and everything that is no signature."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from kcompiler import dsse
from kcompiler.verifier import signed

NOW = "2026-06-15T12:00:00Z"
ALICE, BOB = (ed25519.Ed25519PrivateKey.from_private_bytes(bytes([one]) * 32) for one in (1, 2))
STATEMENT = dsse.statement({"plan.lock": "sha256:" + "ab" * 32}, "https://example.com/approval/v1", {"says": "ja"})


def listed(*keys: Any, options: str = "", who: str = "alice@example.com") -> list[dsse.Allowed]:
    lines = [f"{who} {options} {dsse.public_line(key)} a comment" for key in keys]
    return dsse.allowed_signers("\n".join(["# who may", "", *lines]), "allowed")


def test_an_envelope_says_who_signed_what() -> None:
    envelope = dsse.sign(STATEMENT, ALICE, BOB)
    both = [*listed(ALICE), *listed(BOB, who="bob")]
    for given in (envelope, dsse.dump(envelope).encode()):
        found = dsse.verify(given, both, NOW)
        assert found.statement == STATEMENT
        assert [one.who for one in found.signers] == ["alice@example.com", "bob"]
        assert found.refused == ()
    assert dsse.about(found.statement, "plan.lock") == "ab" * 32
    assert dsse.about(found.statement, "other") == ""


def test_the_same_statement_and_key_give_the_same_bytes() -> None:
    again = {key: STATEMENT[key] for key in reversed(STATEMENT)}
    assert dsse.dump(dsse.sign(STATEMENT, ALICE)) == dsse.dump(dsse.sign(again, ALICE))


def test_a_key_that_is_not_allowed_counts_for_nothing() -> None:
    found = dsse.verify(dsse.sign(STATEMENT, BOB), listed(ALICE), NOW)
    assert found.signers == ()
    assert found.refused == ("signature 1: not by a key that is allowed",)


def test_one_key_counts_once() -> None:
    assert len(dsse.verify(dsse.sign(STATEMENT, ALICE, ALICE), listed(ALICE, ALICE), NOW).signers) == 1


def test_nobody_signed_is_no_signature() -> None:
    found = dsse.verify(dsse.sign(STATEMENT), listed(ALICE), NOW)
    assert (found.signers, found.refused) == ((), ("nobody signed it",))


def test_a_key_id_decides_nothing() -> None:
    """It is not signed: whoever writes it may write another's."""
    envelope = dsse.sign(STATEMENT, BOB)
    envelope["signatures"][0]["keyid"] = dsse.fingerprint_of(listed(ALICE)[0].key)
    assert dsse.verify(envelope, listed(ALICE), NOW).signers == ()


@pytest.mark.parametrize(
    ("options", "as_of", "why"),
    [
        ('valid-before="20260615"', NOW, "was valid until 20260615000000"),
        ('valid-before="20260615115959Z"', NOW, "was valid until 20260615115959"),
        ('valid-after="20260616"', NOW, "is valid from 20260616000000 on"),
        ('namespaces="git"', NOW, "is not for namespace `kcompiler`"),
    ],
)
def test_a_key_out_of_its_time_or_place_does_not_sign(options: str, as_of: str, why: str) -> None:
    found = dsse.verify(dsse.sign(STATEMENT, ALICE), listed(ALICE, options=options), as_of)
    assert found.signers == ()
    assert why in found.refused[0]


@pytest.mark.parametrize(
    "options", ['valid-before="20260616"', 'valid-after="20260615120000"', 'namespaces="git,kcompiler"', ""]
)
def test_a_key_in_its_time_and_place_does(options: str) -> None:
    assert len(dsse.verify(dsse.sign(STATEMENT, ALICE), listed(ALICE, options=options), NOW).signers) == 1


#: a list of namespaces → whether a key with it may sign for `kcompiler`
NAMESPACES = {
    "*": True,
    "kcompiler": True,
    "git,kcompiler": True,
    "git,*": True,
    "kcomp*": True,
    "k?ompiler": True,
    "*compiler*": True,
    "k*r,git": True,
    "k**r": True,
    "*,!git": True,
    "git": False,
    "Kcompiler": False,
    "kcompile?r": False,
    "kcompiler?": False,
    "*,!kcompiler": False,
    "!kcompiler,*": False,
    "!k*,*": False,
    "!git": False,
    "k.*": False,
    "[k]compiler": False,
    "git, kcompiler": False,
    "git,,x": False,
}


@pytest.mark.parametrize("spaces", NAMESPACES)
def test_namespaces_are_patterns(spaces: str) -> None:
    found = dsse.verify(dsse.sign(STATEMENT, ALICE), listed(ALICE, options=f'namespaces="{spaces}"'), NOW)
    assert (len(found.signers) == 1) is NAMESPACES[spaces]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not here")
def test_ssh_keygen_reads_the_same_patterns(tmp_path: Path) -> None:
    """The keys and the file are those that ssh-keygen has, so it must not read a line otherwise."""
    key, text, allowed = tmp_path / "key", tmp_path / "text", tmp_path / "allowed"
    text.write_text("said\n")
    asked = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
    assert subprocess.run(asked, check=False).returncode == 0
    signing = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "kcompiler", str(text)]
    assert subprocess.run(signing, check=False, capture_output=True).returncode == 0
    said = {}
    for spaces in NAMESPACES:
        allowed.write_text(f'alice namespaces="{spaces}" {key.with_suffix(".pub").read_text()}')
        names = ["-f", str(allowed), "-I", "alice", "-n", "kcompiler", "-s", str(tmp_path / "text.sig")]
        with text.open("rb") as given:
            run = subprocess.run(["ssh-keygen", "-Y", "verify", *names], stdin=given, check=False, capture_output=True)
        said[spaces] = run.returncode == 0
    assert said == NAMESPACES


@pytest.mark.parametrize("form", ["fingerprint", "key"])
def test_a_revoked_key_does_not_sign(form: str) -> None:
    line = dsse.fingerprint_of(listed(ALICE)[0].key) if form == "fingerprint" else dsse.public_line(ALICE) + " lost"
    revoked = dsse.revoked_keys(f"# lost in May\n{line}\n", "revoked")
    found = dsse.verify(dsse.sign(STATEMENT, ALICE, BOB), listed(ALICE, BOB), NOW, revoked)
    assert [one.fingerprint for one in found.signers] == [dsse.fingerprint_of(listed(BOB)[0].key)]
    assert "is revoked" in found.refused[0]


def test_every_changed_byte_of_payload_and_signature_is_noticed() -> None:
    envelope = dsse.sign(STATEMENT, ALICE)
    for name in ("payload", "sig"):
        text = envelope["payload"] if name == "payload" else envelope["signatures"][0]["sig"]
        raw = base64.b64decode(text)
        for at in range(0, len(raw), 7):
            spoilt = bytearray(raw)
            spoilt[at] ^= 1
            other = base64.b64encode(bytes(spoilt)).decode()
            changed = (
                {**envelope, "payload": other} if name == "payload" else {**envelope, "signatures": [{"sig": other}]}
            )
            try:
                assert dsse.verify(changed, listed(ALICE), NOW).signers == ()
            except dsse.Unreadable:
                assert name == "payload"


def test_the_payload_type_is_signed() -> None:
    """Text that was signed as something else is no statement of ours."""
    payload = base64.b64decode(dsse.sign(STATEMENT)["payload"])
    other = ALICE.sign(signed.encoded(payload, "text/plain"))
    envelope = {**dsse.sign(STATEMENT), "signatures": [{"sig": base64.b64encode(other).decode()}]}
    assert dsse.verify(envelope, listed(ALICE), NOW).signers == ()


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"[]",
        b"{",
        b'{"payload": 1}',
        b'{"payloadType": "text/plain", "payload": "", "signatures": []}',
        json.dumps({"payloadType": signed.PAYLOAD, "payload": "%%", "signatures": []}).encode(),
        json.dumps({"payloadType": signed.PAYLOAD, "payload": "e30=", "signatures": []}).encode(),
        json.dumps({"payloadType": signed.PAYLOAD, "payload": "e30=", "signatures": [{}]}).encode(),
        json.dumps({"payloadType": signed.PAYLOAD, "payload": "e30=", "signatures": 3}).encode(),
    ],
)
def test_what_is_no_envelope_is_unreadable(spoilt: bytes) -> None:
    with pytest.raises(dsse.Unreadable):
        dsse.verify(spoilt, listed(ALICE), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"subject": [{"name": "x", "digest": {"sha256": "AB"}}]},
        {"subject": [{"name": "x", "digest": {"md5": "00"}}]},
        {"predicateType": 3},
        {"predicate": []},
    ],
)
def test_what_is_no_statement_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(dsse.Unreadable):
        dsse.sign({**STATEMENT, **change}, ALICE)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("alice", "not a line"),
        ("alice ssh-ed25519 !!!!", "not a line"),
        ("alice ssh-ed25519 AAAA", "no ssh-ed25519 key"),
        ("!alice ssh-ed25519 {key}", "says who does not sign"),
        ("*,!alice ssh-ed25519 {key}", "says who does not sign"),
        ("alice cert-authority ssh-ed25519 {key}", "option `cert-authority` is not understood"),
        ('alice touch-required,namespaces="kcompiler" ssh-ed25519 {key}', "is not understood"),
        ('alice valid-before="soon" ssh-ed25519 {key}', "no time"),
        ('alice valid-before="" ssh-ed25519 {key}', "says nothing"),
        ('alice namespaces="a",namespaces="b" ssh-ed25519 {key}', "stands twice"),
        ("# nobody", "no ssh-ed25519 key stands in it"),
        ("alice ssh-rsa AAAAB3NzaC1yc2E=", "no ssh-ed25519 key stands in it"),
    ],
)
def test_a_line_that_is_not_understood_is_refused_with_its_place(line: str, why: str) -> None:
    """An option that is skipped may be the one that takes the key's power away."""
    key = dsse.public_line(ALICE).split()[1]
    with pytest.raises(dsse.Unreadable, match="allowed") as raised:
        dsse.allowed_signers(line.format(key=key), "allowed")
    assert why in str(raised.value)


def test_a_revocation_that_is_no_key_is_refused() -> None:
    with pytest.raises(dsse.Unreadable, match="revoked:2"):
        dsse.revoked_keys("# these\nalice\n", "revoked")


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        dsse.verify(dsse.sign(STATEMENT, ALICE), listed(ALICE), "2026-06-15")


def pem(key: Any, encryption: Any = None) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption or NoEncryption()))


def test_private_keys_are_those_of_openssh() -> None:
    assert dsse.public_line(dsse.private_key(pem(ALICE))) == dsse.public_line(ALICE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not an OpenSSH private key"),
        (b"ssh-ed25519 AAAA", "not an OpenSSH private key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "not an Ed25519 key"),
    ],
)
def test_other_private_keys_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(dsse.Unreadable, match=why):
        dsse.private_key(data)


def test_a_key_that_a_passphrase_protects_is_refused_with_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("bcrypt", reason="writes such a key")
    with pytest.raises(dsse.Unreadable, match="ssh-keygen -p"):
        dsse.private_key(pem(ALICE, BestAvailableEncryption(b"secret")))


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
def test_a_key_of_ssh_keygen_signs_and_its_fingerprint_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    shown = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout
    public = (tmp_path / "key.pub").read_text(encoding="utf-8")
    allowed = dsse.allowed_signers(f"me@example.com {public}", "allowed")
    (signer,) = dsse.verify(dsse.sign(STATEMENT, dsse.private_key(file.read_bytes())), allowed, NOW).signers
    assert signer.fingerprint in shown
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "long enough", "-f", str(file)], check=True)
    with pytest.raises(dsse.Unreadable, match="ssh-keygen -p"):
        dsse.private_key(file.read_bytes())
