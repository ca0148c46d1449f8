"""The waivers that a verdict was given with → as the judge had them, and every place where something says otherwise.

The evidence keeps a copy of each. The verdict names it by digest, the lock does, and the project has the file itself:
all four must agree. What was revoked since excused what it excused while it was in force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler import lock, waiver
from kcompiler.audit.finding import Finding, broken, differs, note
from kcompiler.audit.journal import Line
from kcompiler.audit.records import waiver_ends, waiver_uses
from kcompiler.waiver.approved import END
from kcompiler.waiver.load import envelopes, parsed, spelt


def at_hand(
    root: Path,
    plan: Mapping[str, Any],
    folder: Path,
    shown: str,
    recorded: Mapping[str, Any],
    known: Sequence[Line] | None,
    revoked: frozenset[str] = frozenset(),
    *,
    bundled: bool = False,
) -> tuple[waiver.Waivers, list[Finding]]:
    """What the judge was told of waivers, by the `recorded` verdict and the copies in `folder`/waivers. `known` are the
    lines of the project's journal, where it is here; `revoked` are fingerprints of keys that no longer count. A bundle
    has no waivers but those of the verdict (`bundled`)."""
    said = {str(one["id"]): one for one in recorded.get("waivers", ())}
    listed = {str(one["id"]): str(one["digest"]) for one in plan.get("waivers", ())}
    meanings = {str(one["id"]): str(one["meaning"]) for one in plan.get("waivers", ())}
    findings = list(_copies(folder / waiver.FOLDER, f"{shown}/{waiver.FOLDER}", said))
    if {name: one["digest"] for name, one in said.items()} != listed:
        message = "the verdict was given with other waivers than the lock names"
        findings.append(differs("KA34", f"{shown}/verdict.json#/waivers", message))
    then = None if known is None else _until_closed(known, str(recorded.get("lock")))
    if then is None:
        ends = {name: one["revoked"] for name, one in said.items() if "revoked" in one}
    else:
        ends = waiver_ends(then)
    given = []
    for name, one in sorted(said.items()):
        place = f"{shown}/{waiver.FOLDER}/{name}.yaml"
        path = folder / waiver.FOLDER / f"{name}.yaml"
        beside = envelopes(path.with_suffix(""))
        loaded = parsed(path.read_bytes(), place, beside)[0] if path.is_file() else None
        if loaded is None or loaded.digest != one["digest"]:
            continue  # `_copies` says so, and what is not here excuses nothing
        if name in listed and meanings[name] != loaded.meaning:
            findings.append(differs("KA34", place, "it does not mean what the lock says of it"))
            continue
        most = loaded.waiver.max_uses
        if most is not None and len(one["used"]) > most:
            findings.append(differs("KA34", place, f"{len(one['used'])} uses, and it allows {most}"))
        given.append(waiver.given(loaded, plan["obligations"], ends, revoked))
        findings += _since(root, name, loaded)
    if known is not None and then is not None:
        findings += _uses(said, recorded, then, f"{shown}/verdict.json#/waivers")
        findings += _undone(root, {one: end for one, end in waiver_ends(known).items() if one in said or not bundled})
    # what this verdict itself excused counts once, with or without it
    used = {name: frozenset(one["used"]) for name, one in said.items()}
    held = waiver.Waivers(given=given, spec=str(plan["asked"]["name"]), plan=lock.unwaived_digest(plan), used=used)
    return held, findings


def _copies(folder: Path, shown: str, said: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Each waiver of the verdict lies here as it was, and no other."""
    from runtime import digest

    for name, one in sorted(said.items()):
        path = folder / f"{name}.yaml"
        if not path.is_file():
            yield broken("KA33", f"{shown}/{name}.yaml", "the waiver that the verdict was given with is gone")
        elif digest.of_bytes(path.read_bytes()) != one["digest"]:
            yield broken("KA33", f"{shown}/{name}.yaml", "not the waiver that the verdict was given with")
        elif parsed(path.read_bytes(), path.name)[0] is None:
            yield broken("KA33", f"{shown}/{name}.yaml", "it cannot be read as a waiver")
    known = {folder / f"{name}.yaml" for name in said} | {folder / name for name in said}
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        inside = sorted(path.glob("*")) if path.is_dir() else []
        if path not in known or path.is_dir() != (path.suffix == ""):
            yield differs("KA34", f"{shown}/{spelt(path.name)}", "the verdict was given without this waiver")
        for file in inside if path in known else []:
            if not file.name.endswith(END) or spelt(file.name) != file.name:
                place = f"{shown}/{path.name}/{spelt(file.name)}"
                yield differs("KA34", place, "it is no approval of the waiver")


def _undone(root: Path, ends: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    """Revocations that the journal knows and a file no longer tells."""
    for name, end in sorted(ends.items()):
        place = f"{waiver.FOLDER}/{name}.yaml"
        path = root / place
        said = f"the journal says that it was revoked on {end['on']} by {end['by']}"
        if not path.is_file():
            yield differs("KA34", place, f"the waiver is gone, and {said}: its file stays, as a record")
            continue
        now = parsed(path.read_bytes(), place)[0]
        if now is not None and waiver.ended(now.waiver, {name: end}) != now.waiver:
            yield differs("KA34", place, f"the file does not tell of its end, and {said}: it stays revoked")


def _since(root: Path, name: str, copy: waiver.Loaded) -> Iterator[Finding]:
    """What became of the project's own file."""
    place = f"{waiver.FOLDER}/{name}.yaml"
    path = root / place
    if not path.is_file():
        yield differs("KA34", place, "the waiver is gone, and the verdict rests on it")
        return
    data = path.read_bytes()
    if data == copy.data:
        return
    now = parsed(data, place)[0]
    if now is not None and now.waiver.model_copy(update={"revoked": copy.waiver.revoked}) == copy.waiver:
        revoked = now.waiver.revoked
        when = "" if revoked is None else f" on {revoked.on} by {revoked.by}"
        yield note(
            place, f"revoked{when}, after the verdict that rests on it" if when else "its text was laid out anew"
        )
        return
    yield differs("KA34", place, "the waiver was edited after the verdict that rests on it")


def _until_closed(known: Sequence[Line], plan: str) -> Sequence[Line]:
    """The lines up to the end of the newest run of a plan."""
    opened = [
        number for number, line in enumerate(known) if line.type == "run_opened" and line.data.get("plan") == plan
    ]
    if not opened:
        return known
    closed = (number for number, line in enumerate(known) if number > opened[-1] and line.type == "run_closed")
    return known[: next(closed, len(known)) + 1]


def _uses(
    said: Mapping[str, Mapping[str, Any]], recorded: Mapping[str, Any], known: Sequence[Line], subject: str
) -> Iterator[Finding]:
    """The count of the verdict against the journal. What other evidence told of, the verdict alone counts; what the
    verdict itself excused stands in both."""
    uses = waiver_uses(known)
    for name, one in sorted(said.items()):
        told, counted = frozenset(one["used"]), uses.get(name, frozenset())
        own = {str(each["waiver"]["use"]) for each in recorded["outcomes"] if each.get("waiver", {}).get("id") == name}
        if not own <= counted <= told:
            message = f"{len(told)} uses of {name} in the verdict, {len(counted)} in the journal"
            yield differs("KA34", subject, message)
        elif told - counted:
            message = f"{len(told - counted)} of {len(told)} uses of {name} are known by earlier evidence, not by this "
            yield note(subject, f"{message}journal; they count")
