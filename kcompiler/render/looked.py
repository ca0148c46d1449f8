"""What `data look` found → text: rows with what is learnt marked (coloured on a terminal), lengths, what is dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from kcompiler.render.human import inert

if TYPE_CHECKING:
    pass

#: where nothing is coloured: what is learnt stands between these
OPEN, CLOSE = "⟦", "⟧"
#: characters of the longest bar, and of a row that is shown
BAR, LONGEST = 40, 4000


def text(found: Mapping[str, Any]) -> str:
    """The whole as plain text."""
    lines = [f"what is learnt stands between {OPEN} and {CLOSE}\n"]
    for row in found["shown"]:
        lines.append(_head(row))
        lines.append(_indented("".join(f"{OPEN}{piece}{CLOSE}" if learnt else piece for piece, learnt in _pieces(row))))
        lines += _spans(row)
    return "\n".join([*lines, *_rest(found)]) + "\n"


def coloured(found: Mapping[str, Any], stream: TextIO) -> None:
    """Write the same to a terminal: what is learnt is coloured."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, soft_wrap=True)
    console.print(Text.assemble("what is learnt is ", ("coloured", _STYLE), "\n"))
    for row in found["shown"]:
        console.print(Text(_head(row), style="bold"))
        line = Text("    ")
        for piece, learnt in _pieces(row):
            line.append(piece.replace("\n", "\n    "), style=_STYLE if learnt else "")
        console.print(line)
        for more in _spans(row):
            console.print(Text(more))
    for more in _rest(found):
        console.print(Text(more))


_STYLE = "black on green"


def _head(row: Mapping[str, Any]) -> str:
    named = f" · {inert(row['class'])}" if row["class"] else ""
    learnt = "the teacher answers" if row["answered_by"] == "teacher" else f"{row['learnt']} learnt"
    return f"{inert(row['id'])}{named}   {row['tokens']} tokens, {learnt}"


def _pieces(row: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """(text, whether it is learnt) of a row, safe for a terminal, cut where a screen would be full."""
    left = LONGEST
    for piece in row["pieces"]:
        if left <= 0:
            yield " …", False
            return
        whole = "\n".join(inert(line) for line in piece["text"][:left].split("\n"))
        left -= len(piece["text"])
        yield whole, piece["learnt"]


def _indented(whole: str) -> str:
    return "    " + whole.replace("\n", "\n    ")


def _spans(row: Mapping[str, Any]) -> list[str]:
    lines = [f"    {name}: {' | '.join(map(repr, texts)) or 'no token'}" for name, texts in row["spans"].items()]
    return [*_rejected(row), *lines, ""]


def _rejected(row: Mapping[str, Any]) -> list[str]:
    """Of a preference pair, the answer that is not learnt."""
    if not row["rejected"]:
        return []
    whole = "\n".join(inert(line) for line in row["rejected"][:LONGEST].split("\n"))
    return [_indented(f"rejected: {whole}" + (" …" if len(row["rejected"]) > LONGEST else ""))]


def _rest(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _lengths(found)
    yield ""
    yield from _left_out(found)


def _lengths(found: Mapping[str, Any]) -> Iterator[str]:
    lengths, measured = found["lengths"], found["measured"]
    of = f"{measured:,} rows" if measured == found["rows"] else f"the first {measured:,} of {found['rows']:,} rows"
    yield (
        f"{found['split']}: {of}, {lengths['min']:,} to {lengths['max']:,} tokens, median {lengths['median']:,}, "
        f"95 % within {lengths['within_95']:,}"
    )
    most = max((bucket["rows"] for bucket in lengths["buckets"]), default=0) or 1
    for bucket in lengths["buckets"]:
        name = "longer" if bucket["most"] is None else f"≤ {bucket['most']:,}"
        bar = "█" * max(bucket["rows"] > 0, round(BAR * bucket["rows"] / most))
        yield f"  {name:>8}  {bar:<{BAR}}  {bucket['rows']:,}"


def _left_out(found: Mapping[str, Any]) -> Iterator[str]:
    """Which rows will not be used, and why; what a file holds beside them."""
    long = found["too_long"]
    what = "left out" if long["policy"] == "drop" else "refused: write `data.too_long: drop`, or shorten them"
    if long["rows"]:
        named = ", ".join(f"{inert(row['id'])} ({row['tokens']:,})" for row in long["longest"])
        more = " …" if long["rows"] > len(long["longest"]) else ""
        yield f"{long['rows']:,} rows longer than {long['most']:,} tokens ({long['field']}), {what}"
        yield f"  {named}{more}"
    if found["duplicates_dropped"]:
        yield f"{found['duplicates_dropped']:,} rows dropped before the split: prompt and response of another row"
    for name, limit in found["limits"].items():
        yield f"source {name}: the first {limit:,} rows are taken, as `limit` says"
    for name, count in found["fields_unused"].items():
        yield f"field {inert(name)} of {count:,} rows is mapped to nothing"
    if not (long["rows"] or found["duplicates_dropped"] or found["limits"]):
        yield "no row is left out"
