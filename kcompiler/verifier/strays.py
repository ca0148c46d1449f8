"""The files of a bundle × its lock and its journal → each whose bytes nothing accounts for. Standard library only.

A name is no account: every byte of a bundle follows from a digest that the head of the journal reaches (the lock by the
line that opened its run, what the lock pins, the committed lines, the verdict by the line of its judgement, and by it
the reports), or from the key of somebody whom a pack names. Where a digest is of what a text says, the text has one
layout. Packs are looked at where they are read (`texts`), reports beside the lines that gave them, copies of waivers
where they excuse (`excused`), the signatures of the bundle by themselves (`sealed`).
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, Iterator, List, Mapping, Set, Tuple

from kcompiler.verifier import approvals, excused, ledger, waivers
from kcompiler.verifier.approvals import END
from kcompiler.verifier.excused import FOLDER, MEANING, TEXT
from kcompiler.verifier.reading import digest_of_files, laid_out, strict
from kcompiler.verifier.records import Finding
from kcompiler.verifier.sealed import JOURNAL, MANIFEST, PACKS, SCHEMAS, SIGNATURES, VERIFIER

HEAD, STORE, PURSE = ".kcompiler/head", ".kcompiler/store/", ".kcompiler/paid/spend.jsonl"
POLICIES = "policies/"
_STORED = re.compile(
    re.escape(STORE) + r"(?P<scheme>[^/]+)/(?P<start>[^/]{2})/(?P<text>(?P=start)[^/]*)/(?P<file>.+)\Z",
)
_NO_PLACE = "nothing in the lock or the journal accounts for this file"
LAYOUT = "it is laid out otherwise than kcompiler does"
Files = Mapping[str, bytes]
#: the bytes of an envelope → why nothing accounts for them, or "", and who signed it: names and keys
Unfit = Callable[[bytes], Tuple[str, List[Tuple[str, str]]]]


def found(files: Files, plan: Mapping[str, Any], folder: str) -> Iterator[Finding]:
    """Each file of the bundle of what is generated in `folder` that is none of it, or holds what nothing accounts
    for."""
    evidence, lock = f"{folder}/evidence/", f"{folder}/plan.lock"
    known = {MANIFEST, VERIFIER, JOURNAL, HEAD, PURSE, lock, *(one["path"] for one in plan["sources"])}
    known |= {f"{evidence}{name}" for name in ("journal.jsonl", "run.json", "verdict.json")}
    known |= {f"{SCHEMAS}{one['id']}.schema.json" for one in plan["schemas"]}
    listed = [str(one["id"]) for one in plan.get("waivers", ())]
    known |= {f"{FOLDER}/{name}{TEXT}" for name in listed}
    known |= {f"{evidence}{FOLDER}/{name}{end}" for name in listed for end in (TEXT, MEANING)}
    placed: Dict[str, Unfit] = {f"{folder}/approvals/": lambda data: approvals.unfit(plan, data)}
    placed.update(_signed(files, plan, f"{evidence}{FOLDER}/", listed))
    for path in sorted(files.keys() - known):
        start = path[: path.rfind("/") + 1]
        if not path.startswith((SIGNATURES, PACKS, POLICIES, STORE, f"{evidence}reports/")) and start not in placed:
            yield "disagreement", path, _NO_PLACE
    for start, unfit in placed.items():
        held = {path[len(start) :]: data for path, data in files.items() if path[: path.rfind("/") + 1] == start}
        for name, why in envelopes(held, unfit)[1].items():
            yield "disagreement", start + name, f"{_NO_PLACE}: {why}"
    for name in listed:
        copy, mine = f"{evidence}{FOLDER}/{name}{TEXT}", f"{FOLDER}/{name}{TEXT}"
        if mine in files and (wrong := excused.own(files, name, copy, {})[1]):
            yield "disagreement", mine, wrong
    if lock in files and laid_out(plan) != files[lock]:
        yield "disagreement", lock, LAYOUT
    if files.get(HEAD, b"") != anchor(files.get(JOURNAL, b"")):
        yield "evidence", HEAD, "it is not what anchors the newest line of the journal"
    paid = files.get(PURSE, b"")
    if ledger.bought(paid, "", paid.count(b"\n")) is None:
        yield "disagreement", PURSE, "it is no record of what was bought"
    yield from _stored(files, files.get(f"{evidence}journal.jsonl", b""))


def anchor(journal: bytes) -> bytes:
    """What anchors the newest line of a journal; nothing where it ends in no whole line."""
    lines = journal.split(b"\n")
    try:
        said = {"seq": len(lines) - 1, "hash": strict(lines[-2])["hash"]}
    except (ValueError, LookupError, TypeError):
        return b""
    return b"" if lines[-1] else (json.dumps(said, sort_keys=True) + "\n").encode()


def envelopes(held: Files, unfit: Unfit) -> Tuple[Dict[str, bytes], Dict[str, str]]:
    """The envelopes of one folder by the names they have in a bundle, each of which somebody of those signed who may;
    and of the files, by the names they have here, why others are none. One is called after who signed it."""
    good: Dict[str, bytes] = {}
    why: Dict[str, str] = {}
    seen: Set[Tuple[str, str]] = set()
    for name, data in sorted(held.items()):
        wrong, by = unfit(data)
        again = {(key, str(strict(data)["payload"])) for _, key in by} if not wrong else set()
        wrong = wrong or ("it says again what another does" if again & seen else "")
        seen |= again
        if wrong:
            why[name] = wrong
            continue
        who = sorted({one for one, _ in by})
        called = next((one for one in who if _is_called(name, one) and name not in good), "")
        new = name
        if not called:
            why[name] = f"it is not called after who signed it: {', '.join(who)}"
            numbers = ("", *(f"-{number}" for number in range(2, len(held) + 2)))
            new = next(new for new in (f"{who[0]}{one}{END}" for one in numbers) if new not in {*good, *held})
        good[new] = data
    return good, why


def kept(files: Files, plan: Mapping[str, Any], folder: str) -> Dict[str, bytes]:
    """The files of a bundle that is to be, without the envelopes that nothing accounts for; the others called as they
    are in bundles."""
    placed: Dict[str, Unfit] = {f"{folder}/approvals/": lambda data: approvals.unfit(plan, data)}
    listed = [str(one["id"]) for one in plan.get("waivers", ())]
    placed.update(_signed(files, plan, f"{folder}/evidence/{FOLDER}/", listed))
    starts = (f"{folder}/approvals/", f"{folder}/evidence/{FOLDER}/")
    found = {path: data for path, data in files.items() if not path.startswith(starts) or not path.endswith(END)}
    for start, unfit in placed.items():
        held = {path[len(start) :]: data for path, data in files.items() if path[: path.rfind("/") + 1] == start}
        good = envelopes({name: data for name, data in held.items() if name.endswith(END)}, unfit)[0]
        found.update({start + name: data for name, data in good.items()})
    return found


def _is_called(name: str, who: str) -> bool:
    return re.match(re.escape(who) + r"(-[1-9][0-9]*)?" + re.escape(END) + r"\Z", name) is not None


def _signed(files: Files, plan: Mapping[str, Any], place: str, listed: List[str]) -> Dict[str, Unfit]:
    """Folder of the approvals of a waiver, beside its copy → what one must be."""

    def of(waiver: Mapping[str, Any]) -> Unfit:
        named = waivers.approvers_of(waiver, plan)
        return lambda data: waivers.unfit(waiver, data, named)

    made: Dict[str, Unfit] = {}
    for name in listed:
        if f"{place}{name}{TEXT}" in files:
            waiver, wrong = excused.meaning_of(files, f"{place}{name}{TEXT}")
            made.update({} if wrong else {f"{place}{name}/": of(waiver)})
    return made


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
