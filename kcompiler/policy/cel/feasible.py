"""Inequalities between sums → whether numbers exist that satisfy all of them.

Fourier and Motzkin's elimination in exact arithmetic: one unknown after the other is taken out, by setting each lower
bound of it beside each upper one. What is left speaks of no unknown and is true or not. Whole numbers count as any
numbers, and what grows too large is said to be possible, so that "impossible" is a proof.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

#: inequalities at once; a system that grows beyond them is not decided
MOST = 300


@dataclass(frozen=True)
class Bound:
    """`constant` + the sum of `of` is not negative, or with `strict` above zero."""

    of: Mapping[Hashable, Fraction]
    constant: Fraction
    strict: bool = False


def possible(bounds: Iterable[Bound]) -> bool:
    """False where no numbers satisfy them all."""
    left = _told(bounds)
    while left is not None and (unknown := _cheapest(left)) is not None:
        above = [one for one in left if one.of.get(unknown, 0) > 0]
        below = [one for one in left if one.of.get(unknown, 0) < 0]
        rest = [one for one in left if unknown not in one.of]
        if len(rest) + len(above) * len(below) > MOST:
            return True
        left = _told([*rest, *(_without(unknown, one, other) for one in above for other in below)])
    return left is not None


def _cheapest(bounds: Iterable[Bound]) -> Hashable | None:
    """The unknown whose elimination makes the fewest; None where there is none left."""
    sides: dict[Hashable, list[int]] = {}
    for one in bounds:
        for unknown, by in one.of.items():
            sides.setdefault(unknown, [0, 0])[by > 0] += 1
    return min(sides, key=lambda unknown: sides[unknown][0] * sides[unknown][1], default=None)


def _without(unknown: Hashable, above: Bound, below: Bound) -> Bound:
    """What both say of everything else."""
    one, other = -below.of[unknown], above.of[unknown]
    keys = (above.of.keys() | below.of.keys()) - {unknown}
    of = {key: one * above.of.get(key, Fraction(0)) + other * below.of.get(key, Fraction(0)) for key in keys}
    constant = one * above.constant + other * below.constant
    return Bound({key: by for key, by in of.items() if by}, constant, above.strict or below.strict)


def _told(bounds: Iterable[Bound]) -> list[Bound] | None:
    """Each direction once, with its tightest constant; None where one is false as it stands."""
    tightest: dict[Hashable, Bound] = {}
    for one in bounds:
        if not one.of:
            if one.constant < 0 or (one.strict and not one.constant):
                return None
            continue
        scale = max(abs(by) for by in one.of.values())
        of = {key: by / scale for key, by in one.of.items()}
        scaled, direction = Bound(of, one.constant / scale, one.strict), frozenset(of.items())
        known = tightest.get(direction)
        if known is None or (scaled.constant, not scaled.strict) < (known.constant, not known.strict):
            tightest[direction] = scaled
    return list(tightest.values())
