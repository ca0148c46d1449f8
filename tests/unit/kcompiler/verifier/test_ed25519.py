"""Signatures by the definition: RFC 8032's own, and everything that `cryptography` says of random and damaged ones."""

from __future__ import annotations

import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kcompiler.verifier.ed25519 import is_signature

#: RFC 8032, 7.1: secret key, public key, message, signature
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493


def known(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(secret: str, public: str, message: str, signature: str) -> None:
    key, text, made = (bytes.fromhex(one) for one in (public, message, signature))
    assert Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).sign(text) == made
    assert is_signature(key, text, made)
    assert not is_signature(key, text + b"\0", made)
    for at in (0, 31, 32, 63):
        spoilt = bytearray(made)
        spoilt[at] ^= 1
        assert not is_signature(key, text, bytes(spoilt))
        spoilt = bytearray(key)
        spoilt[at % 32] ^= 1
        assert not is_signature(bytes(spoilt), text, made)


def test_random_and_damaged_signatures_as_cryptography_has_them() -> None:
    rng = random.Random(8032)
    for _ in range(12):
        key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), rng.randbytes(rng.randrange(80))
        signature = key.sign(message)
        assert is_signature(public, message, signature)
        whole = [public, message or b"\0", signature]
        part = rng.randrange(3)
        spoilt = bytearray(whole[part])
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        whole[part] = bytes(spoilt)
        assert is_signature(*whole) is known(*whole) is False


def test_a_second_form_of_one_signature_is_refused() -> None:
    """S + L verifies by the equation alone: RFC 8032 forbids it, so that nobody can make a signature anew."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"once")
    again = signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    assert is_signature(public, b"once", signature)
    assert not is_signature(public, b"once", again)
    assert not known(public, b"once", again)


@pytest.mark.parametrize(
    "key", [b"", bytes(31), bytes(33), b"\xff" * 32, (2**255 - 19).to_bytes(32, "little"), b"\x02" + bytes(31)]
)
def test_what_is_no_point_is_no_key(key: bytes) -> None:
    assert not is_signature(key, b"", bytes(64))


def test_a_signature_of_another_length_is_none() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"")
    assert not is_signature(public, b"", signature[:63])
    assert not is_signature(public, b"", signature + b"\0")
