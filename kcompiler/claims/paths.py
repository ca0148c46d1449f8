"""A path that a document names → whether something inside of the project is called so."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import islice
from pathlib import Path

#: files that a path with `<name>` is looked for among
_MOST_FILES = 10_000


def named(path: str, folders: Collection[Path], root: Path) -> bool:
    """Whether a path leads from one of the folders to something; `<name>` in it stands for anything. True of none."""
    pattern = "/".join(
        "**" if re.fullmatch(r"<[^>]*>", part) else re.sub(r"<[^>]*>", "*", part)
        for part in path.rstrip("/").split("/")
    )
    return not pattern or any(_inside(folder, pattern, root.resolve()) for folder in folders)


def _inside(folder: Path, pattern: str, root: Path) -> bool:
    """Whether something inside of the project is called so, links followed."""
    try:
        if "*" not in pattern:
            real = (folder / pattern).resolve(strict=True)
            return real.is_relative_to(root)
        return any(found.resolve().is_relative_to(root) for found in islice(folder.glob(pattern), _MOST_FILES))
    except (ValueError, OSError, NotImplementedError, RuntimeError):
        # a zero byte, a name too long, a pattern from the root, links in a circle: nothing is called so
        return False
