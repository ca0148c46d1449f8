"""Attempts at one action → where each went on, what it had to do twice, and which settings differed. For `run.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.contract.keys import param_changes
from runtime.machine.journal import Attempts, Ended
from runtime.machine.meter import INTERVAL_S, Way


def resumes(known: Attempts, way: Way | None) -> list[dict[str, Any]]:
    """One entry for each attempt that came after another, the present one (its `way` so far) last.

    `at`: the step it went on from, 0 for work that keeps nothing; an attempt that ended before it went on stands where
    the next one did. `repeated`: steps that those before it had done and it did again; `lost_s`: the seconds that the
    one before had worked in vain. Both are None where that left no sign.
    `changed`: settings without effect on the result that were not what they had been, and budgets; no other may differ,
    for the attempts are at one action, whose key covers all others.
    """
    return list(_resumes(known, way))


def _resumes(known: Attempts, way: Way | None) -> Iterator[dict[str, Any]]:
    ways = {number: known.way_of(number) for number in range(1, known.claimed)} | {known.claimed: way}
    done = 0
    for number in range(2, known.claimed + 1):
        before, last, now = known.ended_at.get(number - 1), ways[number - 1], ways[number]
        done = done if last is None else last.done
        stood = next((one for later in range(number, known.claimed + 1) if (one := ways[later]) is not None), None)
        at = 0 if stood is None else stood.began
        repeated = 0 if now is None else max(0, done - at)
        yield {
            "attempt": number,
            "at": at,
            "repeated": None if before is None else repeated,
            "lost_s": None if before is None else _lost_s(before, at),
            "changed": [
                *_changed(known.params.get(number - 1), known.params.get(number)),
                *_changed(known.budgets.get(number - 1), known.budgets.get(number)),
            ],
        }


def _lost_s(before: Ended, at: int) -> float:
    """What came after the state from which it goes on."""
    way = before.way
    if way is None or at < way.kept:
        # it kept nothing, or what it saved was damaged: then all of its time is lost
        return round(before.spent.wall_s, 6)
    # a state that it had no time to tell of was saved in its last moment
    return round(way.lost_s if at == way.kept else min(way.lost_s, INTERVAL_S), 6)


def _changed(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    return [] if old is None or new is None else [str(change) for change in param_changes(old, new)]
