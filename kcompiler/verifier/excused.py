"""The waivers of a bundle → as the judge had them, and every place where something says otherwise. Standard library.

The evidence keeps a copy of each, and what it means as JSON beside it. The verdict names it by digest, the lock pins
the digests of both. Of the project's own file a bundle has the same text; or, where it says something else since, what
it says as JSON, which is YAML, too.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from kcompiler.verifier import waivers
from kcompiler.verifier.reading import digest_of_bytes, laid_out, strict
from kcompiler.verifier.records import Finding, Line

#: folder of a project's waivers, and of their copies in the evidence
FOLDER, TEXT, MEANING = "waivers", ".yaml", ".json"


def is_meaning(path: str) -> bool:
    """Whether a file of a bundle is what a waiver means, and not the waiver."""
    folder, _, name = path.rpartition("/")
    return name.endswith(MEANING) and folder.endswith(f"/evidence/{FOLDER}")


def meaning_of(files: Mapping[str, bytes], text: str) -> Tuple[Mapping[str, Any], str]:
    """What a copy of a waiver in a bundle means, and why that is not known, or ""."""
    path = text[: -len(TEXT)] + MEANING
    try:
        said = strict(files[path])
        source, waiver = said["source"], said["waiver"]
        if laid_out({"source": source, "waiver": waiver}) != files[path]:
            raise ValueError("it holds something else, too, or in another layout than kcompiler's")
    except KeyError:
        return {}, "what it means is not beside it"
    except (ValueError, LookupError, TypeError) as why:
        return {}, f"what it means cannot be read: {why}"
    if source != digest_of_bytes(files[text]):
        return {}, "what stands beside it is the meaning of another text"
    if text.rpartition("/")[2] != f"{waiver.get('id') if isinstance(waiver, dict) else None}{TEXT}":
        return {}, "what stands beside it is the meaning of another waiver"
    return waiver, waivers.wrong(waiver)


def own(files: Mapping[str, bytes], name: str, copy: str, was: Any) -> Tuple[Mapping[str, Any], str]:
    """What the project's own file of a waiver says, whose `copy` in the evidence means what it `was`; and why nobody
    knows, or ""."""
    data = files[f"{FOLDER}/{name}{TEXT}"]
    if data == files.get(copy):
        return was, ""
    try:
        said = strict(data)
        if laid_out(said) != data:
            return {}, "it is neither the copy in the evidence nor JSON as kcompiler lays it out"
    except (ValueError, TypeError) as why:
        return {}, f"it is not the copy in the evidence, and cannot be read: {why}"
    return said, waivers.wrong(said)


def at_hand(
    files: Mapping[str, bytes],
    evidence: str,
    plan: Mapping[str, Any],
    recorded: Mapping[str, Any],
    known: Sequence[Line],
    subject: str,
    revoked: FrozenSet[str] = frozenset(),
) -> Tuple[waivers.Waivers, List[Finding]]:
    """What the judge was told of waivers by the `recorded` verdict (at `subject`), and where that does not hold;
    `revoked` are fingerprints of keys that no longer count."""
    said = {one["id"]: one for one in recorded.get("waivers", ())}
    listed = {one["id"]: one for one in plan.get("waivers", ())}
    found: List[Finding] = []
    if {name: one["digest"] for name, one in said.items()} != {name: one["digest"] for name, one in listed.items()}:
        message = "the verdict was given with other waivers than the lock names"
        found.append(("disagreement", f"{subject}#/waivers", message))
    then = _until_closed(known, str(recorded["lock"]))
    ends = _ends(then)
    given = []
    for name, one in sorted(said.items()):
        place = f"{evidence}/{FOLDER}/{name}{TEXT}"
        waiver, wrong = ({}, "the waiver is gone") if place not in files else meaning_of(files, place)
        if place in files and digest_of_bytes(files[place]) != one["digest"]:
            wrong = "not the waiver that the verdict was given with"
        if wrong:
            found.append(("evidence", place, wrong))
            continue
        if name in listed and listed[name]["meaning"] != waivers.meaning_digest(waiver):
            found.append(("disagreement", place, "it does not mean what the lock says of it"))
            continue
        most = waiver.get("max_uses")
        if most is not None and len(one["used"]) > most:
            found.append(("disagreement", place, f"{len(one['used'])} uses, and it allows {most}"))
        keys = set(waivers.approvers_of(waiver, plan).values())
        folder = f"{evidence}/{FOLDER}/{name}/"
        envelopes = {path: data for path, data in files.items() if path.startswith(folder)}
        by = waivers.approvals(waiver, envelopes, keys, revoked)
        given.append(waivers.Given(_ended(waiver, ends.get(name)), one["digest"], by))
        found += _since(files, name, place, waiver)
        found += _undone(files, name, place, waiver, _ends(known).get(name))
    found += _uses(said, recorded, then, f"{subject}#/waivers")
    # what this verdict itself excused counts once, with or without it
    used = {name: frozenset(one["used"]) for name, one in said.items()}
    return waivers.Waivers(given, str(plan["asked"]["name"]), waivers.unwaived(plan), used), found


def _since(files: Mapping[str, bytes], name: str, copy: str, was: Any) -> Iterator[Finding]:
    """What became of the project's own file."""
    place = f"{FOLDER}/{name}{TEXT}"
    if place not in files:
        yield "disagreement", place, "the waiver is gone, and the verdict rests on it"
        return
    now, wrong = own(files, name, copy, was)
    if wrong or {**now, "revoked": None} != {**was, "revoked": None}:
        yield "disagreement", place, "the waiver was edited after the verdict that rests on it"
    elif now.get("revoked") != was.get("revoked"):
        yield "note", place, "revoked after the verdict that rests on it"


