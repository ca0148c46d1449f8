"""Reference and found logits → how far apart they are, in numbers that a gate can use. Numpy only.

Every number is over real positions; when either side holds something that is not finite the number is NaN, which a
report turns into `unavailable`: nothing can pass on it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import report as facts

Real: TypeAlias = NDArray[np.float64]
TOP = 5
#: positions whose probabilities exist at one time: over a whole vocabulary each is a hundred thousand numbers
ROWS = 32
CACHE = ("keys", "values")


def cosine(reference: Real, found: Real) -> float:
    """Cosine of two arrays read as vectors; NaN when one of them is zero or not finite."""
    if not (np.isfinite(reference).all() and np.isfinite(found).all()):
        return float("nan")
    norms = float(np.linalg.norm(reference) * np.linalg.norm(found))
    # what rounding may add is no cosine
    return max(-1.0, min(1.0, float(np.vdot(reference, found)) / norms)) if norms > 0 else float("nan")


@dataclass
class Worst:
    """Largest absolute difference over the largest reference magnitude, over every case that was added.

    One scale for all cases of a function: alone, a single position of small logits would be its own.
    """

    difference: float = 0.0
    magnitude: float = 0.0
    cases: int = 0

    def add(self, reference: Real, found: Real) -> None:
        """One case; anything that is not finite makes the error NaN for good."""
        self.cases += 1
        self.widen(reference, found)

    def widen(self, reference: Real, found: Real) -> None:
        """A part of a case."""
        finite = np.isfinite(reference).all() and np.isfinite(found).all()
        self.difference = max(self.difference, _furthest(reference, found)) if finite else float("nan")
        self.magnitude = (
            max(self.magnitude, float(reference.max()), -float(reference.min())) if finite else float("nan")
        )

    @property
    def error(self) -> float:
        """NaN when a side was not finite or every reference is zero."""
        return self.difference / self.magnitude if self.magnitude > 0 else float("nan")


def _furthest(reference: Real, found: Real) -> float:
    """Largest absolute difference, without an array of all differences."""
    return max(float(np.abs(one - other).max()) for one, other in _parts(reference, found))


def _parts(reference: NDArray[Any], found: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Some positions of both at a time. Raises ValueError for arrays of two shapes, of which a part could be compared
    and the rest be forgotten."""
    if reference.shape != found.shape:
        raise ValueError(f"shapes {reference.shape} and {found.shape} cannot be compared")
    for at in range(0, len(reference), ROWS):
        yield reference[at : at + ROWS], found[at : at + ROWS]


def log_softmax(logits_NV: Real) -> Real:
    """Natural-log probabilities along the last axis."""
    shifted = logits_NV - logits_NV.max(axis=-1, keepdims=True)
    result: Real = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def kl(reference_NV: Real, found_NV: Real) -> Real:
    """KL(reference ‖ found) of each position in nats."""
    if not (np.isfinite(reference_NV).all() and np.isfinite(found_NV).all()):
        return np.full(reference_NV.shape[0], np.nan)
    parts = [np.zeros(0)]
    for pair in _parts(reference_NV, found_NV):
        first, second = map(log_softmax, pair)
        # never negative but for rounding
        parts.append(np.maximum((np.exp(first) * (first - second)).sum(axis=-1), 0.0))
    return np.concatenate(parts)


@dataclass
class _Products:
    """Sums over parts of two arrays, of which both are never float64 as a whole."""

    both: float = 0.0
    reference: float = 0.0
    found: float = 0.0
    apart: float = 0.0
    finite: bool = True

    def add(self, reference: Real, found: Real) -> None:
        """One part."""
        self.finite &= bool(np.isfinite(reference).all() and np.isfinite(found).all())
        if not self.finite:
            return
        self.both += float(np.vdot(reference, found))
        self.reference += float(np.vdot(reference, reference))
        self.found += float(np.vdot(found, found))
        self.apart += float(np.vdot(reference - found, reference - found))

    @property
    def cosine(self) -> float:
        """As `cosine` of the whole arrays."""
        norms = math.sqrt(self.reference) * math.sqrt(self.found)
        return max(-1.0, min(1.0, self.both / norms)) if self.finite and norms > 0 else float("nan")

    @property
    def relative_l2(self) -> float:
        """Length of the difference over the length of the reference."""
        known = self.finite and self.reference > 0
        return math.sqrt(self.apart / self.reference) if known else float("nan")


