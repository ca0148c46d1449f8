"""Committed records and the store → what was made: what each artifact is for, its size, and where it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kcompiler.render.human import inert
from kcompiler.render.human_run import table
from kcompiler.render.view import size
from runtime.contract import KINDS

#: entries of an artifact's folder that are named; the rest is counted
_MOST = 8


def listed(records: Iterable[Mapping[str, Any]], root: Path) -> list[dict[str, Any]]:
    """One entry per artifact in use, in the order of the steps; reports are shown by `show report`."""
    found = []
    for record in records:
        for port, give in record["gives"].items():
            if give["kind"] == "report":
                continue
            scheme, _, text = give["digest"].partition(":")
            place = f".kcompiler/store/{scheme}/{text[:2]}/{text}"
            folder = root / place
            found.append(
                {
                    "artifact": f"{record['step']}.{port}",
                    "kind": give["kind"],
                    "about": KINDS[give["kind"]],
                    "bytes": give["bytes"],
                    "digest": give["digest"],
                    "path": place,
                    "here": folder.is_dir(),
                    "holds": sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [],
                }
            )
    return found


def text(entries: Iterable[Mapping[str, Any]]) -> str:
    """Two lines each: name, size and purpose, then the folder; and what stands in it."""
    lines = []
    for entry in entries:
        holds = entry["holds"]
        names = ", ".join(holds[:_MOST]) + (f" and {len(holds) - _MOST} more" if len(holds) > _MOST else "")
        lines += [f"{entry['artifact']}   {entry['kind']}, {size(entry['bytes'])}: {entry['about']}"]
        lines += table([["path", entry["path"] if entry["here"] else f"{entry['path']}, which is not here"]])
        lines += table([["holds", names]]) if names else []
    return "\n".join(map(inert, lines)) + "\n"
