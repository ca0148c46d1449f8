"""A path somebody typed → the project it belongs to, and where the project keeps what commands write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MARKS = (".kcompiler", ".git")


@dataclass(frozen=True)
class Project:
    """The root folder and its fixed places. Nothing a spec names may lie outside the root."""

    root: Path

    def shown(self, path: Path) -> str:
        """How a path is written in messages and locks: relative to the root, forward slashes."""
        absolute = _resolved(path)
        root = self.root.resolve()
        return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else path.as_posix()

    def generated(self, name: str) -> Path:
        return self.root / "generated" / name

    def lock(self, name: str) -> Path:
        return self.generated(name) / "plan.lock"

    def evidence(self, name: str) -> Path:
        return self.generated(name) / "evidence"

    def verdict(self, name: str) -> Path:
        return self.evidence(name) / "verdict.json"


def find(path: Path) -> Project:
    """The nearest folder above `path` that holds `.kcompiler` or `.git`; else the folder of `path`, or the one above
    it when that folder is called `specs` or `generated`."""
    start = _resolved(path if _is_folder(path) else path.parent)
    for folder in (start, *start.parents):
        if any((folder / mark).exists() for mark in _MARKS):
            return Project(folder)
    return Project(start.parent if start.name in ("specs", "generated") else start)


def of_lock(path: Path) -> Project:
    """The project that a lock belongs to. A lock lies in generated/<name>/ of its project's root, also in evidence that
    was unpacked somewhere without `.git` and `.kcompiler`; one that lies elsewhere belongs where `find` says."""
    folder = _resolved(path).parent
    return Project(folder.parents[1]) if folder.parent.name == "generated" else find(path)


def _resolved(path: Path) -> Path:
    """Without links where they can be followed; as it is written for a loop of links or a name too long to look up."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
