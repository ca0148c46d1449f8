"""Envelopes signed by people × a waiver × the keys that its rules' packs allow → whose approvals of it are good.

`waivers/<id>/<who>.dsse.json` is one person's approval: a DSSE envelope over an in-toto statement about the waiver's
file, whose predicate pins what the waiver says. Whoever edits the waiver has it approved again; that it was revoked
since changes nothing of what was approved. A person is a key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kcompiler import dsse
from kcompiler.verifier import signed
from kcompiler.verifier.approvals import END
from kcompiler.verifier.waivers import PREDICATE
from kcompiler.waiver.file import Waiver
from runtime import digest

__all__ = ["END", "PREDICATE", "Approved", "Refused", "read", "statement"]

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
#: no key of a pack ends by itself: the time at which an envelope is read decides nothing
_ANY = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Approved:
    """A good signature under the waiver as it is: the key (`ssh-ed25519 AAAA…`), when by its own word, the file."""

    key: str
    on: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A file whose signature counts for nobody, and why."""

    file: str
    why: str


def statement(waiver: Waiver, data: bytes, who: str, on: str) -> dict[str, Any]:
    """What `who` signs about the waiver whose file's bytes are `data`."""
    said = {"id": waiver.id, "waiver": pin(waiver), "reviewer": who, "decision": "approve", "on": on}
    return dsse.statement({f"{waiver.id}.yaml": digest.of_bytes(data)}, PREDICATE, said)


def pin(waiver: Waiver) -> str:
    """ "sha256:…" of what is approved: all that the waiver means, less its revocation."""
    return digest.of_value({key: value for key, value in waiver.meaning.items() if key != "revoked"}, "kc.waiver.v1")


def read(
    waiver: Waiver, envelopes: Mapping[str, bytes], keys: Collection[str], dead: frozenset[str] = frozenset()
) -> tuple[list[Approved], list[Refused]]:
    """The approvals in `envelopes` (file name → bytes) by one of the `keys`, oldest first, and why others are none;
    `dead` are fingerprints of keys that no longer count."""
    good: list[Approved] = []
    refused: list[Refused] = []
    allowed: list[dsse.Allowed] = []
    for key in sorted(keys):
        try:
            allowed.append(dsse.Allowed(key, signed.public_key(key), "", "", ()))
        except dsse.Unreadable as why:
            refused.append(Refused(file="", why=f"{key}: {why}"))
    for file, data in sorted(envelopes.items()):
        try:
            found = dsse.verify(data, allowed, _ANY, dead)
            said = found.statement["predicate"]
            if found.statement["predicateType"] != PREDICATE or said.get("decision") != "approve":
                raise dsse.Unreadable("it is no approval of a waiver")
            on = str(said["on"])
            if not _MOMENT.fullmatch(on):
                raise dsse.Unreadable("it does not say when")
            if said["waiver"] != pin(waiver):
                raise dsse.Unreadable("what it approves is not what the waiver says now")
        except (dsse.Unreadable, LookupError, TypeError, AttributeError) as why:
            refused.append(Refused(file=file, why=str(why)))
            continue
        refused += [Refused(file=file, why=why) for why in found.refused]
        good += [Approved(key=one.who, on=on, file=file) for one in found.signers]
    return sorted(good, key=lambda one: (one.on, one.key, one.file)), refused
