"""A text for a file that people share → the text as it may stand there, or a refusal that names what is in it."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.contract import Refusal
from runtime.data import credentials


@dataclass(frozen=True, slots=True)
class Cleaner:
    """What is done with credentials: refused, or with `redact` replaced by a word; they are never kept."""

    place: str
    redact: bool = False
    keep_personal: bool = False

    def __call__(self, text: str) -> str:
        """Raises Refusal, without what was found."""
        kinds = credentials.found(text)
        if not kinds:
            return text
        if not self.redact:
            raise Refusal(
                f"a recorded text holds credentials ({', '.join(kinds)})",
                place=self.place,
                action="withdraw them, then record with --redact",
                code="KR0236",
            )
        return credentials.without(text)
