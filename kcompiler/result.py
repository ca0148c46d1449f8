"""What one verb found and how it ended, as a value: every verb fills it, every form of output is written from it.

Standard library only, so that every verb may import it. Nothing in here is escaped: each form does that in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kcompiler.diagnostic import Diagnostic

SCHEMA_VERSION = "1.0"

Status = Literal["pass", "fail", "waived", "inconclusive", "not_evaluated", "skipped", "error"]

#: exit codes that say that what was asked is so; 10 is work to do, by a flag of its own
ANSWERED_YES = frozenset({0, 10})


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place in a file of the project: `file` relative to its root, `line` from 1 (0: the file as a whole), `pointer`
    the JSON pointer inside it. All empty where there is none."""

    file: str = ""
    line: int = 0
    column: int = 0
    pointer: str = ""

    @property
    def text(self) -> str:
        """`file:line:column#pointer`, as far as it is known."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{place}#{self.pointer}" if self.pointer else place


@dataclass(frozen=True, kw_only=True)
class RuleOutcome:
    """What became of one rule on one report. `evidence` is where the datum stands, `declared` where the rule does."""

    rule: str
    pack: str
    title: str
    mode: str
    status: Status
    blocks: bool
    step: str
    report: str
    reason: str
    remedy: str
    observed: str
    threshold: str
    distance: str
    #: of what does not pass: from where on it would, in words; "" where nothing exact can be said
    counterfactual: str = ""
    evidence: Where
    declared: Where = Where()


@dataclass(frozen=True, kw_only=True)
class StepState:
    """What happened or would happen to one step. Times in seconds: `wall_s` that its result took, `forecast_s` that it
    will take, `foreseen_s` that had been forecast for that result; None where nothing is known."""

    step: str
    action: str
    reason: str = ""
    why: str = ""
    wall_s: float | None = None
    forecast_s: float | None = None
    foreseen_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """One finding of an audit. Severity "evidence" is damage, loss or forgery, "disagreement" that two sound things do
    not say the same, "unfinished" that something has no result yet, "unsigned" that nobody vouches for it; a "note"
    changes no exit code."""

    code: str
    severity: Literal["evidence", "disagreement", "unfinished", "unsigned", "note"]
    message: str
    where: Where


@dataclass(frozen=True, kw_only=True)
class Result:
    """One verb's answer.

    `subject` is what it was about, as named on the command line; `code`, `word`, `next` and `message` how it ended;
    `data` what this verb alone says (schemas/result.schema.json says what, verb by verb); `headline` and `sections`
    titled rows for people. Of several answers taken together `parts` are those, in order.
    """

    verb: str
    subject: str
    code: int
    word: str
    next: str = ""
    #: where the project lies below its checkout, "" at the top: code hosts count paths from there
    root: str = ""
    message: str = ""
    #: "sha256:…" identity of the plan, "" where there is none
    plan: str = ""
    #: word of the verdict, "" where there is none
    verdict: str = ""
    diagnostics: Sequence[Diagnostic] = ()
    outcomes: Sequence[RuleOutcome] = ()
    steps: Sequence[StepState] = ()
    findings: Sequence[AuditFinding] = ()
    #: seconds the work took, where it was measured
    wall_s: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    headline: str = ""
    sections: Sequence[tuple[str, Sequence[str]]] = ()
    parts: Sequence[Result] = ()


#: exit codes, the most urgent first: what several answers amount to (plan-apply-policy.md 7.3). A stop by a signal says
#: nothing about what was asked, so that it counts like a defect
URGENCY = (70, 134, 137, 143, 130, 129, 3, 2, 4, 5, 6, 1, 7, 10, 0)


def worst(codes: Sequence[int]) -> int:
    """The code that several amount to. Raises ValueError for none: nothing that was asked is not a yes."""
    if not codes:
        raise ValueError("no answer at all")
    return min(codes, key=lambda code: URGENCY.index(code) if code in URGENCY else -1)
