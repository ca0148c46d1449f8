"""What lies in .kcompiler, who holds its lease, what is damaged there → data for programs, titled rows for people."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompiler.render.human import inert, shortened
from kcompiler.render.human_run import table
from kcompiler.render.places import finding as located
from kcompiler.render.view import Section, View, size

if TYPE_CHECKING:
    from kcompiler.result import AuditFinding
    from runtime.machine.inventory import Item
    from runtime.machine.lease import Holder
    from runtime.machine.verify import Fault, Verified

#: room of the state folder → code of what is damaged there; anything else is told without damage
CODES: Mapping[str, str] = {"journal": "KA11", "store": "KA21"}
PAID, LEFT = "KA41", "KA42"
_TITLES = {"artifact": "artifacts", "work": "begun, not committed", "quarantine": "put aside, used by nothing"}
#: who holds a lease → what that means
_HELD = {
    "free": "nobody holds the lease",
    "lives": "a process of this machine holds the lease and lives",
    "left": "its process is dead and did not give the lease back: the next writer takes it",
    "elsewhere": "a process of another machine holds the lease; whether it lives cannot be seen from here",
    "silent": "a process of another machine held the lease and gives no sign of life: the next writer takes it",
}


def item(one: Item, root: Path) -> dict[str, Any]:
    """For programs."""
    return {
        "room": one.room,
        "name": one.name,
        "kind": one.kind,
        "bytes": one.size_bytes,
        "path": one.path.relative_to(root).as_posix(),
        "stands": one.stands,
        "made": [{"spec": by.spec, "step": by.step, "port": by.port, "at": by.at, "run": by.run} for by in one.made],
        "taken_by": list(one.taken_by),
        "used_by": list(one.used_by),
        "says": one.says,
    }


def listed(found: Sequence[Item], now: str) -> View:
    """One row a thing: whose it is, how large, how old, who uses it."""
    total = size(sum(one.size_bytes for one in found if one.stands))
    sections = [
        Section(
            title=title,
            rows=[inert(row) for row in table([_row(one, now) for one in found if one.room == room], indent="")],
        )
        for room, title in _TITLES.items()
    ]
    things = f"{len(found)} thing{'' if len(found) == 1 else 's'}"
    return View(headline=f".kcompiler   {things}, {total}", digest="", sections=[one for one in sections if one.rows])


def _row(one: Item, now: str) -> list[str]:
    made = one.newest
    whose = (
        [made.spec, f"{made.step}#{made.port}" if made.port else made.step] if made else ["", "made by nobody known"]
    )
    told = one.says or (", ".join(one.used_by) if one.used_by else "no evidence names it")
    if not one.stands:
        told = f"GONE; {told}"
    return [shortened(one.name), *whose, size(one.size_bytes), age(made.at if made else "", now), told]


def shown(found: Sequence[Item], sound: Mapping[str, bool], root: Path, now: str) -> View:
    """Everything that is known of some."""
    sections = []
    for one in found:
        rows = [["room", one.room], ["kind", one.kind], ["size", size(one.size_bytes)]]
        rows += [["place", one.path.relative_to(root).as_posix()]]
        if one.name in sound:
            whole = "its digest is what it was" if sound[one.name] else "DAMAGED: its digest is another one"
            rows += [["state", whole if one.stands else "GONE"]]
        rows += [["says", one.says]] if one.says else []
        rows += [
            ["made", f"{by.spec} {by.step}#{by.port}, {by.at} ({age(by.at, now)}), run {by.run}"] for by in one.made
        ]
        rows += [["taken by", name] for name in one.taken_by]
        rows += [["evidence", name] for name in one.used_by]
        if one.room == "artifact" and one.path.is_dir():
            files = sorted(path for path in one.path.rglob("*") if path.is_file())
            rows += [
                ["file", f"{path.relative_to(one.path).as_posix()}  {size(path.stat().st_size)}"] for path in files
            ]
        sections.append(Section(title=one.name, rows=[inert(row) for row in table(rows, indent="")]))
    return View(headline="", digest="", sections=sections)


def finding(fault: Fault) -> AuditFinding:
    """A fault as findings of an audit are."""
    code = CODES.get(fault.room, LEFT) if fault.damage else LEFT
    message = f"{fault.message}: {fault.mended}" if fault.mended else fault.message
    return located(code, "evidence" if fault.damage and not fault.mended else "note", fault.subject, message)


def paid(subject: str, message: str) -> AuditFinding:
    """The same of what was bought."""
    return located(PAID, "evidence", subject, message)


def verified(found: Verified, answers: int, findings: Sequence[AuditFinding]) -> View:
    """What was hashed again, and each thing that is not as it should be."""
    counted = f"{found.lines} lines, {found.artifacts} artifacts ({size(found.size_bytes)}), {answers} paid answers"
    damaged = [one for one in findings if one.severity == "evidence"]
    notes = [one for one in findings if one.severity != "evidence"]
    sections = [
        Section(title=title, rows=[inert(f"{one.where.text}: {one.message} [{one.code}]") for one in some])
        for title, some in (("damaged", damaged), ("notes", notes))
        if some
    ]
    word = "damaged" if damaged else "sound"
    return View(headline=f"{word}   {counted}", digest="", sections=sections)


def holder(found: Holder) -> dict[str, Any]:
    """For programs: what `lease.Holder` says."""
    note = found.note
    named = {name: note.get(name) for name in ("pid", "host", "boot", "taken", "fence")}
    return {
        "state": found.state,
        "held": found.held,
        "id": "" if found.state == "free" else found.id,
        "silent_s": None if found.silent_s is None else round(found.silent_s, 1),
        **named,
    }


def held(found: Holder) -> View:
    """For people, with the command that frees it."""
    note = found.note
    rows = [[name, str(note[name])] for name in ("pid", "host", "taken", "fence") if name in note]
    if found.silent_s is not None:
        rows.append(["sign of life", f"{found.silent_s:.0f} s ago"])
    if found.state != "free":
        rows.append(["id", found.id])
    if found.held:
        first = "" if found.state == "lives" else "where it is dead: "
        rows.append(["to free it", f"{first}kcompiler state unlock --force {found.id}"])
    lines = [inert(row) for row in table(rows, indent="")]
    return View(headline=_HELD[found.state], digest="", sections=[Section(title="holder", rows=lines)] if rows else [])


def text(view: View) -> str:
    """A view for people."""
    lines = [inert(view.headline)] if view.headline else []
    for section in view.sections:
        lines += [section.title, *(f"  {row}" for row in section.rows)]
    return "\n".join(lines) + "\n"


def age(at: str, now: str) -> str:
    """How long before `now` something was, both as 2026-01-31T00:00:00Z; clocks may have been set back."""
    try:
        seconds = (datetime.datetime.fromisoformat(now) - datetime.datetime.fromisoformat(at)).total_seconds()
    except ValueError:
        return "age unknown"
    if seconds < 0:
        return "from the future"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
