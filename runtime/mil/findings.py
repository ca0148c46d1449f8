"""What a checked run saw → facts: shapes and dtypes that differ from the declared ones, NaN, infinities, headroom.

Facts only; whether they are acceptable is for a policy. A run that was not checked has no findings and is not `clean`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from runtime.mil.description import shape_text
from runtime.mil.items import Items
from runtime.mil.numerics import BY_NAME, FP16_MAX, FP16_OVERFLOW, FP16_UNDERFLOW, Array, Rounding, round16_over
from runtime.mil.program import Shape, ValueType

#: elements up to which numpy counts the floats themselves faster than a comparison of them
_FEW = 3000


class Mismatch(NamedTuple):
    """A value whose declared type is not what the program yields. `what`: "shape", "dtype", "operands" (operands of one
    op that should share a dtype) or "description" (the model description against the function)."""

    value: str
    op_type: str
    op_name: str
    what: str
    declared: str
    actual: str


class Count(NamedTuple):
    """How many `elements` of `value`, the result of the op `op_name`."""

    value: str
    op_type: str
    op_name: str
    elements: int


class Peak(NamedTuple):
    """Largest finite magnitude of a value declared float16, before rounding."""

    value: str
    op_type: str
    op_name: str
    magnitude: float

    @property
    def headroom(self) -> float:
        """65504 / magnitude; below 1 the value saturates."""
        return FP16_MAX / self.magnitude if self.magnitude else float("inf")


@dataclass(frozen=True)
class Findings:
    """Findings of one run, or of several merged ones. Counts name the op that *introduced* the state: its operands had
    none of it. `saturated` elements are finite but round to infinity in float16; `flushed` ones are not zero but round
    to zero (expected after softmax); `out_of_range` ones do not fit the integer dtype they are cast to or computed in,
    or are computed with a constant at the end of int32, where a converter that met a larger number leaves it."""

    checked: bool = False
    mismatches: tuple[Mismatch, ...] = ()
    nan: tuple[Count, ...] = ()
    inf: tuple[Count, ...] = ()
    saturated: tuple[Count, ...] = ()
    flushed: tuple[Count, ...] = ()
    out_of_range: tuple[Count, ...] = ()
    peaks: Mapping[str, Peak] = field(default_factory=dict)
    #: name of the first op, in program order, with anything but `flushed`; "" when there is none
    first: str = ""

    @property
    def clean(self) -> bool:
        """Checked, and nothing but flushed elements was found."""
        trouble = (self.mismatches, self.nan, self.inf, self.saturated, self.out_of_range)
        return self.checked and not any(trouble)

    @property
    def headroom(self) -> float:
        """65504 / max|x| over every value declared float16 (constants left out); infinite when there is none."""
        return min((peak.headroom for peak in self.peaks.values()), default=float("inf"))

    def tightest(self, count: int = 5) -> list[Peak]:
        """The values with the least headroom, least first. An additive mask is among them by its nature."""
        return sorted(self.peaks.values(), key=lambda peak: (-peak.magnitude, peak.value))[:count]


def merged(runs: Iterable[Findings]) -> Findings:
    """Findings of several runs of one function as one: counts added, peaks maximal, `checked` only if all were."""
    every = list(runs)
    peaks: dict[str, Peak] = {}
    for peak in (peak for run in every for peak in run.peaks.values()):
        if peak.value not in peaks or peaks[peak.value].magnitude < peak.magnitude:
            peaks[peak.value] = peak
    return Findings(
        checked=bool(every) and all(run.checked for run in every),
        mismatches=tuple(dict.fromkeys(item for run in every for item in run.mismatches)),
        nan=_added(item for run in every for item in run.nan),
        inf=_added(item for run in every for item in run.inf),
        saturated=_added(item for run in every for item in run.saturated),
        flushed=_added(item for run in every for item in run.flushed),
        out_of_range=_added(item for run in every for item in run.out_of_range),
        peaks=peaks,
        first=next((run.first for run in every if run.first), ""),
    )


def _added(counts: Iterable[Count]) -> tuple[Count, ...]:
    totals: dict[tuple[str, str, str], int] = {}
    for value, op_type, op_name, count in counts:
        totals[value, op_type, op_name] = totals.get((value, op_type, op_name), 0) + count
    return tuple(Count(*key, count) for key, count in totals.items())


def _nonzero(x: Array) -> int:
    """Elements that are not zero, NaN among the others."""
    return int(np.count_nonzero(x if x.size < _FEW else x != 0))


class Source(NamedTuple):
    """Where a value comes from: its slot, the slots it was made of, whether the op `computes` or only moves elements,
    whose magnitude was judged where they were computed, and whether it `carries` elements of those slots alone: it can
    give nothing that is not finite where they are."""

    value: str
    declared: ValueType
    slot: int
    op_type: str
    op_name: str
    operands: tuple[int, ...] = ()
    computes: bool = True
    carries: bool = False


class Watch:
    """Collects findings while a program runs. Values are known by slot number."""

    def __init__(self) -> None:
        self.mismatches: list[Mismatch] = []
        self.nan: list[Count] = []
        self.inf: list[Count] = []
        self.saturated: list[Count] = []
        self.flushed: list[Count] = []
        self.out_of_range: list[Count] = []
        self.peaks: dict[str, Peak] = {}
        #: place of the op being watched in the program, set by whoever runs it
        self.position = 0
        self._first: list[tuple[int, str]] = []
        self._with_nan: set[int] = set()
        self._with_inf: set[int] = set()

    def findings(self) -> Findings:
        """What was collected so far."""
        return Findings(
            checked=True,
            mismatches=tuple(self.mismatches),
            nan=tuple(self.nan),
            inf=tuple(self.inf),
            saturated=tuple(self.saturated),
            flushed=tuple(self.flushed),
            out_of_range=tuple(self.out_of_range),
            peaks=dict(self.peaks),
            first=min(self._first)[1] if self._first else "",
        )

    def branch(self) -> Watch:
        """A watch that starts with what this one has seen."""
        other = Watch()
        for name, value in vars(self).items():
            setattr(other, name, value if isinstance(value, int) else value.copy())
        return other

    def mismatch(self, item: Mismatch) -> None:
        """Record a declared type that is not the actual one."""
        self.mismatches.append(item)
        self._trouble(item.op_name)

    def cast(self, operand: Array, source: Source) -> None:
        """Elements of `operand` that a cast to the declared integer dtype cannot represent."""
        info = BY_NAME[source.declared.dtype]
        if info.kind != "int" or operand.dtype == np.bool_:
            return
        whole = np.trunc(operand) if operand.dtype.kind == "f" else operand
        count = operand.size - int(np.count_nonzero((whole >= info.low) & (whole <= info.high)))
        self._count(self.out_of_range, source, count)

    def integers(self, found: Array, exact: Array, source: Source) -> None:
        """Elements that the same op gives otherwise in 64 bits: they left their dtype."""
        if BY_NAME[source.declared.dtype].kind == "int":
            self._count(self.out_of_range, source, int(np.count_nonzero(found != exact)))

    def limit(self, operand: Array, dtype: str, source: Source) -> None:
        """Elements of a constant operand that stand at an end of a dtype of 32 bits; narrower ones use theirs up."""
        info = BY_NAME[dtype]
        if info.kind == "int" and info.bits == 32:
            ends = (operand == info.high) | (operand == info.low if info.low else False)
            self._count(self.out_of_range, source, int(np.count_nonzero(ends)))

    def constant(self, value: Array, source: Source) -> None:
        """A constant: only whether it is finite."""
        if value.size and not np.isfinite(value).all():
            self._not_finite(value, source)

    def entered(self, slot: int, value: Array | Items) -> None:
        """A value that a round of a loop starts with: what it holds is not the finding of the op that reads it."""
        if isinstance(value, Items):
            self._held(slot, value)
        elif value.dtype.kind == "f":
            self._with_nan |= {slot} if np.isnan(value).any() else set()
            self._with_inf |= {slot} if np.isinf(value).any() else set()

    def _held(self, slot: int, items: Items) -> None:
        """A list: what it holds was found where it was computed."""
        if BY_NAME[items.dtype].kind == "float":
            self._with_nan |= {slot} if items.holds(np.isnan) else set()
            self._with_inf |= {slot} if items.holds(np.isinf) else set()

    def result(self, raw: Any, source: Source, how: Rounding | None = None) -> Any:
        """One result, which is rounded `how`: its shape against the declared one and, for floats, what is new in it.
        Gives it rounded; `raw` may be overwritten."""
        if isinstance(raw, Items):
            self._shape(raw.shape, source)
            self._held(source.slot, raw)
            return raw
        if source.carries and how is None and self._finite(source.operands):
            # a cache of millions of numbers is joined and repeated for every token, and holds what it held
            self._shape(raw.shape, source)
            return raw
        peak = self._peak(raw, source)
        counts = peak is not None and source.declared.dtype == "float16" and source.computes
        if not counts or peak is None:
            return raw if how is None else how(raw)
        if peak >= FP16_OVERFLOW:
            count = int(np.count_nonzero(np.isfinite(raw) & (np.abs(raw) >= FP16_OVERFLOW)))
            self._count(self.saturated, source, count)
            self._with_inf.add(source.slot)
        self.peaks[source.value] = Peak(source.value, source.op_type, source.op_name, peak)
        before = _nonzero(raw) if how is None or how is round16_over else None
        rounded = raw if how is None else how(raw)
        kept = int(np.count_nonzero(np.abs(raw) > FP16_UNDERFLOW)) if how is None else _nonzero(rounded)
        # where nothing is zero afterwards, nothing became so
        flushed = 0 if kept == raw.size else (_nonzero(raw) if before is None else before) - kept
        if flushed:
            self.flushed.append(Count(source.value, source.op_type, source.op_name, flushed))
        return rounded

    def _finite(self, operands: tuple[int, ...]) -> bool:
        return self._with_nan.isdisjoint(operands) and self._with_inf.isdisjoint(operands)

    def _peak(self, raw: Array, source: Source) -> float | None:
        """The largest finite magnitude, None of what is no float; records a wrong shape and what is not finite."""
        self._shape(raw.shape, source)
        if raw.dtype.kind != "f" or raw.size == 0:
            return None
        # two reductions and no array of magnitudes; a NaN is the result of both
        peak = float(max(raw.max(), -raw.min()))
        if not math.isfinite(peak):
            self._not_finite(raw, source)
            return float(np.max(np.abs(raw), where=np.isfinite(raw), initial=0.0))
        return peak

    def _shape(self, found: Shape, source: Source) -> None:
        declared = source.declared.shape
        if found != declared and (
            len(found) != len(declared)
            or any(size not in (None, actual) for size, actual in zip(declared, found, strict=True))
        ):
            texts = shape_text(declared), shape_text(found)
            self.mismatch(Mismatch(source.value, source.op_type, source.op_name, "shape", *texts))

    def _not_finite(self, raw: Array, source: Source) -> None:
        nan, inf = int(np.count_nonzero(np.isnan(raw))), int(np.count_nonzero(np.isinf(raw)))
        if nan:
            self._with_nan.add(source.slot)
            if self._with_nan.isdisjoint(source.operands):
                self._count(self.nan, source, nan)
        if inf:
            self._with_inf.add(source.slot)
            if self._with_inf.isdisjoint(source.operands):
                self._count(self.inf, source, inf)

    def _count(self, where: list[Count], source: Source, count: int) -> None:
        if count:
            where.append(Count(source.value, source.op_type, source.op_name, count))
            self._trouble(source.op_name)

    def _trouble(self, op_name: str) -> None:
        if op_name:
            self._first = [min([(self.position, op_name), *self._first])]
