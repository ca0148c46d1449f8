"""What a step of a lock is made of × what it took the last time → how long it will take, and by what that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: unit of work of a training, in the lock and in the journal
WORK = "gigaoperations"


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Seconds by the wall clock: as `recorded` the last time, for as many operations as there are now; or by the
    `arithmetic` of the lock, operations over what the machine that trains is declared to do."""

    wall_s: float
    by: Literal["recorded", "arithmetic"]

    def data(self) -> dict[str, Any]:
        """For a journal line."""
        return {"wall_s": round(self.wall_s, 6), "by": self.by}


def forecast(estimate: Mapping[str, Any] | None, last: Mapping[str, Any] | None) -> Forecast | None:
    """`estimate`: what the lock says of the step, for one that trains; `last`: the newest committed record of it.

    Of what was recorded, the seconds that killed attempts lost do not count; where any of them left no sign, nothing is
    known. A record of a training without its operations says nothing of another.
    """
    if last is not None and not last["lost_attempts"]:
        now, then = (estimate or {}).get(WORK), last.get(WORK)
        if (now is None) == (then is None):
            wall_s = max(0.0, last["wall_s"] - lost_s(last))
            return Forecast(wall_s=wall_s if now is None or then is None else wall_s * now / then, by="recorded")
    if estimate is not None and "wall_s" in estimate:
        return Forecast(wall_s=float(estimate["wall_s"]), by="arithmetic")
    return None


def lost_s(record: Mapping[str, Any]) -> float:
    """Seconds of a committed record's attempts that were worked in vain."""
    return float(sum(one["lost_s"] or 0.0 for one in record.get("resumes", ())))


def error(record: Mapping[str, Any]) -> float | None:
    """How far a committed record's forecast was from what it took, as a share of what it took; None without one."""
    made, took = record.get("forecast"), record["wall_s"] - lost_s(record)
    if made is None or record["lost_attempts"] or took <= 0:
        return None
    return float(abs(took - made["wall_s"]) / took)