def _ends(known: Sequence[Line]) -> Dict[str, Dict[str, str]]:
    """Waiver → its earliest revocation by these lines."""
    found: Dict[str, Dict[str, str]] = {}
    for line in known:
        if line.content["type"] == "waiver_revoked":
            data = line.content["data"]
            end = {name: str(data.get(name, "")) for name in ("by", "on", "reason")}
            name = str(data.get("waiver", ""))
            if name not in found or end["on"] < found[name]["on"]:
                found[name] = end
    return found


def _ended(waiver: Mapping[str, Any], end: Optional[Mapping[str, str]]) -> Mapping[str, Any]:
    """The waiver with a revocation that its own text does not tell, or tells of a later day."""
    said = waiver.get("revoked")
    if end is None or (said is not None and said["on"] <= end["on"]):
        return waiver
    return {**waiver, "revoked": dict(end)}


def _undone(
    files: Mapping[str, bytes], name: str, copy: str, was: Any, end: Optional[Mapping[str, str]]
) -> Iterator[Finding]:
    """A revocation that the journal knows and the file no longer tells."""
    place = f"{FOLDER}/{name}{TEXT}"
    if end is None or place not in files:
        return  # which is told
    now, wrong = own(files, name, copy, was)
    if not wrong and _ended(now, end) != now:
        said = f"the journal says that it was revoked on {end['on']} by {end['by']}"
        yield "disagreement", place, f"the file does not tell of its end, and {said}"


def _until_closed(known: Sequence[Line], plan: str) -> Sequence[Line]:
    """The lines up to the end of the newest run of a plan."""
    begun = [
        number
        for number, line in enumerate(known)
        if line.content["type"] == "run_opened" and line.content["data"].get("plan") == plan
    ]
    if not begun:
        return known
    ends = (n for n, line in enumerate(known) if n > begun[-1] and line.content["type"] == "run_closed")
    return known[: next(ends, len(known)) + 1]


def _uses(
    said: Mapping[str, Any], recorded: Mapping[str, Any], known: Sequence[Line], subject: str
) -> Iterator[Finding]:
    """The count of the verdict against the journal: what the verdict excused stands in both."""
    counted: Dict[str, Set[str]] = {}
    for line in known:
        if line.content["type"] == "waiver_used":
            data = line.content["data"]
            counted.setdefault(str(data.get("waiver", "")), set()).add(str(data.get("use", "")))
    for name, one in sorted(said.items()):
        told, uses = set(one["used"]), counted.get(name, set())
        excused = (each["waiver"] for each in recorded["outcomes"] if each.get("waiver"))
        own = {str(each["use"]) for each in excused if each["id"] == name}
        if not own <= uses <= told:
            yield "disagreement", subject, f"{len(told)} uses of {name} in the verdict, {len(uses)} in the journal"
        elif told - uses:
            message = f"{len(told - uses)} of {len(told)} uses of {name} are known by earlier evidence alone"
            yield "note", subject, message
