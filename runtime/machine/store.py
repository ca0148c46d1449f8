"""Folders ↔ content-addressed, read-only artifacts: `.kcompiler/store/sha256/ab/<hex>/`, named by `digest.of_folder`.

An artifact is never trusted by its name: it is hashed again before anything uses it. What no longer has its digest is
moved to `quarantine/`, where it can be looked at and is never used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime import digest
from runtime.contract import BrokenEvidence
from runtime.machine.durable import DISK, Disk, erase, protect

_HEX = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A finished folder outside the store, durable, and what it will be called."""

    folder: Path
    digest: str
    size_bytes: int


class Store:
    """The artifacts of one project. One writer at a time (the lease); readers need none."""

    def __init__(self, state: Path, disk: Disk = DISK) -> None:
        self._root = state / "store" / "sha256"
        self._quarantine = state / "quarantine"
        self._disk = disk
        self._verified: set[str] = set()

    def path(self, artifact: str) -> Path:
        """Where an artifact stands or would stand. Raises ValueError for a text that is no digest."""
        scheme, _, name = artifact.partition(":")
        if scheme != "sha256" or not _HEX.match(name):
            raise ValueError(f"not a digest: {artifact!r}")
        return self._root / name[:2] / name

    def stands(self, artifact: str) -> bool:
        """True when something stands under that name; it is not looked at."""
        return self.path(artifact).is_dir()

    def present(self, artifact: str) -> bool | Literal["corrupt"]:
        """True when the artifact stands here and hashes to its digest. Hashed once per `Store`. Changes nothing."""
        path = self.path(artifact)
        if not path.is_dir():
            self._verified.discard(artifact)
            return False
        if artifact not in self._verified:
            try:
                found = digest.of_folder(path)
            except ValueError:
                return "corrupt"
            if found != artifact:
                return "corrupt"
            self._verified.add(artifact)
        return True

    def read(self, artifact: str) -> Path:
        """The folder of a verified artifact. Raises BrokenEvidence when it is missing or not what it was."""
        state = self.present(artifact)
        if state is not True:
            what = "is not what was stored" if state == "corrupt" else "is not in the store"
            raise BrokenEvidence(f"artifact {artifact} {what}", subject=artifact)
        return self.path(artifact)

    def forget(self, artifact: str) -> None:
        """Hash the artifact again at its next use (something may have written to it)."""
        self._verified.discard(artifact)

    def stage(self, folder: Path) -> Staged:
        """Make a finished folder durable and name it. Raises ValueError for links and other odd files."""
        self._disk.settle(folder)
        entries = digest.manifest(folder)
        name = digest.of_value(entries, "kc.tree.v1")
        return Staged(folder=folder, digest=name, size_bytes=sum(int(entry["bytes"]) for entry in entries))

    def publish(self, staged: Staged) -> Path:
        """Move a staged folder into the store. An equal artifact that stands there stays; a corrupt one goes."""
        target = self.path(staged.digest)
        state = self.present(staged.digest)
        if state is True:
            erase(staged.folder)
            return target
        if state == "corrupt":
            self.quarantine(staged.digest)
        self._disk.move(staged.folder, target)
        protect(target, writable=False)
        self._verified.add(staged.digest)
        return target

    def quarantine(self, artifact: str) -> Path:
        """Move an artifact out of the store, to a name that is free; where it is now."""
        source = self.path(artifact)
        number = 1
        while (target := self._quarantine / f"{source.name}-{number}").exists():
            number += 1
        # Renaming a folder to another parent rewrites its "..": the folder itself must be writable.
        source.chmod(0o755)
        self._disk.move(source, target)
        self._verified.discard(artifact)
        return target

    def digests(self) -> list[str]:
        """Every artifact that stands here, by name only; sorted."""
        return sorted(f"sha256:{path.name}" for path in self._root.glob("??/*") if _HEX.match(path.name))

    def gc(self, keep: Collection[str]) -> list[str]:
        """Remove every artifact that is not in `keep`; the digests removed, sorted."""
        gone = [artifact for artifact in self.digests() if artifact not in keep]
        for artifact in gone:
            # First out of its place in one step, so that a kill in between leaves no half artifact under a digest.
            doomed = self._root / f"gone-{os.getpid()}"
            erase(doomed)
            source = self.path(artifact)
            source.chmod(0o755)
            self._disk.move(source, doomed)
            erase(doomed)
            self._verified.discard(artifact)
        return gone

    def sweep(self) -> None:
        """Remove what a killed `gc` left behind."""
        for path in self._root.glob("gone-*"):
            erase(path)
