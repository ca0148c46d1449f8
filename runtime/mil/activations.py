"""What a linear layer reads → the scale by which it is rounded to int8 with the least loss.

Symmetric, without offset, one scale s for the tensor, as the operators `quantize` and `dequantize` of MIL compute:

    x ≈ s · q,   q = clip(rint(x / s), -128, 127)

A scale that clips nothing gives every other number few steps where one number is a hundred times as large as they are,
which is what inputs of language models are like. So the scale is the best of a grid: parts k/20 of the one that clips
nothing, by the sum of squared errors over all that was read. Scales are float16 before anything is measured with them:
what the package holds is what was chosen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = -128, 127
#: parts of the scale that clips nothing, the largest first
PARTS = tuple(k / 20 for k in range(20, 0, -1))
#: no scale is below the smallest normal number of float16: units may take what is smaller as zero
SMALLEST = np.float16(2.0**-14)


class Input(NamedTuple):
    """How the input of a layer is rounded, and what that loses of `elements` numbers: energies are sums of squares."""

    scale: np.float16
    #: part of the scale that clips nothing
    part: float
    elements: int
    clipped: int
    energy: float
    lost: float
    #: what the scale that clips nothing loses
    lost_whole: float


def scales(largest: float) -> list[np.float16]:
    """A scale for each of PARTS. The first is rounded up, so that nothing clips by it. Raises ValueError for a
    magnitude that is not finite, or whose scale is none of float16."""
    exact = largest / HIGH
    if not np.isfinite(exact) or exact > float(np.finfo(np.float16).max):
        raise ValueError(f"the inputs of a layer reach {largest}, which has no scale in float16")
    found = [np.float16(exact * part) for part in PARTS]
    if float(found[0]) < exact:
        found[0] = np.nextafter(found[0], np.float16(np.inf))
    return [max(one, SMALLEST) for one in found]


def rounded(values: NDArray[np.float32], scale: np.float16) -> NDArray[np.float32]:
    """The numbers that a layer is multiplied by instead."""
    step = np.float32(scale)
    found: NDArray[np.float32] = np.clip(np.rint(values / step), LOW, HIGH) * step
    return found


class Grid:
    """The losses of every scale, part after part of what is read."""

    def __init__(self, largest: float) -> None:
        self._scales = scales(largest)
        self._lost = np.zeros(len(PARTS))
        self._clipped = np.zeros(len(PARTS), np.int64)
        self._elements, self._energy = 0, 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """More of what is read."""
        self._elements += values.size
        self._energy += float(np.square(values, dtype=np.float64).sum())
        for at, scale in enumerate(self._scales):
            step = np.float32(scale)
            steps = np.rint(values / step)
            self._clipped[at] += np.count_nonzero((steps < LOW) | (steps > HIGH))
            apart = np.clip(steps, LOW, HIGH) * step - values
            self._lost[at] += float(np.square(apart, dtype=np.float64).sum())

    def best(self) -> Input:
        """The scale that loses least; of those that lose as much, the largest."""
        at = int(self._lost.argmin())
        return Input(
            self._scales[at],
            PARTS[at],
            self._elements,
            int(self._clipped[at]),
            self._energy,
            float(self._lost[at]),
            float(self._lost[0]),
        )
