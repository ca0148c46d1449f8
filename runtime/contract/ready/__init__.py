"""Files that tests and scans of a team's CI leave → what they say of the code. One file for each form: JUnit,
Cobertura, SARIF; `runtime/data/readiness.py` makes the report of all of them.

To read one more form, add a file beside these whose function gives the data of its part, and name it in `READ`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.contract.ready import cobertura, junit, sarif
from runtime.contract.ready.form import Unreadable

__all__ = ["READ", "Unreadable"]

#: what a file is about → the function that reads its bytes. Raises Unreadable: it is not of its form, or not whole
READ: Mapping[str, Callable[[bytes], dict[str, Any]]] = {
    "coverage": cobertura.read,
    "docs": sarif.read,
    "lint": sarif.read,
    "placeholders": sarif.read,
    "security": sarif.read,
    "tests": junit.read,
}
