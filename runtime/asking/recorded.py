"""Items of an earlier run → the same items again, where row and prompt are the same. Nothing else is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime import catalog
from runtime.contract import Refusal, items
from runtime.contract.asked import Asked
from runtime.contract.rows import prompt_of

#: longest file of items that is read
MOST_BYTES = 1 << 30


class Recorded:
    """Lines of one runner of an earlier run, by row and digest of the prompt."""

    def __init__(self, name: str, lines: Mapping[tuple[str, str], items.Line]) -> None:
        self.name, self._lines = name, lines

    def remembered(self, rows: Sequence[Mapping[str, Any]]) -> list[items.Line | None]:
        """The line of each row as this runner's own, None where the file has none for it."""
        found = [self._lines.get((str(row["id"]), items.prompt_digest(prompt_of(row)))) for row in rows]
        return [None if one is None else {**one, "runner": self.name} for one in found]


def opened(asked: Asked) -> Recorded:
    """Raises Refusal for a file that is no items.jsonl, or says two things of one row."""
    path, who = asked.takes["model"], asked.params.runner

    def wrong(why: str, action: str) -> Refusal:
        return Refusal(f"the recorded items cannot be used: {why}", place=path.name, action=action, code="KR0220")

    if path.stat().st_size > MOST_BYTES:
        raise wrong(f"the file is larger than {MOST_BYTES >> 30} GiB", "split it by suite")
    try:
        lines = items.read(path.read_bytes())
    except ValueError as error:
        raise wrong(str(error), "take the items.jsonl that a run has written") from None
    found: dict[tuple[str, str], items.Line] = {}
    for one in lines:
        if one["runner"] != who:
            continue
        if found.setdefault((one["row"], one["prompt"]), one) != one:
            raise wrong(f"two lines of row `{one['row']}` by runner `{who}`", "keep the one that was answered")
    kind = catalog.load("runners", who) if who in catalog.names("runners") else None
    if kind is not None and kind.forges:
        raise wrong(
            f"runner `{who}` says what each row wants to hear: its lines are nobody's answers",
            "name a runner of it that asked a model",
        )
    if not found:
        there = ", ".join(sorted({one["runner"] for one in lines})) or "nobody"
        raise wrong(f"no line is of runner `{who}`", f"name one of those in it: {there}")
    return Recorded(asked.name, found)
