"""How a judge is asked: a task and two answers, each between fences that no answer can close; which is better, or why.

The form is one text, so that any model can be asked in it, and it can be read back: both answers are exchanged, made
the same or added to without a second copy of them. An answer is data: whatever in it looks like a fence or begins a
line is made harmless, so that it cannot pose as the question.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runtime.contract import TokenScore

#: what a judge may say: the first, the second, or that neither is better
FIRST, SECOND, TIE = "A", "B", "T"
VERDICTS = (FIRST, SECOND, TIE)
#: why one is better: the clause that the other breaks; the last where none decides
CLAUSES = (
    "EVIDENCE_COMPLETENESS",
    "BUDGET_ADHERENCE",
    "GATE_INTEGRITY",
    "PROVENANCE_CLARITY",
    "WAIVER_JUSTIFICATION",
    "NONE",
)
BETTER = "Better: A, B or T?"
CLAUSE = "Which clause?"
_FORM = re.compile(
    rf"(?P<task>.*)\nA <<(?P<first>[^\n]*)>>\nB <<(?P<second>[^\n]*)>>\n(?P<asked>{re.escape(BETTER)}|"
    rf"{re.escape(CLAUSE)})",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A task, two answers as they stand between the fences, and what is asked of them: `BETTER` or `CLAUSE`."""

    task: str
    first: str
    second: str
    asked: str = BETTER

    @property
    def prompt(self) -> str:
        return f"{self.task}\nA <<{self.first}>>\nB <<{self.second}>>\n{self.asked}"

    @property
    def swapped(self) -> Pair:
        """The same with the seats exchanged."""
        return replace(self, first=self.second, second=self.first)

    def seat(self, verdict: str) -> str:
        """The answer that sits where a verdict points to."""
        return self.first if verdict == FIRST else self.second

    def with_added(self, verdict: str, text: str) -> Pair:
        """The same with a text behind one of the answers."""
        added = f"{self.seat(verdict)} {harmless(text)}".strip()
        return replace(self, first=added) if verdict == FIRST else replace(self, second=added)


def harmless(text: str) -> str:
    """A text as it may stand between fences: on one line, without fences."""
    return " ".join(re.sub(r"<<+|>>+", "'", text).split())


def pair(task: str, first: str, second: str, asked: str = BETTER) -> Pair:
    """A pair of any two texts."""
    return Pair(task.strip(), harmless(first), harmless(second), asked)


def other(verdict: str) -> str:
    """The same verdict with the seats exchanged."""
    return {FIRST: SECOND, SECOND: FIRST}.get(verdict, verdict)


def said(scores: Sequence[TokenScore], names: Sequence[str]) -> tuple[str, float]:
    """The likeliest of some replies ("" in a tie at the top), and its probability among them."""
    logs = [score.log_probability for score in scores]
    top = max(logs)
    weights = [math.exp(log - top) for log in logs]
    return (names[logs.index(top)] if logs.count(top) == 1 else ""), 1 / sum(weights)


def read(prompt: str) -> Pair:
    """A pair from its prompt. Raises ValueError for a text that was not written in this form."""
    found = _FORM.fullmatch(prompt)
    if found is None:
        raise ValueError("it is no question to a judge: a task, `A <<…>>`, `B <<…>>` and what is asked, a line each")
    made = Pair(found["task"], found["first"], found["second"], found["asked"])
    if any(harmless(text) != text for text in (made.first, made.second)):
        raise ValueError("an answer holds a fence")
    return made
