"""A spec's file → Spec, or every mistake in it at once. Mistakes are data: nothing is raised for a bad spec."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kcompiler import assets, checks, schema, source
from kcompiler.diagnostic import Diagnostic, did_you_mean, from_refusal, has_errors, ordered, suggest
from kcompiler.project import Project
from kcompiler.source import LIMITS, Limits, Tree
from kcompiler.spec import Spec
from kcompiler.spec.parse import parse
from runtime.contract import Refusal


@dataclass(frozen=True)
class Front:
    """What compiling a spec's text gave. `spec` is None exactly when `diagnostics` hold an error."""

    path: Path
    tree: Tree | None
    spec: Spec | None
    diagnostics: list[Diagnostic]
    #: the bytes of the file, as far as they were read
    source: bytes = field(repr=False)


def compile_spec(
    path: Path, root: Path, *, packs: Sequence[Path] | None = None, limits: Limits = LIMITS, pure: bool | None = None
) -> Front:
    """Read, parse and check one spec. References start at its folder and must stay below `root`.

    `packs` are the folders that hold policy packs: by default those of the project, then the shipped ones.
    """
    root, path = Path(root), Path(path)
    try:
        shown = Project(root).shown(path)
    except (OSError, RuntimeError, ValueError):
        # a loop of links, or a name no file system takes: reading it says so
        shown = Path(os.path.relpath(path.absolute(), root.absolute())).as_posix()
    data, found = _read(path, shown, limits)
    if data is None:
        return Front(path, None, None, found, b"")
    tree, found = source.load(shown, data, limits=limits, pure=pure)
    if tree is None:
        return Front(path, None, None, ordered(found), data)
    try:
        structure = schema.validate(tree)
    except Refusal as refusal:
        # two installed distributions are at odds about a name: no spec can be read until one of them is gone
        return Front(path, tree, None, ordered([*found, from_refusal(refusal)]), data)
    found = [*found, *structure.diagnostics]
    spec = None
    if isinstance(tree.data, dict):
        folders = (root / "policies", assets.folder("policies")) if packs is None else tuple(packs)
        spec, more = _meaning(tree, checks.World(root, path.resolve().parent, folders), structure, found)
        found = [*found, *more]
    return Front(path, tree, None if has_errors(found) else spec, ordered(found), data)


def _meaning(
    tree: Tree, world: checks.World, structure: schema.Findings, found: list[Diagnostic]
) -> tuple[Spec | None, list[Diagnostic]]:
    """Sections in their models, and the checks of those sections whose text means what it says."""
    parsed = parse(tree, structure.foreign)
    wrong = {item.pointer for item in found if item.severity == "error"} - structure.foreign
    # what the schema or the loader has refused the models refuse as well: they are heard only where those saw nothing
    more = parsed.diagnostics if not structure.diagnostics and not tree.broken else []
    doubted = {pointer.split("/")[1] for pointer in wrong | tree.broken if pointer}
    return parsed.spec, [*more, *checks.run(parsed.partial, tree, world, parsed.sections - doubted)]


def _read(path: Path, shown: str, limits: Limits) -> tuple[bytes | None, list[Diagnostic]]:
    try:
        # not blocking, so that a pipe is refused instead of waited for
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None, [Diagnostic(code="KC1001", file=shown, summary="no such file", help=_neighbour(path))]
    except (OSError, ValueError) as error:
        return None, [_unreadable(shown, error)]
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None, [Diagnostic(code="KC1002", file=shown, summary="not a file", help="name the spec's YAML file")]
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(limits.bytes + 1), []
        except OSError as error:
            return None, [_unreadable(shown, error)]


def _unreadable(shown: str, error: OSError | ValueError) -> Diagnostic:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Diagnostic(
        code="KC1003",
        file=shown,
        summary="the file cannot be read",
        detail=reason,
        help="check the path and its permissions",
    )


def _neighbour(path: Path) -> str:
    try:
        names = sorted(item.name for item in path.parent.glob("*.y*ml"))
    except OSError:
        names = []
    return did_you_mean(path.name, suggest(path.name, names)) or "`kcompiler init` writes a spec to start from"
