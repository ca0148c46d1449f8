"""Token ids, one at a time → pieces of text that may be shown: whole characters, and nothing of a stop text.

The pieces together are what the tokenizer makes of all ids at once. A byte-level tokenizer spells a character in
several tokens: what is not a whole character yet is held back. What could be the beginning of a stop text is too.
(Byte fallback gives up a run of bytes, whole characters and all, for one byte that fits none: they were shown before.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
#: what every decoder writes for bytes that are no character
BROKEN = "\ufffd"


class Detokenizer:
    """Ids → text as it grows. `decode` makes a text of some ids that follow each other."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        #: the last ids that were shown, in whose company the next ones are read, and ids that wait for more
        self._shown: list[int] = []
        self._held: list[int] = []

    def push(self, token: int) -> str:
        """The text that this id completes; "" while a character is not whole."""
        self._held.append(token)
        before, now = self._decode(self._shown), self._decode([*self._shown, *self._held])
        if len(now) <= len(before) or now.endswith(BROKEN):
            return ""
        self._shown, self._held = self._held, []
        return now[len(before) :]

    def rest(self) -> str:
        """What was held back when nothing more comes; a broken character shows as U+FFFD."""
        before, now = self._decode(self._shown), self._decode([*self._shown, *self._held])
        self._shown, self._held = [*self._shown, *self._held], []
        return now[len(before) :]


class Frame:
    """Text as it grows → the text without what a template writes `before` and `after` an answer."""

    def __init__(self, before: str, after: str) -> None:
        self._before, self._after = before, after
        self._held = ""
        #: whether nothing can be taken away from the beginning any more, and what was
        self._begun, self.dropped = not before, ""

    def push(self, text: str) -> str:
        """What may be shown now."""
        self._held += text
        if not self._begun:
            if len(self._held) < len(self._before) and self._before.startswith(self._held):
                return ""
            self._begun, self.dropped = True, self._before if self._held.startswith(self._before) else ""
            self._held = self._held.removeprefix(self._before)
        keep = _beginning_of([self._after], self._held, len(self._after))
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def rest(self) -> str:
        """What was held back when nothing more comes."""
        shown, self._held = self._held if not self._begun else self._held.removesuffix(self._after), ""
        return shown


def _beginning_of(texts: Sequence[str], text: str, longest: int) -> int:
    """How many last characters of a text, at most `longest`, are the beginning of one of some texts."""
    for size in range(min(longest, len(text)), 0, -1):
        end = text[-size:]
        if any(one.startswith(end) for one in texts):
            return size
    return 0


class Stops:
    """Text as it grows → text before the first stop text, across all borders of pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """What may be shown now. Once a stop text is `found` nothing is shown any more."""
        if self.found:
            return ""
        self._held += text
        ends = [(place + len(stop), place) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if ends:
            self.found = True
            # the one that is whole first, so that it does not matter in which pieces the text came
            shown, self._held = self._held[: min(ends)[1]], ""
            return shown
        keep = self._waiting()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def rest(self) -> str:
        """What was held back when nothing more comes."""
        shown, self._held = self._held, ""
        return shown

    def _waiting(self) -> int:
        """How many last characters are the beginning of a stop text."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        return _beginning_of(self._stops, self._held, longest)
