"""Attempts at one action → where each went on, what it had to do twice, and which settings differed. For `run.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.contract.keys import param_changes
from runtime.machine.journal import Attempts, Ended
from runtime.machine.meter import Way


def resumes(known: Attempts, way: Way | None) -> list[dict[str, Any]]:
    """One entry for each attempt that came after another, the present one (its `way` so far) last.

    `at`: the step it went on from, 0 for work that keeps nothing. `repeated`: steps that the one before it had done
    and it did again; `lost_s`: the seconds that the one before had worked in vain. Both are None where that left no
    sign.
    `changed`: settings without effect on the result that were not what they had been; no other may differ, for the
    attempts are at one action, whose key covers all others.
    """
    return list(_resumes(known, way))


def _resumes(known: Attempts, way: Way | None) -> Iterator[dict[str, Any]]:
    for number in range(2, known.claimed + 1):
        before = known.ended_at.get(number - 1)
        now = way if number == known.claimed else known.way_of(number)
        at = 0 if now is None else now.began
        yield {
            "attempt": number,
            "at": at,
            **({"repeated": None, "lost_s": None} if before is None else _lost(before, at)),
            "changed": _changed(known.params.get(number - 1), known.params.get(number)),
        }


def _lost(before: Ended, at: int) -> dict[str, Any]:
    way = before.way
    if way is None:
        return {"repeated": 0, "lost_s": round(before.spent.wall_s, 6)}
    # what it saved may have been damaged: then all of its time is lost
    lost_s = way.lost_s if at == way.kept else before.spent.wall_s
    return {"repeated": max(0, way.done - at), "lost_s": round(lost_s, 6)}


def _changed(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    return [] if old is None or new is None else [str(change) for change in param_changes(old, new)]
