"""A path as written in a spec → where it lies, if it may lie there."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from kcompiler.facts import World

_ABSOLUTE = re.compile(r"[/~\\]|[A-Za-z]:")


def relative(written: str) -> bool:
    """Whether a path is one that means the same on every machine: relative, `/` between folders."""
    return not _ABSOLUTE.match(written) and "\\" not in written


def inside(path: Path, world: World) -> bool:
    """Whether a path, with every `..` and symbolic link followed, lies below the project's root."""
    try:
        return path.resolve().is_relative_to(world.root.resolve())
    except (OSError, RuntimeError, ValueError):
        # a loop of links, or a name no file system takes
        return False


def leaves_by_link(written: str, world: World) -> bool:
    """Whether it is a symbolic link, and not the text of the path, that leads out of the project."""
    plain = Path(os.path.normpath(world.folder.resolve() / written))
    return plain.is_relative_to(world.root.resolve())


def kind(path: Path) -> str:
    """What lies there: "file", "folder", "other" (a pipe, a device), or "" for nothing."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        # absent, or a name too long for any file system
        return ""
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def located(written: str, world: World) -> Path | None:
    """The file or folder itself; None for a path that no reference may use. It need not exist."""
    if not relative(written) or not inside(world.folder / written, world):
        return None
    return (world.folder / written).resolve()
