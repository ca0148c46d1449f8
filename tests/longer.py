"""Cases beside one like them that the quick set asks: `KCOMPILER_LONG=1 python -m pytest -n 2` asks all (README.md)."""

import os
from collections.abc import Iterable
from typing import Any

import pytest

LONG = "KCOMPILER_LONG" in os.environ
longer = pytest.mark.skipif(not LONG, reason="beside one like it: KCOMPILER_LONG=1")


def also(*values: Any) -> Any:
    """A case that only the long set asks."""
    return pytest.param(*values, marks=longer)


def some(cases: Iterable[Any], every: int) -> list[Any]:
    """Of many cases alike the quick set asks every so manieth."""
    return [
        case if at % every == 0 else also(*(case if isinstance(case, tuple) else (case,)))
        for at, case in enumerate(cases)
    ]
