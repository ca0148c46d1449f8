"""A project and a revision of git → the waivers that were revoked then and are not now: a commit undoes no revocation.

What a clone has counts on both sides, waivers/ and the verdicts in generated/; the journal is of one machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kcompiler.cli.asked import Asked, moved_row
from kcompiler.project import Project

if TYPE_CHECKING:
    from kcompiler.diff.packs import Way

_FILE = re.compile(r"waivers/(WV-[0-9]+)\.yaml")
_VERDICT = re.compile(r"generated/[^/]+/evidence/verdict\.json")


def undone(home: Project, revision: str) -> Iterator[Asked]:
    """Each waiver whose end is gone, or later than it was, while its file is there or was. Raises Outcome."""
    from kcompiler.cli.revision import files, text

    listed = files(home.root, revision)
    then: dict[str, str] = {}
    for place in listed:
        if _FILE.fullmatch(place) or _VERDICT.fullmatch(place):
            _earliest(then, _ends(place, text(home.root, revision, place)))
    now: dict[str, str] = {}
    for path in (*(home.root / "waivers").glob("*.yaml"), *(home.root / "generated").glob("*/evidence/verdict.json")):
        if path.is_file() and then:
            _earliest(now, _ends(path.relative_to(home.root).as_posix(), path.read_bytes()))
    for name, day in sorted(then.items()):
        place = f"waivers/{name}.yaml"
        here = (home.root / place).is_file()
        if (name in now and now[name] <= day) or (place not in listed and not here):
            continue
        was = f"revoked on {day}" if day else "revoked"
        way: Way = "weaker" if here else "removed"
        gone = "its file is gone, which is the record" if not here else "no longer revoked"
        what = f"{was} → {gone if name not in now else f'revoked on {now[name]}'}"
        yield Asked(place, place if here else "", place, moved_row(f"waivers/{name}", way, what, True))


def _earliest(known: dict[str, str], ends: dict[str, str]) -> None:
    for name, day in ends.items():
        known[name] = min(day, known.get(name, day))


def _ends(place: str, data: bytes) -> dict[str, str]:
    """Waiver → the day on which it was revoked, as a file tells; "" for a day that nobody can read."""
    from kcompiler import source
    from kcompiler.cli import excuses

    if (found := _FILE.fullmatch(place)) is None:
        try:
            return {name: one.end["on"] for name, one in excuses.told(data).items() if one.end}
        except (ValueError, LookupError, TypeError, AttributeError):
            return {}  # an audit says so
    tree, _ = source.load(place, data)
    if tree is None or not isinstance(tree.data, dict):
        # it excuses nothing, and may yet be the record of an end
        return {found[1]: ""} if b"revoked" in data else {}
    end = tree.data.get("revoked")
    return {found[1]: str(end.get("on", "") if isinstance(end, dict) else "")} if end is not None else {}
