"""What a training took of memory at its highest × what the formula says of it → how far the two are apart.

Memory is measured, and no two runs of one training take the same number of bytes: it belongs to the work, as seconds
do, and stands in the journal and in the report on the run, not in that of the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runtime.contract.footprint import LIBRARIES

#: of a journal line
PEAK = "memory"
#: what is measured
NUMBERS = ("before", "host", "device")


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The highest so far, in bytes. None: the system does not say, or there is no such place."""

    #: what the process held before there was a model: Python, the libraries, what earlier steps left
    before: int | None
    #: by how much it grew since
    host: int | None
    #: what was held of the accelerator
    device: int | None
    #: of which of the two the formula speaks: where the student is
    at: Literal["host", "device"]
    #: by the formula, for the largest pass there was
    estimated: int

    @property
    def most(self) -> int | None:
        """At the place of which the formula speaks."""
        return self.host if self.at == "host" else self.device

    def __or__(self, other: Peak) -> Peak:
        """The highest of two attempts at one training; what one of them did not know is not known."""
        return Peak(
            before=None if self.before is None or other.before is None else min(self.before, other.before),
            host=_most(self.host, other.host),
            device=_most(self.device, other.device),
            at=other.at,
            estimated=max(self.estimated, other.estimated),
        )

    def data(self) -> dict[str, Any]:
        """For a journal line."""
        found = {"before": self.before, "host": self.host, "device": self.device}
        return {**found, "at": self.at, "estimated": self.estimated}


def _most(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def peak_of(line: Mapping[str, Any]) -> Peak | None:
    """From a journal line; None for an attempt that said nothing of memory. Raises KeyError, TypeError, ValueError."""
    found = line.get(PEAK)
    if found is None:
        return None
    numbers = {name: None if found[name] is None else int(found[name]) for name in NUMBERS}
    return Peak(**numbers, at=found["at"], estimated=int(found["estimated"]))


def higher(one: Peak | None, other: Peak | None) -> Peak | None:
    """Of two attempts, either of which may have been over before there was anything to say."""
    return one if other is None else other if one is None else one | other


def off(record: Mapping[str, Any]) -> float | None:
    """How far a committed record's highest was from its formula, as a share of all that the process, or on the card the
    formula, should have come to, which is never less than what libraries alone take. None where something of it is not
    known, and where it is nothing: a training takes memory."""
    peak = peak_of(record)
    if peak is None or record["lost_attempts"]:
        return None
    before = peak.before if peak.at == "host" else 0
    if not peak.most or peak.most < 0 or peak.estimated <= 0 or before is None or before < 0:
        return None
    return round(abs(peak.most - peak.estimated) / max(before + peak.estimated, LIBRARIES), 6)
