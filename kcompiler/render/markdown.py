"""A view → markdown for a pull-request comment, never larger than such a comment may be."""

from __future__ import annotations

import re

from kcompiler.render.view import View

#: what the comment fields of code hosts take, in bytes (terraform-cdk-action#150)
BUDGET = 65_536


def text(view: View, *, whole: str, budget: int = BUDGET) -> str:
    """The view in at most `budget` bytes of UTF-8. The digest always stands in it; when something is cut, so does how
    much, and the command `whole` that prints everything."""
    head = f"### {_escape(view.headline)}\n\nlock `{view.digest}`\n"
    note = f"\n_{{}} of {{}} lines are left out here; the whole text: `{whole.replace('`', '')}`_\n"
    rows = [(block.title, row) for block in view.sections for row in block.rows]
    room = budget - len((head + note).encode()) - 100
    kept = []
    for title, row in rows:
        # a title costs its heading and its fence once; counting them for each row errs on the small side
        room -= len(row.encode()) + len(title.encode()) + 24
        if room < 0:
            break
        kept.append((title, row))
    body = "".join(_block(block.title, [row for title, row in kept if title == block.title]) for block in view.sections)
    cut = note.format(len(rows) - len(kept), len(rows)) if len(kept) < len(rows) else ""
    return head + body + cut


def _block(title: str, rows: list[str]) -> str:
    if not rows:
        return ""
    longest = max((len(run) for row in rows for run in re.findall(r"`+", row)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n**{title}**\n{fence}text\n" + "\n".join(rows) + f"\n{fence}\n"


def _escape(line: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", line)
