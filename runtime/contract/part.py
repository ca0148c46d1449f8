"""Which rows of a split a suite is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from runtime.contract import Params

#: a split by its name (`runtime.contract.splits.SPLITS`)
Split = Literal["train", "validation", "test"]


class Part(Params):
    """Rows of one source, of one class, or of both."""

    source: str | None = None
    subject: str | None = None

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether a dataset row belongs to it."""
        return self.source in (None, row["source"]) and self.subject in (None, row["class"])
