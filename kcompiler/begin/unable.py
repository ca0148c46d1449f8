"""The one thing that this room raises."""

from __future__ import annotations


class Unable(Exception):
    """No spec can be begun from what was named; the text says why, `action` what to do."""

    def __init__(self, message: str, action: str) -> None:
        super().__init__(message)
        self.action = action
