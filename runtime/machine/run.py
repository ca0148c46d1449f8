"""What one apply says of itself: what became of each step, what the judge said, and whether that lets it through."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runtime.contract import MachineError

Outcome = Mapping[str, Any]
#: report key → report.json as it was written, so far, and the report keys that are asked about (None: all there should
#: be); its answer: outcomes with at least rule, step, outcome and blocking
Judge = Callable[[Mapping[str, bytes], Collection[str] | None], Sequence[Outcome]]
Status = Literal["reused", "committed", "failed", "interrupted", "blocked", "skipped"]
Word = Literal["done", "blocked", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What became of one step. `record` is the committed record in use, None when there is none."""

    step: str
    status: Status
    reason: str
    detail: str
    record: Mapping[str, Any] | None = field(default=None, repr=False)
    #: what refused it, when it failed
    error: MachineError | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One apply.

    `outcome`: "done", "blocked" (a blocking rule did not pass), "failed" (a step refused; it wins over blocked) or
    "interrupted". `outcomes` is the judge's last word over all reports and the run's own.
    """

    outcome: Word
    steps: Sequence[StepResult]
    outcomes: Sequence[Outcome]
    #: "<step>#<port>" → digest of every artifact in use
    digests: Mapping[str, str]
    #: report key → report, the run's own under "apply"
    reports: Mapping[str, dict[str, Any]] = field(repr=False)
    #: the same as the judge was given them
    texts: Mapping[str, bytes] = field(repr=False)
    #: status → number of steps
    counts: Mapping[str, int]
    #: seconds this apply took, verification included
    wall_s: float
    evidence: Path


def blocks(outcome: Outcome) -> bool:
    """A rule that may block lets only a pass through."""
    return bool(outcome["blocking"]) and outcome["outcome"] != "pass"


def tally(outcomes: Sequence[Outcome], step: str) -> dict[str, Any]:
    """The data of a `gate_evaluated` line; `step` is "" for the judgement of the whole run."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome["outcome"]] = counts.get(outcome["outcome"], 0) + 1
    return {"step": step, "counts": counts, "blocking": [one["rule"] for one in outcomes if blocks(one)]}


def word(results: Sequence[StepResult], outcomes: Sequence[Outcome], *, stopped: bool) -> Word:
    """The outcome of a run, the most urgent first."""
    found = {result.status for result in results}
    if stopped:
        return "interrupted"
    if "failed" in found:
        return "failed"
    return "blocked" if "blocked" in found or any(blocks(outcome) for outcome in outcomes) else "done"


def counted(results: Sequence[StepResult]) -> dict[str, int]:
    """Status → number of steps."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    return counts
