"""Parameters of a rule and the reports it reads → what a check of that kind finds there: pass, fail, or why neither.

One more kind is one more file: it exports `KIND`, a `Kind` of the file's own name with a pure `judge`, and is found by
that name. The published schema of policies follows from its parameters; a shipped rule must use it.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from kcompiler.policy.kind import Kind


@cache
def names() -> tuple[str, ...]:
    """Every kind, sorted. Imports none of them."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))


@cache
def load(name: str) -> Kind:
    """The kind of that name. Raises KeyError when there is none."""
    if name not in names():
        raise KeyError(name)
    kind = importlib.import_module(f"{__name__}.{name}").KIND
    if not isinstance(kind, Kind) or kind.name != name:
        raise TypeError(f"{__name__}.{name} exports no KIND of its own name")
    return kind
