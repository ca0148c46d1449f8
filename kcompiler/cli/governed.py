"""A project and a revision of git → the files of the whole repository in it, under whatever root they governed, and
what lies at their places now.

git lists a link or a repository of its own as one thing, while the compiler reads what it leads to: where one stands at
a place that governs, or above it, nobody knows what was compared, so that it is told as such.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from kcompiler.cli.revision import git, run, unmistaken
from kcompiler.project import Project

#: what lies below a project's root and decides what a student is asked
FOLDERS = ("generated", "policies", "waivers")
_LOCK = re.compile(r"(?:(?P<root>.+)/)?(?P<place>generated/[^/]+/plan\.lock)")
_GOVERNS = re.compile(
    r"(?:.+/)?(?:(?P<generated>generated)/[^/]+/(?:plan\.lock|evidence/verdict\.json)"
    r"|(?P<waivers>waivers)/WV-[0-9]+\.yaml|(?P<policies>policies)/(?:.+/)?pack\.yaml)",
    re.IGNORECASE,
)
_LINK, _REPOSITORY, _FOLDER = "120000", "160000", "040000"


class Entry(NamedTuple):
    mode: str
    id: str


class Strange(NamedTuple):
    """A place, from the repository's top, at which git sees something else than the compiler, and why."""

    place: str
    why: str

    @property
    def said(self) -> str:
        return f"{self.place} {self.why}"


