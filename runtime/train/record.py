"""What a training run observes, step by step, as plain values that survive a kill.

A run of any length keeps a bounded log: sampled points, and the last steps whole. Nothing here reads a clock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.train.selecting import Selection

#: steps whose values the final loss is the mean of
TAIL = 20


@dataclass(frozen=True, slots=True)
class Point:
    """One sampled step. Lists run over the loss terms; a value or norm is None where the batch held no such token."""

    step: int
    learning_rate: float
    total: float
    values: list[float | None]
    tokens: list[int]
    weights: list[float]
    norms: list[float | None]
    reached: list[int]
    shares: list[float | None]


@dataclass(slots=True)
class Record:
    """The log of a run so far."""

    points: list[Point] = field(default_factory=list)
    #: values of the last `TAIL` steps
    tail: list[list[float | None]] = field(default_factory=list)
    #: supervised tokens per term, over all steps
    supervised: list[int] = field(default_factory=list)
    #: tokens of the rows, and positions computed for them (padding included)
    tokens: int = 0
    positions: int = 0
    #: the most positions that were in the student at once, and supervised tokens among them
    widest: int = 0
    widest_supervised: int = 0
    #: steps whose gradient was longer than the clip
    clipped: int = 0
    #: steps of a scaled loss whose gradient was not finite: the factor was lowered and no weight moved
    skipped: int = 0
    #: steps that were made
    steps: int = 0
    #: what validation found; None where nothing is validated
    selection: Selection | None = None

    def add_values(self, values: list[float | None]) -> None:
        self.tail = [*self.tail, values][-TAIL:]

    def final(self, term: int) -> tuple[float | None, int]:
        """Mean value of a term over the last steps that held its tokens, and how many those were."""
        found = [values[term] for values in self.tail]
        known = [value for value in found if value is not None]
        return (sum(known) / len(known) if known else None), len(known)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> Record:
        found = value.get("selection")
        points = [Point(**point) for point in value["points"]]
        selection = None if found is None else Selection.from_json(found)
        return Record(**{**value, "points": points, "selection": selection})
