"""A text for a file that people share → the text as it may stand there, or a refusal that names what is in it."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.contract import Refusal
from runtime.data import credentials, personal


@dataclass(frozen=True, slots=True)
class Cleaner:
    """What is done with credentials: refused, or with `redact` replaced by a word; they are never kept. Personal data
    are refused unless `keep_personal`, for which whoever records has a reason."""

    place: str
    redact: bool = False
    keep_personal: bool = False

    def __call__(self, text: str) -> str:
        """Raises Refusal, without what was found."""
        personally = [] if self.keep_personal else sorted({one.kind for one in personal.found(text)})
        if personally:
            raise Refusal(
                f"a recorded text holds personal data ({', '.join(personally)})",
                place=self.place,
                action='leave these conversations out, or say why it may stand there: --keep-personal "made up"',
                code="KR0236",
            )
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