class Governed:
    """`own` is the root of the project at hand from the top of the repository, "." for the top itself; so are the other
    roots. Raises Outcome where there is no such revision, or where its name stands for several."""

    def __init__(self, home: Project, revision: str) -> None:
        self.home, self.revision = home, revision
        unmistaken(revision, home.root)
        # the folder's path without the end of line that git puts after it
        up = git("rev-parse", options=["--show-cdup"], at=home.root).decode("utf-8", "surrogateescape")[:-1]
        self.top = (home.root.resolve() / up).resolve()
        self.own = self.root_of(home)
        listed = entries(self.top, revision)
        #: files by their paths from the top; links and repositories of their own are none
        self.entries = {path: one for path, one in listed.items() if one.mode not in _KINDS}
        self.links = {path: one for path, one in listed.items() if one.mode in _KINDS}

    @cached_property
    def locks(self) -> dict[str, list[str]]:
        """Root → the places of its locks then, from there."""
        found: dict[str, list[str]] = {self.own: []}
        for path in self.entries:
            if (one := _LOCK.fullmatch(path)) is not None:
                found.setdefault(one["root"] or ".", []).append(one["place"])
        return found

    @cached_property
    def now(self) -> list[str]:
        """Every file that is here now, from the top, but what git is told to ignore."""
        options = ["-z", "--cached", "--others", "--exclude-standard"]
        listed = git("ls-files", options=options, at=self.top).decode("utf-8", "surrogateescape").split("\0")
        return sorted({one for one in listed if one})

    def below(self, root: str) -> list[str]:
        """Every file below a root then, from there."""
        return [path.removeprefix(f"{root}/") for path in self.entries if root == "." or path.startswith(f"{root}/")]

    def has(self, root: str, place: str) -> bool:
        return joined(root, place) in self.entries

    def text(self, root: str, place: str) -> bytes:
        """A file as it was committed then. Raises Outcome."""
        return git("show", f"{self.revision}:{joined(root, place)}", at=self.top)

    def texts(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Those of some paths, from the top, that were files then, and what they held."""
        known = [path for path in wanted if path in self.entries]
        asked = "".join(f"{self.entries[path].id}\n" for path in known).encode()
        told, at = git("cat-file", options=["--batch"], at=self.top, fed=asked) if known else b"", 0
        for path in known:
            # `NAME blob SIZE`, a line's end, the file, a line's end
            head = told.index(b"\n", at)
            size = int(told[at:head].split(b" ")[2])
            yield path, told[head + 1 : head + 1 + size]
            at = head + size + 2

    def here(self, root: str, place: str) -> bytes | None:
        """What lies at a place now, without following a link; None for nothing."""
        path = self.top
        for part in joined(root, place).split("/"):
            path /= part
            if path.is_symlink():
                return None
        try:
            return path.read_bytes() if path.is_file() else None
        except OSError:
            return None

    def same(self, root: str, place: str) -> bool:
        """Whether a file lies at its place as it was then."""
        entry, data = self.entries.get(joined(root, place)), self.here(root, place)
        return entry is not None and data is not None and _blob(data, entry.id) == entry.id

    def project(self, root: str) -> Project:
        return Project(self.top if root == "." else self.top / root)

    def root_of(self, home: Project) -> str:
        return home.root.resolve().relative_to(self.top).as_posix()

    def new_roots(self, place: str) -> list[str]:
        """The roots of now that had no lock then, are not the one at hand, and have a file at this place."""
        ends = [path.removesuffix(place).rstrip("/") or "." for path in self.now if f"/{path}".endswith(f"/{place}")]
        return [
            root for root in ends if root != self.own and root not in self.locks and self.here(root, place) is not None
        ]

    def strange(self, specs: Sequence[Path]) -> Iterator[Strange]:
        """Whatever git and the compiler do not see alike, then or now, at or above what governs the project at hand: a
        link, a repository of its own, a file that a filter holds elsewhere, a folder called otherwise but for its case.
        `specs`: as they were typed."""
        named = {joined(self.own, self.home.shown(spec)) for spec in specs} | set(self._sources())
        inside = [path for path in {**self.entries, **dict.fromkeys(self.now)} if self._below(path)]
        for path in sorted(path for path in inside if _miscalled(path)):
            yield Strange(path, f"lies in a folder that is called {_miscalled(path)!r} but for its case")
        told: set[str] = set()
        for path, entry in sorted(self.links.items()):
            if self._governs(path, named):
                told.add(path)
                yield Strange(path, f"was {_KINDS[entry.mode]} in {self.revision}: {_WHY}")
        for path in sorted(self._links_now(named) - told):
            where = self.top / path
            if where.is_symlink():
                yield Strange(path, f"is {_KINDS[_LINK]} to {where.readlink()}: {_WHY}")
            else:
                yield Strange(path, f"is {_KINDS[_REPOSITORY]}: {_WHY}")
        governs = [path for path in inside if path in named or _GOVERNS.fullmatch(path)]
        for path, data in self.texts(governs):
            if data.startswith(_POINTER) or b"\0" in data[:_LOOKED_AT]:
                yield Strange(path, f"was no text in {self.revision}: a filter of git held it elsewhere, {_UNREAD}")
        yield from self._around(specs)

    def _below(self, path: str) -> bool:
        return self.own == "." or path.startswith(f"{self.own}/")

    def _sources(self) -> Iterator[str]:
        """The specs, and what else a plan is read from, of every lock of the project at hand, then and now."""
        then = [data for _, data in self.texts([joined(self.own, place) for place in self.locks[self.own]])]
        here = [path.read_bytes() for path in self.home.root.glob("generated/*/plan.lock") if path.is_file()]
        for data in (*then, *here):
            try:
                plan = json.loads(data)
                yield from (joined(self.own, str(path)) for path in (
                    plan["asked"]["spec"], *(one["path"] for one in plan["sources"])))  # fmt: skip
            except (ValueError, LookupError, TypeError):
                continue  # what cannot be read names nothing, and is told where it is compared

    def rootless(self, spec: str) -> str:
        """The folder that a project's mark would make the root of a spec, both from the top: its lock lies there now.
        "" where there is none, or where that is the root at hand."""
        for above in Path(spec).parents:
            root = above.as_posix()
            if root != self.own and any(
                _LOCK.fullmatch(one) and one.startswith(f"{root}/generated/") for one in self.now
            ):
                for path in sorted((self.top / root).glob("generated/*/plan.lock")):
                    if joined(root, spec_of(path.read_bytes())) == spec:
                        return root
        return ""

    def _governs(self, path: str, named: Collection[str]) -> bool:
        """Whether what stands here is, or is above, or is below, a place that governs."""
        if self.own == path or self.own.startswith(f"{path}/"):
            return True
        if self._below(path) and posixpath.relpath(path, self.own).split("/")[0] in FOLDERS:
            return True
        return any(one == path or one.startswith(f"{path}/") for one in named)

    def _links_now(self, named: Collection[str]) -> set[str]:
        """Links and repositories of their own that stand here now, from the top: at, above and below what governs."""
        found = set()
        for folder in FOLDERS:
            for above, folders, files in os.walk(self.top / joined(self.own, folder)):
                for name in (*folders, *files):
                    path = Path(above) / name
                    if path.is_symlink() or name == ".git":
                        found.add((path if name != ".git" else path.parent).relative_to(self.top).as_posix())
        for place in (*(joined(self.own, folder) for folder in FOLDERS), *named):
            path = self.top
            for part in place.split("/"):
                path /= part
                if path.is_symlink() or (path / ".git").exists():
                    found.add(path.relative_to(self.top).as_posix())
                    break
        return found

    def _around(self, specs: Sequence[Path]) -> Iterator[Strange]:
        """Links on the way to the specs as they were typed, and a repository around this one that has this revision and
        had a folder where this one lies."""
        for spec in specs:
            path = spec.absolute()
            links: list[Path] = []
            for one in (path, *path.parents):
                if (one / ".git").exists() and not any((above / ".git").exists() for above in one.parents):
                    for link in links:
                        yield Strange(link.relative_to(one).as_posix(), f"is {_KINDS[_LINK]}: {_WHY}")
                    break
                if one.is_symlink():
                    links.append(one)
        for outer in self.top.parents:
            if not (outer / ".git").exists():
                continue
            place = self.top.relative_to(outer).as_posix()
            code, printed, _ = run(["ls-tree", "--end-of-options", self.revision, place], outer)
            mode = printed.decode("utf-8", "replace").partition(" ")[0]
            stands = run(["ls-files", "-s", "--", place], outer)[1].startswith(_REPOSITORY.encode())
            then = entries(outer, self.revision) if not code and (mode == _FOLDER or (stands and not mode)) else {}
            if mode == _FOLDER or any(_LOCK.fullmatch(path) for path in then):
                yield Strange(place, f"is {_KINDS[_REPOSITORY]}, which it was not in {self.revision} of {outer.name}")
            break


_KINDS = {_LINK: "a symbolic link", _REPOSITORY: "a repository of its own"}
#: how a file begins that stands for one of Git LFS, and in how many bytes git looks for a NUL
_POINTER, _LOOKED_AT = b"version https://git-lfs.github.com/", 8000
_UNREAD = "so that nobody knows what it said"
_WHY = "git lists it, and the compiler reads what it leads to; lay the files themselves there"


def entries(top: Path, revision: str) -> dict[str, Entry]:
    """Every file of a revision, from the top. Raises Outcome."""
    listed = git("ls-tree", revision, options=["-rz", "--full-tree"], at=top).decode("utf-8", "surrogateescape")
    found = {}
    for line in listed.split("\0"):
        if line:
            said, _, path = line.partition("\t")
            mode, _, name = said.split(" ")
            found[path] = Entry(mode, name)
    return found


def spec_of(data: bytes) -> str:
    """The spec that a lock names, where nothing else of it is asked; "" for none."""
    try:
        return str(json.loads(data)["asked"]["spec"])
    except (ValueError, LookupError, TypeError):
        return ""


def joined(root: str, place: str) -> str:
    return posixpath.normpath(posixpath.join(root, place))


def _miscalled(path: str) -> str:
    """What one of the folders should be called, where it is not but for its case; "" otherwise."""
    one = _GOVERNS.fullmatch(path)
    known = {name: said for name, said in one.groupdict().items() if said} if one is not None else {}
    return next((name for name, said in known.items() if name != said), "")


def _blob(data: bytes, like: str) -> str:
    """The name that git gives to a file, of the length of another name."""
    import hashlib

    digest = hashlib.sha1 if len(like) == 40 else hashlib.sha256
    return digest(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
