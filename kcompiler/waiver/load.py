"""The folder `waivers` of a project → its waivers, and every mistake in their files at its place.

Whatever cannot be read excuses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kcompiler import source
from kcompiler.diagnostic import Diagnostic
from kcompiler.policy.typed import typed
from kcompiler.waiver.file import Waiver
from runtime import digest

FOLDER = "waivers"
CODE = "KC6102"
_NOTE = "schemas/waiver.schema.json describes a waiver"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A waiver with the text it was read from. `digest` is "sha256:…" of the file's bytes."""

    waiver: Waiver
    digest: str
    file: str
    tree: source.Tree = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def meaning(self) -> str:
        """ "sha256:…" of what it means."""
        return digest.of_value(self.waiver.meaning, "kc.waiver.v1")


def load(folder: Path, shown: str = FOLDER) -> tuple[Sequence[Loaded], Sequence[Diagnostic]]:
    """Every waiver of a folder, by id; a folder that is not there has none. `shown` is how messages call it."""
    found: list[Loaded] = []
    problems: list[Diagnostic] = []
    try:
        files = sorted(folder.rglob("*.y*ml")) if folder.is_dir() else []
    except OSError as reason:
        return [], [Diagnostic(code=CODE, file=shown, summary=f"cannot be read: {reason.strerror or reason}")]
    for file in files:
        name = f"{shown}/{file.relative_to(folder).as_posix()}"
        if file.parent != folder or file.suffix != ".yaml":
            problems.append(
                Diagnostic(
                    code=CODE,
                    file=name,
                    summary="nobody reads a waiver that lies here",
                    help=f"move it to {shown}/<id>.yaml",
                )
            )
            continue
        loaded, wrong = read(file, name)
        problems += wrong
        found += [] if loaded is None else [loaded]
    return found, problems


def read(file: Path, shown: str) -> tuple[Loaded | None, list[Diagnostic]]:
    """One file, or what is wrong with it."""
    try:
        data = file.read_bytes()
    except OSError as reason:
        return None, [Diagnostic(code=CODE, file=shown, summary=f"cannot be read: {reason.strerror or reason}")]
    return parsed(data, shown)


def parsed(data: bytes, shown: str) -> tuple[Loaded | None, list[Diagnostic]]:
    """The same of bytes; the name of the file is the last part of `shown`."""
    tree, problems = source.load(shown, data)
    waiver, wrong = typed(Waiver, tree, code=CODE, note=_NOTE)
    problems += wrong
    if tree is None or waiver is None:
        return None, problems
    if f"{waiver.id}.yaml" != shown.rpartition("/")[2]:
        problems.append(
            tree.diagnostic(
                CODE,
                "/id",
                f"waiver `{waiver.id}` lies in a file of another name",
                help=f"call the file {waiver.id}.yaml",
            )
        )
    if any(one.severity == "error" for one in problems):
        return None, problems
    return Loaded(waiver=waiver, digest=digest.of_bytes(data), file=shown, tree=tree, data=data), problems
