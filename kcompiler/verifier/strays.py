"""The files of a bundle × its lock and its journal → each that nothing accounts for. Standard library only.

Packs are looked at where they are read (`texts`), reports beside the lines that gave them, signatures by themselves.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Dict, Iterator, Mapping, Set, Tuple

from kcompiler.verifier import ledger
from kcompiler.verifier.approvals import END, PREDICATE
from kcompiler.verifier.reading import digest_of_files, strict
from kcompiler.verifier.records import Finding
from kcompiler.verifier.sealed import JOURNAL, MANIFEST, PACKS, SCHEMAS, SIGNATURES, VERIFIER

HEAD, STORE, PURSE = ".kcompiler/head", ".kcompiler/store/", ".kcompiler/paid/spend.jsonl"
POLICIES, WAIVERS = "policies/", "waivers/"
#: of a waiver: its text, what it means, its signatures
_OF_WAIVER = re.compile(r"(?P<id>[^/]+?)(\.yaml|\.json|/[^/]+" + re.escape(END) + r")\Z")
_STORED = re.compile(
    re.escape(STORE) + r"(?P<scheme>[^/]+)/(?P<start>[^/]{2})/(?P<text>(?P=start)[^/]*)/(?P<file>.+)\Z",
)
_NO_PLACE = "nothing in the lock or the journal accounts for this file"
Files = Mapping[str, bytes]


def found(files: Files, plan: Mapping[str, Any], folder: str) -> Iterator[Finding]:
    """Each file of the bundle of what is generated in `folder` that is none of it."""
    evidence = f"{folder}/evidence/"
    known = {MANIFEST, VERIFIER, JOURNAL, HEAD, PURSE, f"{folder}/plan.lock", *(one["path"] for one in plan["sources"])}
    known |= {f"{evidence}{name}" for name in ("journal.jsonl", "run.json", "verdict.json")}
    known |= {f"{SCHEMAS}{one['id']}.schema.json" for one in plan["schemas"]}
    named = None
    for path in sorted(files.keys() - known):
        if path.startswith((SIGNATURES, PACKS, POLICIES, STORE)):
            continue
        place = next((one for one in (WAIVERS, f"{evidence}waivers/") if path.startswith(one)), "")
        if place:
            named = waivers_of(files, plan) if named is None else named
            match = _OF_WAIVER.match(path[len(place) :])
            good = match is not None and match["id"] in named
        elif path.startswith(f"{folder}/approvals/"):
            rest = path[len(f"{folder}/approvals/") :]
            good = rest.endswith(END) and "/" not in rest and approves(files[path])
        else:
            good = path.startswith(f"{evidence}reports/")
        if not good:
            yield "disagreement", path, _NO_PLACE
    paid = files.get(PURSE, b"")
    if ledger.bought(paid, "", paid.count(b"\n")) is None:
        yield "disagreement", PURSE, "it is no record of what was bought"
    yield from _stored(files, files.get(f"{evidence}journal.jsonl", b""))


def approves(data: bytes) -> bool:
    """Whether a file is an envelope with an approval of a lock, of this one or an earlier, by whomever."""
    try:
        said = strict(base64.b64decode(strict(data)["payload"]))
        return bool(said["predicateType"] == PREDICATE)
    except (ValueError, LookupError, TypeError):
        return False


def waivers_of(files: Files, plan: Mapping[str, Any]) -> Set[str]:
    """The waivers that the lock names, and those that the journal tells of."""
    found = {str(one["id"]) for one in plan.get("waivers", ())}
    for line in files.get(JOURNAL, b"").splitlines():
        if b'"type":"waiver_' in line:
            try:
                found.add(str(strict(line)["data"]["waiver"]))
            except (ValueError, LookupError, TypeError):
                continue  # the chain is broken there, which is told
    return found


def _stored(files: Files, committed: bytes) -> Iterator[Finding]:
    """What lies in the store and no committed line gave; what one gave has the digest it is stored under."""
    folders: Dict[Tuple[str, str], Dict[str, bytes]] = {}
    for path in sorted(path for path in files if path.startswith(STORE)):
        match = _STORED.match(path)
        if match is None:
            yield "disagreement", path, _NO_PLACE
        else:
            folders.setdefault((match["scheme"], match["text"]), {})[match["file"]] = files[path]
    for (scheme, text), held in sorted(folders.items()):
        place, pin = f"{STORE}{scheme}/{text[:2]}/{text}", f"{scheme}:{text}"
        if digest_of_files(held) != pin:
            yield "evidence", place, "the artifact does not have the digest it is stored under"
        elif f'"{pin}"'.encode() not in committed:
            yield "disagreement", place, "no committed step gave this artifact"
