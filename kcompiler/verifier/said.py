"""How a check ended: its word, how far from the bound, and how every other place ended. Standard library only.

The word decides; the rest is what somebody has to know who would excuse it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import FrozenSet, NamedTuple, Optional, Sequence

#: the first of several decides
ORDER = ("error", "fail", "not_evaluated", "inconclusive", "pass")
#: in place of the word of a failure that is no distance from its bound
UNMEASURED = "unmeasured"


class Said(NamedTuple):
    """`margin` is how far inside of the bound, None where nobody measured that; `beside` how other places ended."""

    word: str
    margin: Optional[Fraction] = None
    beside: FrozenSet[str] = frozenset()

    @property
    def tags(self) -> FrozenSet[str]:
        """How every place ended."""
        return self.beside | {UNMEASURED if self.word == "fail" and self.margin is None else self.word}


def worst(found: Sequence[Said]) -> Said:
    """The one that decides: the worst word, then the least margin, then the first."""
    decisive = min(found, key=lambda one: (ORDER.index(one.word), one.margin or 0))
    return decisive._replace(beside=frozenset(tag for one in found for tag in one.tags))


def enough(found: Sequence[Said], least: int) -> Said:
    """The same; a pass on fewer places than demanded is none."""
    decisive = worst(found)
    return Said("not_evaluated") if decisive.word == "pass" and len(found) < least else decisive


def decided(op: str, value: Fraction, threshold: Fraction) -> Said:
    """Whether a number is inside of its bound."""
    inside = {
        ">=": value >= threshold,
        ">": value > threshold,
        "<=": value <= threshold,
        "<": value < threshold,
        "==": value == threshold,
    }[op]
    return Said("pass" if inside else "fail", distance(op, value, threshold))


def distance(op: str, value: Fraction, threshold: Fraction) -> Fraction:
    """How far inside (positive) or outside (negative) of the bound; of `==`, minus the difference."""
    if op in (">=", ">"):
        return value - threshold
    return threshold - value if op in ("<=", "<") else -abs(value - threshold)
