"""Items of several runners to the same rows → how much context a right answer takes: the Context Efficiency Score.

Of a runner, over the rows that it and its reference answered, with T the tokens that it read and wrote for them all and
C the answers that are right:

    per_right = T / C                                    tokens per right answer
    CES       = 1 - per_right / per_right(reference)     1: nothing is needed; 0: as much; below 0: more

An answer that is wrong costs its tokens and earns nothing, so that to be short is no merit of its own. The reference is
the teacher where it answers here, else the same student without one (`ce_only`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.rates import rate

KIND = "efficiency"
#: who is compared with, the first that is there
REFERENCES = ("teacher", "ce_only")


@dataclass(frozen=True)
class Spent:
    """What one answer took: tokens of the prompt, tokens of the answer with its end, and whether it is right."""

    read: int
    wrote: int
    right: bool


def data(spent: Mapping[str, Mapping[str, Spent]]) -> dict[str, Any]:
    """Data of the report. `spent`: runner → row → what its answer took."""
    reference = next((name for name in REFERENCES if name in spent), "")
    return {
        "reference": reference or "none",
        "runners": {name: _of(name, reference, spent) for name in sorted(spent)},
    }


def _of(name: str, reference: str, spent: Mapping[str, Mapping[str, Spent]]) -> dict[str, Any]:
    mine, other = spent[name], spent.get(reference, {})
    whole = list(mine.values())
    shared = [row for row in mine if row in other]
    return {
        "right": rate(sum(one.right for one in whole), len(whole)),
        "read": measured(sum(one.read for one in whole), "token"),
        "wrote": measured(sum(one.wrote for one in whole), "token"),
        "per_right": _per_right(whole),
        "score": _score([mine[row] for row in shared], [other[row] for row in shared], name == reference),
    }


def _per_right(answers: Sequence[Spent]) -> dict[str, Any]:
    right = sum(one.right for one in answers)
    if not right:
        return unavailable("no answer is right", "token")
    return measured(sum(one.read + one.wrote for one in answers) / right, "token", n=len(answers))


def _score(mine: Sequence[Spent], other: Sequence[Spent], itself: bool) -> dict[str, Any]:
    if itself or not other:
        return unavailable("it is the reference" if itself else "no reference answered these rows", "1")
    one, two = _per_right(mine)["value"], _per_right(other)["value"]
    if one is None or two is None:
        return unavailable("no answer is right on one of the sides", "1")
    return measured(1 - one / two, "1", n=len(mine))
