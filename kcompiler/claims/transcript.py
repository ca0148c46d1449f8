"""A quoted line × the lines of a record → the line that it is, whole and in its order, or why it is none."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

#: stands for what is left out
ELIDED = {"…", "..."}


def following(
    words: Sequence[str],
    rows: Sequence[Sequence[str]],
    places: Mapping[tuple[str, ...], Sequence[int]],
    at: int,
    skipped: bool,
) -> tuple[int, str]:
    """The recorded line that a quoted one is, or why it is none: whole, behind the one before, and right behind it
    where nothing says that lines are left out."""
    cut = bool(words) and words[-1] in ELIDED
    if not skipped:
        while at < len(rows) and not rows[at]:
            at += 1
        here = rows[at] if at < len(rows) else []
        if list(here) == list(words) or (cut and here and list(here[: len(words) - 1]) == list(words[:-1])):
            return at, ""
    if cut:
        later = (i for i in range(at, len(rows)) if list(rows[i][: len(words) - 1]) == list(words[:-1]))
        found = next(later, None)
    else:
        known = places.get(tuple(words), ())
        found = next((i for i in known[bisect_left(known, at) :]), None)
    if found is None:
        longer = next((row for row in rows[at:] if list(row[: len(words)]) == list(words)), None)
        if longer and not cut:
            return at, f"goes on in this line, with `{' '.join(longer[len(words) :])[:60]}`"
        return at, "has no line like this" + (" behind the line quoted before" if at else "")
    return (found, "") if skipped else (at, f"has `{' '.join(rows[at])[:60]}` before this line, and nothing says so")
