"""Any byte of any file of a bundle, edited by whoever makes the manifest anew: both verifiers refuse it with one code.

Nobody signed the bundle; the head of its journal is known. KCOMPILER_LONG=1 asks a thousand edits, and
KCOMPILER_LONG=20000 as many, of which a few of each kind and file always; KCOMPILER_SEED=N chooses others.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kcompiler import verifier
from kcompiler.audit.bundle import audit_bundle
from kcompiler.verifier import main
from kcompiler.verifier.sealed import MANIFEST, Trust
from kcompiler.verifier.zipped import pack
from runtime import digest
from tests.longer import LONG
from tests.unit.kcompiler.audit.excusing import APPROVALS, COPY, EVIDENCE, NOW, OWN
from tests.unit.kcompiler.audit.forger import Files, manifest, text

Edit = Callable[[], Files]
VERIFIER = verifier.assembled().encode()
#: bytes of one kind are spoilt at one of their places: a letter, a digit, a mark, a space, a line end
KINDS = (bytes.isalpha, bytes.isdigit, bytes.isspace, lambda one: not one.isalnum() and not one.isspace())


def edits(files: Files, chance: random.Random) -> Iterator[tuple[str, str, Edit]]:
    """What is done, to which file, and the files then."""
    folders = sorted({path[: at + 1] for path in files for at, letter in enumerate(path) if letter == "/"} | {""})
    for path, data in sorted(files.items()):
        yield "deleted", path, lambda path=path: {name: held for name, held in files.items() if name != path}
        yield "a folder", path, lambda path=path: {**files, f"{path}/x": b"x"}
        for more in (b" ", b"\n", b"x"):
            yield "longer", path, lambda path=path, data=data, more=more: {**files, path: data + more}
        yield "line ends", path, lambda path=path, data=data: {**files, path: data.replace(b"\n", b"\r\n")}
        for kind in KINDS:
            places = [at for at in range(len(data)) if kind(data[at : at + 1])]
            for at in chance.sample(places, min(len(places), 12)):
                yield "flipped", path, lambda path=path, data=data, at=at: {**files, path: flipped(data, at)}
        if path.endswith((".json", ".lock", "/head")) or is_json(data):
            for number in chance.sample(range(count(data)), min(count(data), 60)):
                yield "said", path, lambda path=path, data=data, number=number: {**files, path: said(data, number)}
        if path.endswith("waivers/WV-0001.yaml"):
            for more in (b"# ana, bo and cy agreed\n", b"note: x\n"):
                yield "longer", path, lambda path=path, data=data, more=more: {**files, path: data + more}
    for folder in folders:
        beside = [path for path in files if path.startswith(folder) and "/" not in path[len(folder) :]]
        for name in ("zz", "zz.json", "zz.yaml", "zz.dsse.json", "1.dsse.json", "zz/zz", "zz.schema.json"):
            for data in (b"", b"{}\n", files[beside[0]] if beside else b"x"):
                yield "added", folder + name, lambda path=folder + name, data=data: {**files, path: data}


def is_json(data: bytes) -> bool:
    return data[:1] in b"{[" and b"}\n{" not in data


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each place: what holds it, and under which key; None for a new key of an object."""
    if isinstance(value, dict):
        yield value, None
    for key, held in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from nodes(held)


def count(data: bytes) -> int:
    return sum(1 for _ in nodes(json.loads(data)))


def said(data: bytes, number: int) -> bytes:
    """The text with one value changed, or one key more."""
    made = json.loads(data)
    holder, key = list(nodes(made))[number]
    if key is None:
        holder["zz"] = "x"
        return text(made)
    old = copy.deepcopy(holder[key])
    if isinstance(old, bool):
        holder[key] = not old
    elif isinstance(old, int | float):
        holder[key] = old + 1
    elif isinstance(old, str):
        holder[key] = "sha256:" + "1" * 64 if old.startswith("sha256:") else old + "x"
    elif isinstance(old, list):
        holder[key] = [*old, "x"]
    else:
        holder[key] = "x"
    return text(made)


def listed(files: Files) -> Files:
    """With a manifest that states what is there now; as far as the rest of it can be made anew, that too."""
    try:
        return manifest(files)
    except (ValueError, LookupError, TypeError, AttributeError):
        said = json.loads(files[MANIFEST])
        held = {name: data for name, data in files.items() if name != MANIFEST}
        said["files"] = {name: digest.of_bytes(data).removeprefix("sha256:") for name, data in sorted(held.items())}
        return {**held, MANIFEST: text(said)}


def codes(files: Files, head: str) -> tuple[int, int]:
    data, trust = pack(files), Trust(head=head, as_of=NOW)
    return audit_bundle(data, trust)[0].exit_code, main.check(data, trust, VERIFIER).code


#: what was once accepted by either; nothing is accepted now
QUICK = {
    "an envelope that is none": lambda files: {**files, f"{COPY}/zz.dsse.json": b"junk"},
    "an approval that nobody signed": lambda files: {
        **files,
        f"{APPROVALS}/zz.dsse.json": text({**json.loads(files[f"{APPROVALS}/ana.dsse.json"]), "signatures": []}),
    },
    "one more key of what a waiver means": lambda files: {
        **files,
        f"{COPY}.json": text({**json.loads(files[f"{COPY}.json"]), "note": "bo said yes"}),
    },
    "a report where a file is": lambda files: {**files, f"{EVIDENCE}/reports/data.json/x": b"x"},
    "a rule that is none in what a pack means": lambda files: {
        **files,
        "packs/team/law.json": files["packs/team/law.json"].replace(b'"approval": {', b'"approval": "x", "y": {'),
    },
    "a comment in the project's own waiver": lambda files: {**files, f"{OWN}.yaml": files[f"{OWN}.yaml"] + b"# x\n"},
}


@pytest.mark.parametrize("what", QUICK)
def test_what_nothing_accounts_for_is_refused_by_both_with_one_code(sound: Files, what: str) -> None:
    head = json.loads(sound[MANIFEST])["head"]
    mine, alone = codes(listed(QUICK[what](sound)), head)
    assert mine == alone
    assert mine in (1, 3)


def test_any_edit_is_refused_by_both_with_one_code(sound: Files) -> None:
    head = json.loads(sound[MANIFEST])["head"]
    seed = int(os.environ.get("KCOMPILER_SEED", "0"))
    chance = random.Random(seed)
    every = list(edits(sound, chance))
    chance.shuffle(every)
    most = max(1000, int(os.environ["KCOMPILER_LONG"] or 0)) if LONG else 4
    assert codes(sound, head) == (0, 0)
    wrong = []
    for how, path, made in every[:most]:
        spoilt = made()
        if spoilt == sound:
            continue
        found = codes(spoilt if path == MANIFEST else listed(spoilt), head)
        if found[0] != found[1] or not found[0]:
            wrong.append((how, path, found))
    assert wrong == [], seed
