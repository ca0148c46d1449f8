"""Mistakes of users as data: code, place, message, hint. Standard library only, so that every verb may import it.

    KC1nnn  the text of a spec (source)           KC4nnn  the meaning of a spec (checks)
    KC2nnn  the structure of a spec (schema)      KC3nnn and KC5nnn upwards  later stages
    KRnnnn  what the machine refuses (runtime)

A code is the page `kcompiler/codes/KCnnnn.md`: its first line is `# KCnnnn: title`, the rest explains the cause and
shows a wrong and a right example. There is no other list of codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

Severity = Literal["error", "warning", "note"]

_PAGES = Path(__file__).resolve().parent / "codes"
_PLACE = re.compile(r"(?P<file>.*?)(?::(?P<line>\d+))?(?::(?P<column>\d+))?\Z", re.DOTALL)
_RANK = {"error": 0, "warning": 1, "note": 2}


class Place(NamedTuple):
    """A stretch of text. Lines and columns count from 1, in characters; the end is exclusive; `start` and `end` are
    character offsets from 0."""

    line: int
    column: int
    end_line: int
    end_column: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Related:
    """A second place that explains the first ("first defined here")."""

    file: str
    line: int
    column: int
    end_column: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One mistake. `line` 0 means the file as a whole; `file` "" means no file at all.

    `summary` says what is wrong, `label` what stands at the place, `detail` the arithmetic or reason behind it,
    `help` an action, `notes` where the rule comes from. `pointer` is the JSON pointer of the value in the spec.
    """

    code: str
    severity: Severity = "error"
    summary: str
    detail: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    end_line: int = 0
    end_column: int = 0
    start: int = 0
    end: int = 0
    pointer: str = ""
    label: str = ""
    help: str = ""
    notes: tuple[str, ...] = ()
    related: tuple[Related, ...] = field(default=())

    @property
    def place(self) -> str:
        """`file:line:column`, as far as it is known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


@dataclass(frozen=True, kw_only=True)
class Code:
    """What `explain` knows of a code."""

    number: str
    title: str
    page: str


class RefusalLike(Protocol):
    """What the machine raises about somebody's input, seen from here without importing it."""

    code: str
    message: str
    place: str
    action: str


def at(
    place: Place,
    *,
    code: str,
    summary: str,
    file: str,
    severity: Severity = "error",
    pointer: str = "",
    label: str = "",
    detail: str = "",
    help: str = "",
    notes: Sequence[str] = (),
    related: Sequence[Related] = (),
) -> Diagnostic:
    """A diagnostic about a stretch of text."""
    return Diagnostic(
        code=code,
        severity=severity,
        summary=summary,
        detail=detail,
        file=file,
        line=place.line,
        column=place.column,
        end_line=place.end_line,
        end_column=place.end_column,
        start=place.start,
        end=place.end,
        pointer=pointer,
        label=label,
        help=help,
        notes=tuple(notes),
        related=tuple(related),
    )


def from_refusal(refusal: RefusalLike) -> Diagnostic:
    """A refusal of the machine as a diagnostic; its place is `file[:line[:column]]`."""
    match = _PLACE.match(refusal.place)
    line = int(match["line"] or 0) if match else 0
    column = int(match["column"] or 0) if match else 0
    return Diagnostic(
        code=refusal.code,
        summary=refusal.message,
        file=match["file"] if match else refusal.place,
        line=line,
        column=column,
        end_line=line,
        end_column=column,
        help=refusal.action,
    )


def ordered(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Without repetitions, by place; at one place errors come first."""
    unique = dict.fromkeys(diagnostics)
    return sorted(unique, key=lambda d: (d.file, d.line, d.column, _RANK[d.severity], d.code, d.summary))


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)


def codes() -> list[str]:
    """Every code there is, sorted: of specs (KC), of the machine (KR), of an audit (KA)."""
    return sorted(path.stem for path in _PAGES.glob("K*.md"))


def explain(number: str) -> Code:
    """Title and page of a code, in any case. Raises KeyError for one that does not exist."""
    path = _PAGES / f"{number.upper()}.md"
    if not re.fullmatch(r"K[A-Z]\d+", number.upper()) or not path.is_file():
        raise KeyError(number)
    first, _, page = path.read_text(encoding="utf-8").partition("\n")
    return Code(number=number.upper(), title=first.partition(": ")[2].strip(), page=page.strip() + "\n")


#: what others call the units of a machine, folded → the same in words that a spec has: of one, and of several
_CALLED: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(
        ("npu", "ne", "neural_engine", "neuralengine", "apple_neural_engine", "apple_ne", "apple", "apple_npu"),
        ("ane", "cpu_and_ne"),
    ),
    **dict.fromkeys(
        ("ane", "cpu_and_ne", "cpu_and_ane", "cpu_and_npu", "cpu_and_neural_engine"), ("cpu_and_ne", "ane")
    ),
    **dict.fromkeys(("metal", "mps", "apple_gpu", "gpu"), ("gpu", "cpu_and_gpu")),
    # MLComputeUnits of Swift
    "cpuandneuralengine": ("cpu_and_ne", "ane"),
    "cpuandgpu": ("cpu_and_gpu", "gpu"),
    "cpuonly": ("cpu_only", "cpu"),
    "cpu": ("cpu_only",),
}


def suggest(word: str, candidates: Iterable[str]) -> list[str]:
    """At most three candidates that somebody may have meant by `word`: the nearest, usually one or none; where others
    call it so, that one.

    A candidate counts when its Damerau-Levenshtein distance (adjacent swaps cost one) is at most a third of the
    longer word and at most 3, never less than 1; case and the choice between `-` and `_` cost nothing.
    """
    plain, choices = _folded(word), list(candidates)
    called = _CALLED.get(plain.replace(" ", "_"), ())
    if plain not in map(_folded, choices) and (meant := [one for one in called if one in choices]):
        return meant[:1]
    found: list[tuple[int, str]] = []
    for candidate in choices:
        folded = _folded(candidate)
        limit = min(3, max(1, max(len(plain), len(folded)) // 3))
        if abs(len(folded) - len(plain)) > limit:
            continue
        distance = _distance(plain, folded)
        # a word of two letters at distance 1 shares only one of them: that is no evidence, unless letters were swapped
        if distance <= limit and (len(plain) > 2 or distance == 0 or sorted(plain) == sorted(folded)):
            found.append((distance, candidate))
    if not found:
        return []
    nearest = min(found)[0]
    return [candidate for distance, candidate in sorted(found) if distance == nearest][:3]


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_")


def _distance(a: str, b: str) -> int:
    """Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours cost 1 each."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A help line for a misspelt word, or all the choices when nothing is near."""
    choices = sorted(candidates)
    near = suggest(word, choices)
    if near:
        return "did you mean " + " or ".join(f"`{name}`" for name in near) + "?"
    if not choices:
        return ""
    return "known here: " + ", ".join(choices)
