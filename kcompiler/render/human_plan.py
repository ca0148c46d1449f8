"""A view → text for a terminal: titles in a column of their own, no colour, the same order always."""

from __future__ import annotations

from collections.abc import Sequence

from kcompiler.render.view import View


def text(view: View) -> str:
    """The whole view."""
    lines = [view.headline, ""]
    for block in view.sections:
        lines += section(block.title, block.rows)
    return "\n".join(lines).rstrip() + "\n"


_COLUMN = 9


def section(title: str, lines: Sequence[str]) -> list[str]:
    """A titled block: the title stands on its first line only; one that is longer than its column on a line of its
    own."""
    if len(title) >= _COLUMN and lines:
        return [title, *section("", lines)]
    return [f"{title if i == 0 else '':<{_COLUMN}}{line}".rstrip() for i, line in enumerate(lines)]
