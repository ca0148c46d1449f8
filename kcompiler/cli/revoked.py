"""A project and a revision of git → the waivers that were revoked then and are not now: a commit undoes no revocation.

What a clone has counts on both sides, waivers/ and the verdicts in generated/; the journal is of one machine. Under
whatever root a waiver was revoked, what has its id is: signatures are of what a waiver means, its id included, so that
no line without meaning makes it another; and what was signed under that id before is in the history of git. Only one
that stood here then, and is about other rules or another subject, is a waiver of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from posixpath import relpath
from typing import TYPE_CHECKING, NamedTuple

from kcompiler.cli.asked import Asked, Compared, Held, moved_row
from kcompiler.cli.governed import joined

if TYPE_CHECKING:
    from kcompiler.diff.packs import Way

_FILE = re.compile(r"(?:(?P<root>.+)/)?waivers/(?P<id>WV-[0-9]+)\.yaml")
_VERDICT = re.compile(r"(?:(?P<root>.+)/)?generated/[^/]+/evidence/verdict\.json")


class _Said(NamedTuple):
    """What the file of a waiver means beside its end, as its approvers signed it, or else what it says; the rules and
    the subject that it names."""

    meaning: object
    rules: frozenset[str]
    subject: Mapping[str, object]

    def apart(self, other: _Said) -> bool:
        """Whether nothing that this one excuses is excused by the other; one that nobody can read excuses nothing, and
        may have excused anything."""
        if not (self.rules and other.rules):
            return not self.rules
        named = (key for key in ("spec", "lock", "report") if self.subject.get(key) and other.subject.get(key))
        return not self.rules & other.rules or any(self.subject[key] != other.subject[key] for key in named)


class _Root(NamedTuple):
    """What a root tells: waiver → the day on which it was revoked, "" for one that nobody can read; and waiver → what
    its file means beside that."""

    ends: dict[str, str]
    said: dict[str, _Said]


def undone(compared: Compared) -> Iterator[Asked]:
    """Each waiver whose end is gone, or later than it was, while its file is there or was; once, however many tell of
    its end. Raises Outcome."""
    yield from {(one.spec, one.moved): one for one in _undone(compared)}.values()


def _undone(compared: Compared) -> Iterator[Asked]:
    tree = compared.tree
    then = _told(dict(tree.texts([path for path in tree.entries if _governs(path)])))
    if not any(one.ends for one in then.values()):
        return
    now = _told({path: data for path in _here(compared) if (data := tree.here(".", path)) is not None})
    none = _Root({}, {})
    for root, was in sorted(then.items()):
        held = [one for one in compared.held if one.then == root]
        for name, day in sorted(was.ends.items()):
            own = compared.held[0]
            taken = _taken(name, was, then.get(tree.own, none), now.get(tree.own, none))
            held_to = [*held, *([own] if taken and own not in held else [])]
            if not held_to and name in was.said and not _kept(now, name, day, was.said[name]):
                held_to = [Held(root, root, f"{root}:")]
            for one in held_to:
                kept, stood = now.get(one.now, none), now.get(root, none)
                here, there = name in kept.said, one.now != root and name in stood.said
                if (kept if here or not there else stood).ends.get(name, "9") <= day:
                    continue
                if not (here or there or name in was.said):
                    continue  # a verdict tells of what is not here
                yield _row(compared, name, day, joined(root, f"waivers/{name}.yaml"), one.prefix, kept, here)


def _taken(name: str, revoked: _Root, then: _Root, now: _Root) -> bool:
    """Whether the project at hand has a waiver that was revoked under another root: it means the same, or was not here
    then as it is, or is about the same."""
    here, ended = now.said.get(name), revoked.said.get(name)
    if here is None:
        return False
    return here != then.said.get(name) or (ended is not None and (here == ended or not here.apart(ended)))


def _kept(now: Mapping[str, _Root], name: str, day: str, said: _Said) -> bool:
    """Whether the record of an end is still somewhere."""
    return any(one.said.get(name) == said and one.ends.get(name, "9") <= day for one in now.values())


def _row(compared: Compared, name: str, day: str, then: str, prefix: str, kept: _Root, here: bool) -> Asked:
    gone = "its file is gone, which is the record" if not here else "no longer revoked"
    what = f"{f'revoked on {day}' if day else 'revoked'} → "
    what += f"revoked on {kept.ends[name]}" if name in kept.ends else gone
    way: Way = "weaker" if here else "removed"
    place = f"waivers/{name}.yaml"
    row = moved_row(f"{prefix}waivers/{name}", way, what, True)
    return Asked(relpath(then, compared.own), place if here else "", place, row)


def _governs(path: str) -> bool:
    return bool(_FILE.fullmatch(path) or _VERDICT.fullmatch(path))


def _here(compared: Compared) -> list[str]:
    """What tells of waivers now, from the top: all that git sees, and all of the project at hand."""
    root = compared.home.root
    own = [
        joined(compared.own, path.relative_to(root).as_posix())
        for path in (*root.glob("waivers/*.yaml"), *root.glob("generated/*/evidence/verdict.json"))
    ]
    return sorted({*own, *(path for path in compared.tree.now if _governs(path))})


def _told(texts: Mapping[str, bytes]) -> dict[str, _Root]:
    found: dict[str, _Root] = {}
    for path, data in texts.items():
        if (file := _FILE.fullmatch(path) or _VERDICT.fullmatch(path)) is None:
            continue
        root = found.setdefault(file["root"] or ".", _Root({}, {}))
        name = file.groupdict().get("id")
        if name:
            said, ends = _said(path, name, data)
            root.said[name] = said
        else:
            ends = _ends(data)
        for name, day in ends.items():
            root.ends[name] = min(day, root.ends.get(name, day))
    return found


def _ends(data: bytes) -> dict[str, str]:
    """Waiver → the day on which it was revoked, as a verdict tells."""
    from kcompiler.cli import excuses

    try:
        return {name: one.end["on"] for name, one in excuses.told(data).items() if one.end}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}  # an audit says so


def _said(path: str, name: str, data: bytes) -> tuple[_Said, dict[str, str]]:
    """What the file of a waiver says, and its end; "" for a day that nobody can read."""
    from kcompiler import source
    from kcompiler.waiver import approved
    from kcompiler.waiver.load import parsed

    tree, _ = source.load(path, data)
    if tree is None or not isinstance(tree.data, dict):
        # it excuses nothing, and may yet be the record of an end
        return _Said(data, frozenset(), {}), ({name: ""} if b"revoked" in data else {})
    end = tree.data.get("revoked")
    ends = {name: str(end.get("on", "") if isinstance(end, dict) else "")} if end is not None else {}
    loaded, _ = parsed(data, path)
    if loaded is None:
        said = {key: value for key, value in tree.data.items() if key != "revoked" and value is not None}
        return _Said(said, frozenset(), {}), ends
    one = loaded.waiver
    return _Said(approved.pin(one), frozenset(one.rules), one.subject.model_dump()), ends
