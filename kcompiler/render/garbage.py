"""What no lock needs → a listing with sizes, and what stays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompiler.render.human import inert
from kcompiler.render.human_run import table
from kcompiler.render.view import size

if TYPE_CHECKING:
    from runtime.machine.apply import Garbage, Item


def data(found: Garbage, root: Path, *, dry_run: bool) -> dict[str, Any]:
    """For programs."""
    return {
        "removed": not dry_run,
        "items": [
            {
                "room": room,
                "name": item.digest,
                "spec": item.spec,
                "of": item.name,
                "bytes": item.size_bytes,
                "path": item.path.relative_to(root).as_posix(),
            }
            for room, items in (("work", found.scratch), ("artifact", found.artifacts))
            for item in items
        ],
        "bytes": found.size_bytes,
        "kept_artifacts": found.kept_artifacts,
        "kept_work": found.kept_scratch,
    }


def text(found: Garbage, locks: Sequence[str], root: Path, *, dry_run: bool) -> str:
    """One line per folder: what it is, who made it, how large it is and where it lies (or lay)."""
    rows = [*_rows("scratch", found.scratch, root), *_rows("artifact", found.artifacts, root)]
    kept = f"{_counted(found.kept_artifacts, 'artifact')}, {_counted(found.kept_scratch, 'scratch folder')}"
    lines = [
        *([("would be removed" if dry_run else "removed"), *table(rows)] if rows else ["nothing to remove"]),
        f"kept   {kept} (for {', '.join(locks)}), paid answers, the journal",
        *([f"{'would free' if dry_run else 'freed'}   {size(found.size_bytes)}"] if rows else []),
    ]
    return "\n".join(map(inert, lines)) + "\n"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _rows(kind: str, items: Iterable[Item], root: Path) -> list[list[str]]:
    return [
        [kind, item.spec, item.name, size(item.size_bytes), item.path.relative_to(root).as_posix()] for item in items
    ]
