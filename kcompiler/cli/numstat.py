"""Paths of a project × a revision of git → the files among them that a change touches, each with its lines.

A change is what lies here against the commit at which the history of here left the revision (`git merge-base`).
Renames, binary files and ends of lines are as git says; a file that git does not know is new as a whole. Settings of
the user and attributes of the repository that make git count less are not heard: text is text, whatever marks it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from kcompiler.cli.revision import run

#: mode of a submodule
_SUBMODULE = "160000"
#: bytes in which git looks for a NUL, by which it tells binary files
_LOOKED_AT = 8000


class Uncounted(Exception):
    """Nobody can say how large the change is: the message says why, `action` what to do."""

    def __init__(self, why: str, action: str) -> None:
        super().__init__(why)
        self.action = action


class Changed(NamedTuple):
    """One file, by its path from the project's root. `was`: where it lay before, "" where it was not moved. `added`,
    `deleted`: lines; None for a binary file."""

    path: str
    was: str
    added: int | None
    deleted: int | None

    @property
    def lines(self) -> int:
        return (self.added or 0) + (self.deleted or 0)


class Wanted(NamedTuple):
    """Files, and folders with all below them, from the project's root; `own`: folders in which what git is told to
    ignore is nobody's source."""

    paths: frozenset[str]
    own: frozenset[str] = frozenset()

    def has(self, path: str) -> bool:
        every = self.paths | self.own
        return bool(path) and any(one in (".", path) or path.startswith(f"{one}/") for one in every)

    def below(self, folder: str) -> Wanted:
        """The part that lies in a folder, as seen from there; the folder itself is "."."""

        def inside(paths: Collection[str]) -> frozenset[str]:
            found = {one.removeprefix(f"{folder}/") for one in paths if one.startswith(f"{folder}/")}
            return frozenset(found | ({"."} if any(_covers(one, folder) for one in paths) else set()))

        return Wanted(inside(self.paths), inside(self.own))


def _covers(path: str, folder: str) -> bool:
    return path == "." or folder == path or folder.startswith(f"{path}/")


def fork(root: Path, revision: str) -> str:
    """The commit from which a change is counted. Raises Uncounted."""
    if not _asked(root, "rev-parse", "--is-inside-work-tree"):
        raise Uncounted("it does not lie in a checkout of git", "commit it to a repository, and name one with --base")
    try:
        return _git(root, "merge-base", "--end-of-options", revision, "HEAD").decode().strip()
    except Uncounted:
        cut = _asked(root, "rev-parse", "--is-shallow-repository") == "true"
        if cut:
            raise Uncounted(
                f"this clone is shallow: the commit in which its history and that of {revision} meet is not in it",
                "`git fetch --unshallow`; in CI check out the whole history (`fetch-depth: 0`, `GIT_DEPTH: 0`)",
            ) from None
        raise Uncounted(
            f"{revision} and what is checked out have no commit in common", "name a revision that this one comes from"
        ) from None


def counted(root: Path, commit: str, wanted: Wanted, pinned: Collection[str] = ()) -> list[Changed]:
    """Every file of `wanted` that differs from the commit, by its path. `pinned`: files and folders that are what they
    were by their digests, so that it is no change when git does not know them. Raises Uncounted."""
    return sorted(_counted(root, commit, wanted, Wanted(frozenset(pinned))), key=lambda one: one.path)


def renamed(root: Path, commit: str, path: str) -> str:
    """Where a file lay in a commit, as git finds it by what it says; "" where git does not. Raises Uncounted."""
    words = iter(_git(root, "diff", "-z", "-M", "--relative", "--diff-filter=R", "--name-status", commit, "--")
                 .decode("utf-8", "surrogateescape").split("\0"))  # fmt: skip
    return next((was for _, was, now in zip(words, words, words, strict=False) if now == path), "")


def _counted(root: Path, commit: str, wanted: Wanted, pinned: Wanted) -> Iterator[Changed]:
    for one in _numstat(root, commit):
        if wanted.has(one.path) or wanted.has(one.was):
            yield one if one.added is not None else _read(root, commit, one)
    for path in _unknown(root, wanted):
        if path.endswith("/"):
            raise Uncounted(
                f"{path} is a repository of its own that git does not know here",
                "make it a submodule, or lay its files into this repository",
            )
        if not pinned.has(path):
            yield _new(root, path)
    for folder in _submodules(root):
        below = wanted.below(folder)
        if below.paths or below.own:
            yield from _of_submodule(root, commit, folder, below, pinned.below(folder))


