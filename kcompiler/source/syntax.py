"""A complaint of the YAML parser → a diagnostic that says what to do."""

from __future__ import annotations

import re

import yaml

from kcompiler.diagnostic import Diagnostic, at
from kcompiler.source.text import LINE_BREAK, place_at
from kcompiler.source.tree import related

_INDENTATION_WITH_TAB = re.compile(r" *\t[ \t]*")
#: a key and a text with {name} in it that stands without quotes
_UNQUOTED = re.compile(r"[ -]*([A-Za-z_]+):[ ]+([^\"'\n#|>]*\{\w+\}[^\"'\n:,]*)$", re.MULTILINE)
_HINTS = (
    ("mapping values are not allowed", "put a text that holds `: ` in quotes, and check the indentation"),
    ("could not find expected ':'", "a `:` and a space belong after every key; long or broken keys need quotes"),
    ("did not find expected key", "check that this line is indented like its neighbours, and that quotes are closed"),
    ("did not find expected '-' indicator", "check that the items of this list are indented alike"),
    ("did not find expected ',' or", "close the bracket, or put a comma between the items"),
    ("unexpected end of stream", "close the quote"),
    ("document start", "remove the line that starts with `%` or `---`, or put the text in quotes"),
    ("escape", "in double quotes a backslash starts an escape; use single quotes for a literal backslash"),
    ("cannot start any token", "put the text in quotes"),
    ("block sequence entries are not allowed", "start the list on its own line, below its key"),
    ("incompatible", "remove the %YAML line"),
)


def syntax(file: str, text: str, error: yaml.MarkedYAMLError) -> Diagnostic:
    """Where the parser gave up, and the likely cause."""
    mark = error.problem_mark or error.context_mark
    index = min(mark.index, len(text)) if mark else 0
    tab = _tab_in_indentation(text, index)
    if tab is not None:
        return at(
            place_at(text, tab, tab + 1),
            code="KC1009",
            file=file,
            summary="a tab cannot indent YAML",
            label="tab",
            help="indent with spaces",
        )
    problem, context = error.problem or "cannot be read", error.context or ""
    place = place_at(text, index, index)
    if re.search(r"\btag\b", problem) or re.search(r"\btag\b", context):
        return at(
            place,
            code="KC1012",
            file=file,
            summary="YAML tags are not supported",
            label=problem,
            help="remove the tag; put the text in quotes if a leading `!` is meant",
        )
    before = []
    if error.context_mark is not None and mark is not None and error.context_mark.line != mark.line:
        start = min(error.context_mark.index, len(text))
        before = [related(file, place_at(text, start, start), context)]
    help = next((hint for part, hint in _HINTS if part in problem), "")
    line = text.rfind("\n", 0, index) + 1
    template = _UNQUOTED.match(text, line)
    if template is not None:
        help = f'put the text in quotes, braces begin a mapping: {template[1].strip()}: "{template[2].strip()}"'
    return at(place, code="KC1010", file=file, summary="this is not YAML", label=problem, help=help, related=before)


def unreadable(file: str, text: str, error: yaml.reader.ReaderError) -> Diagnostic:
    """A character that the parser refuses and the look at the text did not."""
    index = error.position if isinstance(error.position, int) else 0
    return at(
        place_at(text, index, index + 1),
        code="KC1007",
        file=file,
        label=str(error.reason),
        summary="a character that YAML does not allow",
        help="remove it",
    )


def _tab_in_indentation(text: str, index: int) -> int | None:
    """Offset of a tab among the leading blanks of the line at `index` or of the one before, else None.

    The parser often notices a tab only at the next token, so the line before counts too.
    """
    starts = [0, *(match.end() for match in LINE_BREAK.finditer(text, 0, index))]
    for start in reversed(starts[-2:]):
        match = _INDENTATION_WITH_TAB.match(text, start)
        if match is not None:
            return text.index("\t", match.start(), match.end())
    return None
