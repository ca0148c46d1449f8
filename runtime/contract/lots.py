"""Rows of one runner → lots: fixed sets by a stable hash of the row's id, always asked together.

How much is asked at once may turn the last bit of a number. A lot depends on the rows alone, so that nothing depends on
who asks it, how the work was divided, or where an attempt was killed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract import Refusal

#: rows of a lot, about: so much is asked again after a kill, and so much can share a batch
ROWS = 64

Row = Mapping[str, Any]


def place(row_id: str, lots: int) -> int:
    """The lot of a row: the first eight bytes of its id's SHA-256, modulo their number."""
    return int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:8], "big") % lots


def number(rows: int) -> int:
    """How many lots there are of so many rows."""
    return max(1, -(-rows // ROWS))


def of(rows: Sequence[Row]) -> list[list[Row]]:
    """The lots of these rows, each in their order; one may be empty."""
    found: list[list[Row]] = [[] for _ in range(number(len(rows)))]
    for row in rows:
        found[place(str(row["id"]), len(found))].append(row)
    return found


def distinct(rows: Sequence[Row]) -> None:
    """Raises Refusal for two rows whose ids are one after Unicode's canonical composition: nobody tells them apart."""
    seen: dict[str, str] = {}
    for row in rows:
        name = str(row["id"])
        other = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if other is not name:
            raise Refusal(
                f"rows {other!a} and {name!a} have one id, written in two ways",
                action="give each row an id of its own",
                code="KR0211",
            )
