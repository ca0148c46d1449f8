"""The waivers of a bundle → as the judge had them, and every place where something says otherwise. Standard library.

The evidence keeps a copy of each, and what it means as JSON beside it. The verdict names it by digest, the lock pins
the digests of both, and the project has the file itself: all must agree.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, Sequence, Set, Tuple

from kcompiler.verifier import waivers
from kcompiler.verifier.reading import digest_of_bytes, strict
from kcompiler.verifier.records import Finding, Line

#: folder of a project's waivers, and of their copies in the evidence
FOLDER, TEXT, MEANING = "waivers", ".yaml", ".json"


def is_meaning(path: str) -> bool:
    """Whether a file of a bundle is what a waiver means, and not the waiver."""
    folder, _, name = path.rpartition("/")
    return name.endswith(MEANING) and (folder == FOLDER or folder.endswith(f"/evidence/{FOLDER}"))


def meaning_of(files: Mapping[str, bytes], text: str) -> Tuple[Mapping[str, Any], str]:
    """What a waiver's file of a bundle means, and why that is not known, or ""."""
    path = text[: -len(TEXT)] + MEANING
    try:
        said = strict(files[path])
        source, waiver = said["source"], said["waiver"]
    except KeyError:
        return {}, "what it means is not beside it"
    except (ValueError, LookupError, TypeError) as why:
        return {}, f"what it means cannot be read: {why}"
    if source != digest_of_bytes(files[text]):
        return {}, "what stands beside it is the meaning of another text"
    if text.rpartition("/")[2] != f"{waiver.get('id') if isinstance(waiver, dict) else None}{TEXT}":
        return {}, "what stands beside it is the meaning of another waiver"
    return waiver, waivers.wrong(waiver)


def at_hand(
    files: Mapping[str, bytes],
    evidence: str,
    plan: Mapping[str, Any],
    recorded: Mapping[str, Any],
    known: Sequence[Line],
    subject: str,
) -> Tuple[waivers.Waivers, List[Finding]]:
    """What the judge was told of waivers by the `recorded` verdict (at `subject`), and where that does not hold."""
    said = {one["id"]: one for one in recorded.get("waivers", ())}
    listed = {one["id"]: one for one in plan.get("waivers", ())}
    found: List[Finding] = []
    if {name: one["digest"] for name, one in said.items()} != {name: one["digest"] for name, one in listed.items()}:
        message = "the verdict was given with other waivers than the lock names"
        found.append(("disagreement", f"{subject}#/waivers", message))
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
        given.append(waivers.Given(waiver, one["digest"]))
        found += _since(files, name, place, waiver)
    found += _strays(files, evidence, said)
    found += _uses(said, _until_closed(known, str(recorded["lock"])), f"{subject}#/waivers")
    # what this verdict itself excused counts once, with or without it
    used = {name: frozenset(one["used"]) for name, one in said.items()}
    return waivers.Waivers(given, str(plan["asked"]["name"]), waivers.unwaived(plan), used), found


def _since(files: Mapping[str, bytes], name: str, copy: str, was: Any) -> Iterator[Finding]:
    """What became of the project's own file."""
    place = f"{FOLDER}/{name}{TEXT}"
    if place not in files:
        yield "disagreement", place, "the waiver is gone, and the verdict rests on it"
        return
    now, wrong = meaning_of(files, place)
    if files[place] == files[copy]:
        if wrong or now != was:
            yield "disagreement", place, wrong or "what stands beside it is not what the waiver says"
    elif wrong or {**now, "revoked": None} != {**was, "revoked": None}:
        yield "disagreement", place, "the waiver was edited after the verdict that rests on it"
    elif now.get("revoked") != was.get("revoked"):
        yield "note", place, "revoked after the verdict that rests on it"


def _strays(files: Mapping[str, bytes], evidence: str, said: Mapping[str, Any]) -> Iterator[Finding]:
    folder = f"{evidence}/{FOLDER}/"
    known = {f"{folder}{name}{end}" for name in said for end in (TEXT, MEANING)}
    for path in sorted(path for path in files if path.startswith(folder) and path not in known):
        yield "disagreement", path, "the verdict was given without this waiver"


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


def _uses(said: Mapping[str, Any], known: Sequence[Line], subject: str) -> Iterator[Finding]:
    counted: Dict[str, Set[str]] = {}
    for line in known:
        if line.content["type"] == "waiver_used":
            data = line.content["data"]
            counted.setdefault(str(data.get("waiver", "")), set()).add(str(data.get("use", "")))
    for name, one in sorted(said.items()):
        uses: FrozenSet[str] = frozenset(counted.get(name, ()))
        if frozenset(one["used"]) != uses:
            yield (
                "disagreement",
                subject,
                f"{len(one['used'])} uses of {name} in the verdict, {len(uses)} in the journal",
            )
