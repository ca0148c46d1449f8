"""A path of a spec or a lock → where it lies on this machine.

Weights need not be copied into every project. `models:NAME` names a folder by a word; where that folder is stands in
`.kcompiler/models.toml` of each machine, outside of spec and lock (as DVC keeps it in `.dvc/config.local`):

    smollm2 = "/data/models/smollm2-135m"

What the folder holds is decided by the digest beside the name, and nowhere else.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

MODELS = "models:"
FILE = ".kcompiler/models.toml"
#: what may follow `models:`
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_LARGEST = 1 << 20


class NoPlace(Exception):
    """A name has no place on this machine; the message says why."""


def named(path: str) -> str:
    """The NAME of `models:NAME`, or ""."""
    return path.removeprefix(MODELS) if path.startswith(MODELS) else ""


def folder_of(root: Path, name: str) -> Path:
    """The folder that this machine gives a name; a relative one starts at the project's root.

    Raises NoPlace: no such name, a list that cannot be read, or nothing where it leads.
    """
    found = _listed(root).get(name)
    if found is None:
        raise NoPlace(f"{FILE} does not name it")
    if not isinstance(found, str) or not found:
        raise NoPlace(f"{FILE} gives it no text")
    try:
        place = (root / Path(found).expanduser()).resolve()
        if not place.is_dir():
            raise NoPlace(f"{FILE} leads to no folder")
    except (OSError, RuntimeError, ValueError):
        raise NoPlace(f"{FILE} leads to no folder") from None
    return place


def _listed(root: Path) -> dict[str, object]:
    path = root / FILE
    try:
        if not path.exists():
            raise NoPlace(f"there is no {FILE}")
        if path.stat().st_size > _LARGEST:
            raise NoPlace(f"{FILE} is larger than {_LARGEST >> 20} MiB")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoPlace(f"{FILE} cannot be read: {error}") from None


def place_of(root: Path, path: str) -> Path:
    """Where an input of a lock lies: below the project's root, or where this machine keeps that model.

    Raises NoPlace. Whether a path leaves the project is not asked here.
    """
    name = named(path)
    return folder_of(root, name) if name else root / path