def _of_submodule(root: Path, commit: str, folder: str, wanted: Wanted, pinned: Wanted) -> Iterator[Changed]:
    """What the submodule in a folder holds, against the commit that stood there."""
    inside = root / folder
    if _asked(inside, "rev-parse", "--show-toplevel") in ("", _asked(root, "rev-parse", "--show-toplevel")):
        raise Uncounted(f"the submodule {folder} is not checked out", "`git submodule update --init`")
    entry = _git(root, "ls-tree", "-z", commit, "--", folder).decode("utf-8", "surrogateescape").split()
    known = bool(entry) and entry[0] == _SUBMODULE
    # a submodule that is new is new as a whole: the tree without entries is what was there before
    then = entry[2] if known else _git(inside, "hash-object", "-t", "tree", "--stdin").decode().strip()
    if known and not _asked(inside, "rev-parse", "-q", "--verify", f"{then}^{{commit}}"):
        raise Uncounted(
            f"commit {then[:12]} of the submodule {folder}, from which its part is counted, is not here",
            f"`git -C {folder} fetch --unshallow`, or fetch that commit",
        )
    for one in _counted(inside, then, wanted, pinned):
        yield one._replace(path=f"{folder}/{one.path}", was=f"{folder}/{one.was}" if one.was else "")


def _numstat(root: Path, commit: str) -> Iterator[Changed]:
    """Every file that differs, by its path from `root`."""
    told = _git(
        root, "diff", "--numstat", "-z", "-M", "--relative", "--no-ext-diff", "--no-textconv",
        "--ignore-submodules=all", "--diff-algorithm=default", commit, "--",
    ).decode("utf-8", "surrogateescape")  # fmt: skip
    words = iter(told.split("\0"))
    for word in words:
        if not word:
            continue
        added, deleted, path = word.split("\t", 2)
        was = "" if path else next(words)
        yield Changed(path or next(words), was, _number(added), _number(deleted))


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


def _read(root: Path, commit: str, one: Changed) -> Changed:
    """A file that git calls binary by what it holds: one that an attribute calls so has lines all the same."""
    was, here = one.was or one.path, root / one.path
    known = _git(root, "--literal-pathspecs", "ls-tree", commit, "--", was)
    then = _git(root, "cat-file", "blob", f"{commit}:./{was}") if known else b""
    now = b"" if here.is_symlink() or not here.is_file() else here.read_bytes()
    if b"\0" in then[:_LOOKED_AT] or b"\0" in now[:_LOOKED_AT]:
        return one
    with tempfile.TemporaryDirectory() as apart:
        # where no attribute of the repository is heard
        for name, data in (("then", then), ("now", now)):
            (Path(apart) / name).write_bytes(data)
        told = _git(Path(apart), "diff", "--no-index", "--numstat", "--", "then", "now", fine=(0, 1)).decode()
    added, deleted = (told.split("\t") if told else ("0", "0"))[:2]
    return one._replace(added=_number(added), deleted=_number(deleted))


def _unknown(root: Path, wanted: Wanted) -> Iterator[str]:
    """Files that git does not know: also ignored ones where a spec names them."""
    for paths, options in ((wanted.paths, ()), (wanted.own, ("--exclude-standard",))):
        if paths:
            told = _git(root, "--literal-pathspecs", "ls-files", "--others", "-z", *options, "--", *sorted(paths))
            for path in told.decode("utf-8", "surrogateescape").split("\0"):
                if path and "__pycache__" not in path.split("/"):
                    yield path


def _new(root: Path, path: str) -> Changed:
    """A file that nothing is known of: all its lines are added."""
    try:
        if (root / path).is_symlink():
            return Changed(path, "", 1, 0)
        data = (root / path).read_bytes()
    except OSError as reason:
        raise Uncounted(f"{path} cannot be read: {reason.strerror}", "mend it") from None
    if b"\0" in data[:_LOOKED_AT]:
        return Changed(path, "", None, None)
    return Changed(path, "", data.count(b"\n") + (1 if data and not data.endswith(b"\n") else 0), 0)


def _submodules(root: Path) -> Iterator[str]:
    told = _git(root, "ls-files", "-s", "-z").decode("utf-8", "surrogateescape")
    for entry in told.split("\0"):
        if entry.startswith(f"{_SUBMODULE} "):
            yield entry.partition("\t")[2]


def _asked(root: Path, *words: str) -> str:
    """One line of an answer; "" where git has none."""
    try:
        return _git(root, *words).decode("utf-8", "surrogateescape").strip()
    except Uncounted:
        return ""


def _git(root: Path, *words: str, fine: Collection[int] = (0,)) -> bytes:
    """What git answers in a folder. Raises Uncounted for an exit code that is not `fine`."""
    # what is asked of a submodule must not be answered by the repository that a hook runs in
    here = {name: text for name, text in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_PREFIX")}
    try:
        code, printed, complaint = run(("-c", "core.quotePath=false", *words), root, here)
    except FileNotFoundError:
        raise Uncounted("git is not installed", "install it") from None
    if code not in fine:
        said = complaint.splitlines()
        raise Uncounted(f"git {words[0]}: {said[0] if said else 'failed'}", "mend it, then the same command again")
    return printed
