"""Items of several runners to the same rows → how much context a right answer takes: the Context Efficiency Score.

Of a runner, over the rows that it and its reference answered, with T the tokens that it read and wrote for them all and
C the answers that are right:

    per_right = T / C                                    tokens per right answer
    CES       = 1 - per_right / per_right(reference)     1: nothing is needed; 0: as much; below 0: more

An answer that is wrong costs its tokens and earns nothing, so that to be short is no merit of its own. The reference is
the teacher where it answers here, else the same student without one (`ce_only`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from itertools import compress
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.rates import rate

KIND = "efficiency"
#: who is compared with, the first that is there
REFERENCES = ("teacher", "ce_only")
#: what a score is made of, over the rows that both sides answered: tokens and right answers, and those of the reference
MADE_OF = ("tokens", "right", "reference_tokens", "reference_right")


class Spent:
    """What one runner's answers to the rows of a data set took, in ten bytes a row: tokens of the prompt, tokens of the
    answer with its end, and whether it is right."""

    def __init__(self, rows: int) -> None:
        self._read, self._wrote = array("I", bytes(4 * rows)), array("I", bytes(4 * rows))
        #: whether a row was answered, and whether its answer is right
        self.there, self._right = bytearray(rows), bytearray(rows)

    def add(self, row: int, read: int, wrote: int, right: bool) -> None:
        """The answer to the row of this number."""
        self._read[row], self._wrote[row] = read, wrote
        self.there[row], self._right[row] = True, right

    def sums(self, among: Iterable[int]) -> tuple[int, int, int, int]:
        """Answers, tokens read, tokens written and right answers, of the rows that are true in `among`."""
        chosen = bytes(among)
        read, wrote, right = (sum(compress(each, chosen)) for each in (self._read, self._wrote, self._right))
        return sum(chosen), read, wrote, right


def data(spent: Mapping[str, Spent]) -> dict[str, Any]:
    """Data of the report. `spent`: runner → what its answers to the same rows took."""
    reference = next((name for name in REFERENCES if name in spent), "")
    return {
        "reference": reference or "none",
        "runners": {name: _of(name, reference, spent) for name in sorted(spent)},
    }


def told(found: Mapping[str, Any]) -> str:
    """Whom the scores of a report compare with, in words."""
    name = found["reference"]
    if name == REFERENCES[0]:
        return f"compared with runner `{name}`"
    whom = "nobody" if name == "none" else f"runner `{name}`"
    return f"compared with {whom}: no teacher answers here"


def _of(name: str, reference: str, spent: Mapping[str, Spent]) -> dict[str, Any]:
    mine, other = spent[name], spent.get(reference)
    answers, read, wrote, right = mine.sums(mine.there)
    return {
        "right": rate(right, answers),
        "read": measured(read, "token"),
        "wrote": measured(wrote, "token"),
        "per_right": _per_right(answers, read, wrote, right),
        "score": _score(mine, other, name == reference),
    }


def _per_right(answers: int, read: int, wrote: int, right: int) -> dict[str, Any]:
    if not right:
        return unavailable("no answer is right", "token")
    return measured((read + wrote) / right, "token", n=answers)


def _score(mine: Spent, other: Spent | None, itself: bool) -> dict[str, Any]:
    shared = bytes(map(min, mine.there, other.there)) if other else b""
    if itself or other is None or not any(shared):
        return unavailable("it is the reference" if itself else "no reference answered these rows", "1")
    (_, *spent, right), (_, *its, its_right) = (side.sums(shared) for side in (mine, other))
    if not right or not its_right:
        return unavailable("no answer is right on one of the sides", "1")
    made = (sum(spent), right, sum(its), its_right)
    value = 1 - (made[0] / right) / (made[2] / its_right)
    return measured(value, "1", n=sum(shared), **dict(zip(MADE_OF, made, strict=True)))
