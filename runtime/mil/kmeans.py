"""Numbers → the k values nearest to them in the least-squares sense, the same ones every time. Numpy only.

On a line clusters are intervals, so that the best ones are found exactly by dynamic programming: with the points in
order, D_j[i] = min over m of D_{j-1}[m] + cost(m, i), where cost is the squared distance of points m … i-1 from their
mean. The best m never falls as i grows, which halves the search again and again (Wu 1991; Grønlund et al. 2017,
arXiv 1701.07204). No seed, no start, no local optimum.

More than LIMIT distinct numbers are first drawn together, neighbours with neighbours, and the cuts between the clusters
are then moved to where all numbers want them (Lloyd).

Letters: P points, K clusters.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Real: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]
#: points of the exact search, at most
LIMIT = 4096
#: rounds of moving the cuts, at most; each makes the sum of squares smaller or is the last
ROUNDS = 100


def centres(numbers: NDArray[np.floating], count: int, importance: NDArray[np.floating] | None = None) -> Real:
    """centres_K of any array, in order; fewer where it has fewer distinct numbers. `importance`, of the same shape and
    above zero, says how much each number's squared distance counts; without it all count the same. Raises ValueError
    for an empty array, or one that is not finite."""
    flat = np.asarray(numbers, dtype=np.float64).reshape(-1)
    if not flat.size or not np.isfinite(flat).all():
        raise ValueError("clusters need numbers, and finite ones")
    if importance is None:
        points_P, counts_P = np.unique(flat, return_counts=True)
        weights_P: Real = counts_P.astype(np.float64)
    else:
        points_P, of_point = np.unique(flat, return_inverse=True)
        weights_P = np.bincount(of_point, weights=np.asarray(importance, dtype=np.float64).reshape(-1))
    if len(points_P) <= count:
        return points_P
    sums = _Sums(points_P, weights_P)
    if len(points_P) <= LIMIT:
        return sums.means(_exact(sums, count))
    starts = np.linspace(0, len(points_P), LIMIT + 1).astype(np.int64)[:-1]
    held = np.add.reduceat(weights_P, starts)
    drawn = _Sums(np.add.reduceat(points_P * weights_P, starts) / held, held)
    return _moved(points_P, sums, np.append(starts, len(points_P))[_exact(drawn, count)])


class _Sums:
    """Weighted points in order, with everything that the cost of an interval of them takes."""

    def __init__(self, points_P: Real, weights_P: Real) -> None:
        self.count = len(points_P)
        #: about zero, so that little is lost when sums are taken from each other
        self.middle = float(np.average(points_P, weights=weights_P))
        near = points_P - self.middle
        self.weight, self.first, self.second = (
            np.concatenate([[0.0], np.cumsum(one)]) for one in (weights_P, weights_P * near, weights_P * near**2)
        )

    def cost(self, begin: Places, end: Places) -> Real:
        """Squared distances of points begin … end-1 from their mean, summed."""
        first = self.first[end] - self.first[begin]
        result: Real = np.maximum(
            self.second[end] - self.second[begin] - first**2 / (self.weight[end] - self.weight[begin]), 0
        )
        return result

    def means(self, cuts: Places) -> Real:
        """Mean of each interval between neighbouring cuts."""
        result: Real = self.middle + np.diff(self.first[cuts]) / np.diff(self.weight[cuts])
        return result


def _exact(sums: _Sums, count: int) -> Places:
    """cuts: K+1 places, the first 0 and the last the number of points, of the best K intervals."""
    every = np.arange(1, sums.count + 1)
    least = np.concatenate([[0.0], sums.cost(np.zeros_like(every), every)])
    chosen = []
    for _ in range(count - 1):
        least, best = _layer(sums, least)
        chosen.append(best)
    cuts = [sums.count]
    for best in reversed(chosen):
        cuts.append(int(best[cuts[-1]]))
    return np.unique(np.array([*cuts, 0], dtype=np.int64))


def _layer(sums: _Sums, before: Real) -> tuple[Real, Places]:
    """One cluster more: (least cost, where the last cluster begins) of the first i points, for each i.

    Places are taken by halves: what was found left and right of one bounds what is looked through for it.
    """
    n = sums.count
    least, best = np.zeros(n + 1), np.zeros(n + 1, dtype=np.int64)
    stride = 1 << (n.bit_length() - 1)
    while stride:
        at = np.arange(stride, n + 1, 2 * stride)
        high = np.where(at + stride <= n, best[np.minimum(at + stride, n)], at - 1)
        low, high = best[at - stride], np.minimum(high, at - 1)
        sizes = high - low + 1
        starts = np.cumsum(sizes) - sizes
        begin = np.arange(int(sizes.sum())) + np.repeat(low - starts, sizes)
        costs = before[begin] + sums.cost(begin, np.repeat(at, sizes))
        least[at] = np.minimum.reduceat(costs, starts)
        met = np.flatnonzero(costs == np.repeat(least[at], sizes))[::-1]
        # of equal ones the first, which is written last
        best[np.repeat(at, sizes)[met]] = begin[met]
        stride //= 2
    return least, best


def _moved(points_P: Real, sums: _Sums, cuts: Places) -> Real:
    """Means of the intervals once no point is nearer to another interval's mean."""
    for _ in range(ROUNDS):
        means_K = sums.means(cuts)
        between = np.searchsorted(points_P, (means_K[:-1] + means_K[1:]) / 2)
        moved = np.unique(np.concatenate([[0], between, [sums.count]]))
        if np.array_equal(moved, cuts):
            break
        cuts = moved
    return sums.means(cuts)