@dataclass
class Tally:
    """Comparisons of one function (or of the decode loop) of a model of so many layers, collected case by case."""

    layers: int
    cosines: list[float] = field(default_factory=list)
    positions: list[float] = field(default_factory=list)
    error: Worst = field(default_factory=Worst)
    lengths: list[float] = field(default_factory=list)
    divergences: list[float] = field(default_factory=list)
    #: (keys or values, layer) → every case's worst head; and what each head's error is
    cache_cosines: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    cache_errors: dict[tuple[str, int], dict[int, Worst]] = field(default_factory=lambda: defaultdict(dict))
    #: head beside the one for words → what it says
    heads: dict[str, Worst] = field(default_factory=lambda: defaultdict(Worst))
    top1: int = 0
    top5: int = 0
    tokens: int = 0
    nan: int = 0
    inf: int = 0
    all_zero: int = 0
    elements: int = 0
    vectors: int = 0

    def logits(self, reference_NV: NDArray[Any], found_NV: NDArray[Any]) -> None:
        """Add the logits of one case, in any float type: some positions at a time are float64. Raises ValueError for
        arrays of two shapes."""
        whole = _Products()
        for parts in _parts(reference_NV, found_NV):
            reference, found = (part.astype(np.float64) for part in parts)
            whole.add(reference, found)
            self._count(found, found)
            self.error.widen(reference, found)
            self.positions += [cosine(a, b) for a, b in zip(reference, found, strict=True)]
            self.divergences += kl(reference, found).tolist()
            for wanted, row in zip(reference.argmax(axis=-1), found, strict=True):
                finite = bool(np.isfinite(row).all())
                self.tokens += 1
                self.top1 += finite and int(row.argmax()) == int(wanted)
                self.top5 += finite and int((row > row[wanted]).sum()) < TOP
        self.error.cases += 1
        self.cosines.append(whole.cosine)
        self.lengths.append(whole.relative_l2)

    def cache(self, name: str, reference_LHTD: Real, found_LHTD: Real) -> None:
        """Add `keys` or `values` of one case; one all-zero vector per layer and head would be a lost projection.

        Every head is compared for itself: logits hardly move when two heads are exchanged or a quiet one is lost.
        """
        self._count(found_LHTD, found_LHTD.reshape(found_LHTD.shape[0] * found_LHTD.shape[1], -1))
        for layer, (wanted, found) in enumerate(zip(reference_LHTD, found_LHTD, strict=True)):
            heads = list(zip(wanted, found, strict=True))
            self.cache_cosines[name, layer].append(float(np.min([cosine(a, b) for a, b in heads])))
            for head, pair in enumerate(heads):
                self.cache_errors[name, layer].setdefault(head, Worst()).add(*pair)

    def head(self, name: str, reference_N: Real, found_N: Real) -> None:
        """Add the log-odds of a head in one case. Raises ValueError for arrays of two shapes."""
        if reference_N.shape != found_N.shape:
            raise ValueError(f"shapes {reference_N.shape} and {found_N.shape} cannot be compared")
        self.nan += int(np.isnan(found_N).sum())
        self.inf += int(np.isinf(found_N).sum())
        self.elements += found_N.size
        self.heads[name].add(reference_N, found_N)

    def _count(self, found: Real, vectors: Real) -> None:
        self.nan += int(np.isnan(found).sum())
        self.inf += int(np.isinf(found).sum())
        self.elements += found.size
        self.all_zero += int((vectors == 0).all(axis=-1).sum())
        self.vectors += vectors.shape[0]

    def data(self) -> dict[str, Any]:
        """The tally as data of a report; cosines are the worst case, KL the mean over positions."""
        cases = len(self.cosines)
        return {
            "cosine": _worst(self.cosines, "cosine", min, cases),
            "cosine_worst_position": _worst(self.positions, "cosine", min, self.tokens),
            "relative_error": _worst([self.error.error] * bool(cases), "1", max, cases),
            "relative_l2": _worst(self.lengths, "1", max, cases),
            "cache": [
                {"layer": f"layer_{layer}", **{name: self._cached(name, layer) for name in CACHE}}
                for layer in range(self.layers)
            ],
            **self._headed(),
            "kl": _mean(self.divergences, "nat"),
            "top1_agreement": facts.rate(self.top1, self.tokens),
            "top5_containment": facts.rate(self.top5, self.tokens),
            "nan": facts.measured(self.nan, "element", n=self.elements),
            "inf": facts.measured(self.inf, "element", n=self.elements),
            "all_zero": facts.measured(self.all_zero, "vector", n=self.vectors),
        }

    def _headed(self) -> dict[str, Any]:
        """What other heads say, of a model that has some."""
        told = [
            {"head": name, "relative_error": _worst([worst.error], "1", max, worst.cases)}
            for name, worst in sorted(self.heads.items())
        ]
        return {"heads": told} if told else {}

    def _cached(self, name: str, layer: int) -> dict[str, Any]:
        cosines = self.cache_cosines[name, layer]
        errors = [head.error for head in self.cache_errors[name, layer].values()]
        return {
            "cosine": _worst(cosines, "cosine", min, len(cosines)),
            "relative_error": _worst(errors, "1", max, len(cosines)),
        }


def _worst(values: Sequence[float], unit: str, pick: Any, count: int) -> dict[str, Any]:
    if not values:
        return facts.unavailable("nothing was compared", unit)
    if not all(np.isfinite(values)):
        return facts.unavailable("an output or reference is not finite, or all zero", unit)
    return facts.measured(pick(values), unit, n=count)


def _mean(values: Sequence[float], unit: str) -> dict[str, Any]:
    if not values:
        return facts.unavailable("nothing was compared", unit)
    if not all(np.isfinite(values)):
        return facts.unavailable("an output or reference is not finite", unit)
    return facts.measured(float(np.mean(values)), unit, n=len(values))
