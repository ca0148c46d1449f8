"""The files and models that a spec names → what they say of themselves, read once, asked by checks.

One module per kind of thing. A new kind is a module here whose functions take a `World`, and give values or None for
what cannot be read; whether that is a mistake is said by a check.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """What may be looked at besides the spec. References start at `folder` and stay below `root`."""

    root: Path
    folder: Path
    #: folders that hold policy packs, the first that has a pack wins
    packs: tuple[Path, ...] = ()
