"""jsonschema, without what it loads for formats, of which nobody here asks.

Where rfc3987-syntax stands beside it, as it does with Jupyter, jsonschema loads it, and it builds forty parsers from a
grammar: 0.8 s of every `apply`, `gate` and `audit`. It may be absent, so it is, while jsonschema is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SLOW = "rfc3987_syntax"


@contextmanager
def _absent() -> Iterator[None]:
    """Within the context the package cannot be imported, unless somebody has."""
    if _SLOW in sys.modules:
        yield
        return
    sys.modules[_SLOW] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_SLOW]


with _absent():
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from jsonschema.validators import extend

__all__ = ["Draft202012Validator", "best_match", "extend"]
