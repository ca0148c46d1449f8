"""A view or a result → markdown for a pull-request comment, never larger than such a comment may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kcompiler.render.human import inert, shortened
from kcompiler.render.human_run import table
from kcompiler.render.view import Section, View
from kcompiler.result import Result, RuleOutcome

#: what a title may not hold: it stands outside of fences
_UNTITLED = re.compile(r"[^A-Za-z0-9 -]")
#: what the comment fields of code hosts take, in bytes (terraform-cdk-action#150)
BUDGET = 65_536


def text(shown: View, *, whole: str, budget: int = BUDGET) -> str:
    """The view in at most `budget` bytes of UTF-8. The digest always stands in it; when something is cut, so does how
    much, and the command `whole` that prints everything."""
    # a headline in a code span is neither markup nor a mention
    head = f"### `{_plain(shown.headline)}`\n" + (f"\nlock `{_plain(shown.digest)}`\n" if shown.digest else "")
    note = f"\n_{{}} of {{}} lines are left out here; the whole text: `{_plain(whole)}`_\n"
    rows = [(block.title, row) for block in shown.sections for row in block.rows]
    room = budget - len((head + note).encode()) - 100
    kept = []
    for title, row in rows:
        # a title costs its heading and its fence once; counting them for each row errs on the small side
        room -= len(row.encode()) + len(title.encode()) + 24
        if room < 0:
            break
        kept.append((title, row))
    titles = dict.fromkeys(block.title for block in shown.sections)
    body = "".join(_block(title, [row for of, row in kept if of == title]) for title in titles)
    cut = note.format(len(rows) - len(kept), len(rows)) if len(kept) < len(rows) else ""
    return head + body + cut


def _block(title: str, rows: list[str]) -> str:
    if not rows:
        return ""
    longest = max((len(run) for row in rows for run in re.findall(r"`+", row)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n**{title}**\n{fence}text\n" + "\n".join(rows) + f"\n{fence}\n"


def _plain(line: str) -> str:
    """What may stand in a code span: one line, of a length that leaves room for the rest."""
    return inert(line).replace("`", "'")[:400]


def result(found: Result, *, budget: int = BUDGET) -> str:
    """A result in at most `budget` bytes: how it ended, what blocks, then the rest. Text of others stands in fences
    that it cannot end, so that it is neither markup nor a mention."""
    return text(view(found), whole=f"{_command(found)} --format json", budget=budget)


def _command(found: Result) -> str:
    return f"kcompiler {found.verb} {found.subject}".strip()


def view(found: Result) -> View:
    """A result as titled rows: how it ended, what blocks, then the rest."""
    headline = found.headline or f"{_command(found)}: {found.word}"
    sections = [
        Section(title=_UNTITLED.sub(" ", title), rows=[inert(row) for row in rows])
        for title, rows in _sections(found)
        if rows
    ]
    return View(headline=headline, digest=found.plan, sections=sections)


def _sections(found: Result) -> Iterator[tuple[str, Sequence[str]]]:
    ended = [f"outcome={found.word} code={found.code}" + (f" next={found.next}" if found.next else "")]
    yield "outcome", [inert(row) for row in (*found.message.splitlines(), *ended)]
    parts = found.parts or (found,)
    if found.parts:
        rows = [[part.verb, part.subject, str(part.code), part.word] for part in found.parts]
        yield "stages", [inert(row) for row in table(rows, indent="")]
    mistakes = dict.fromkeys(one for part in parts for one in part.diagnostics)
    yield (
        "mistakes",
        [
            inert(f"{one.severity}[{one.code}] {one.place}: {one.summary}" + (f" ({one.help})" if one.help else ""))
            for one in mistakes
        ],
    )
    outcomes = list(dict.fromkeys(one for part in parts for one in part.outcomes))
    yield "blocking", _gates([one for one in outcomes if one.blocks])
    yield "waived", _gates([one for one in outcomes if one.status == "waived"])
    yield "advisory", _gates([one for one in outcomes if not one.blocks and one.status not in ("pass", "waived")])
    counted = {
        status: sum(one.status == status for one in outcomes)
        for status in dict.fromkeys(one.status for one in outcomes)
    }
    if outcomes:
        words = ", ".join(f"{count} {word}" for word, count in counted.items())
        verdicts = dict.fromkeys(part.verdict for part in parts if part.verdict)
        yield "verdict", [inert(f"{', '.join(verdicts)}   {words}")]
    findings = dict.fromkeys(one for part in parts for one in part.findings)
    rows = [[one.code, one.severity, one.where.text, one.message] for one in findings]
    yield "findings", [inert(row) for row in table(rows, indent="")]
    for part in parts:
        if part.sections:
            yield from part.sections
        elif part.steps:
            rows = [
                [one.step, one.action, f"{one.wall_s:.1f} s" if one.wall_s is not None else "", one.why]
                for one in part.steps
            ]
            yield "steps", [inert(shortened(row)) for row in table(rows, indent="")]


def _gates(outcomes: Sequence[RuleOutcome]) -> list[str]:
    rows = [[one.status, one.rule, one.step, one.reason] for one in outcomes]
    return [inert(row) for row in table(rows, indent="")]
