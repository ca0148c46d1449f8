"""Where work was taken up again, what was done twice, and which settings had changed meanwhile."""

from __future__ import annotations

from typing import Any

from runtime.machine.journal import Attempts, Ended
from runtime.machine.meter import INTERVAL_S, Spent, Way
from runtime.machine.resumed import resumes


def way(began: int, done: int, kept: int, lost_s: float = 0.0) -> Way:
    return Way(began=began, done=done, kept=kept, lost_s=lost_s)


def attempts(*ends: Ended | None, params: Any = None) -> Attempts:
    """As many claims as ends and one more, which is at work."""
    ended = {number: end for number, end in enumerate(ends, 1) if end is not None}
    return Attempts(claimed=len(ends) + 1, ended=len(ended), ended_at=ended, params=params or {})


def test_a_first_attempt_takes_nothing_up() -> None:
    assert resumes(attempts(), way(0, 60, 60)) == []


def test_steps_after_the_last_state_are_done_twice() -> None:
    killed = Ended(Spent(wall_s=30.0), way(0, 47, 40, 3.5))
    again = Ended(Spent(wall_s=9.0), way(40, 55, 50, 1.25))
    first, second = resumes(attempts(killed, again), way(50, 60, 60))
    assert first == {"attempt": 2, "at": 40, "repeated": 7, "lost_s": 3.5, "changed": []}
    assert second == {"attempt": 3, "at": 50, "repeated": 5, "lost_s": 1.25, "changed": []}


def test_where_a_state_was_damaged_everything_that_the_attempt_took_is_lost() -> None:
    killed = Ended(Spent(wall_s=30.0), way(0, 47, 40, 3.5))
    (found,) = resumes(attempts(killed), way(20, 60, 60))
    assert (found["at"], found["repeated"], found["lost_s"]) == (20, 27, 30.0)


def test_what_is_stopped_after_it_was_saved_repeats_nothing() -> None:
    stopped = Ended(Spent(wall_s=30.0), way(0, 47, 47))
    (found,) = resumes(attempts(stopped), way(47, 60, 60))
    assert (found["at"], found["repeated"], found["lost_s"]) == (47, 0, 0.0)


def test_work_that_keeps_nothing_is_lost_whole_and_repeats_no_steps() -> None:
    (found,) = resumes(attempts(Ended(Spent(wall_s=12.0), None)), None)
    assert (found["at"], found["repeated"], found["lost_s"]) == (0, 0, 12.0)


def test_of_an_attempt_without_a_sign_nothing_is_known() -> None:
    (found,) = resumes(attempts(None), way(40, 60, 60))
    assert found == {"attempt": 2, "at": 40, "repeated": None, "lost_s": None, "changed": []}


def test_a_setting_that_decides_nothing_may_differ_and_is_named() -> None:
    params = {1: {"checkpoint_every": 100, "steps": 9}, 2: {"checkpoint_every": 50, "steps": 9}}
    (found,) = resumes(attempts(Ended(Spent(), way(0, 1, 1)), params=params), way(1, 9, 9))
    assert found["changed"] == ["checkpoint_every: 100 → 50"]


def test_a_state_that_was_saved_after_the_last_sign_is_not_lost() -> None:
    """It was killed between the two: what came after the state is less than an interval."""
    killed = Ended(Spent(wall_s=30.0), way(0, 47, 40, 8.5))
    (found,) = resumes(attempts(killed), way(45, 60, 60))
    assert (found["at"], found["repeated"], found["lost_s"]) == (45, 2, INTERVAL_S)
    (found,) = resumes(attempts(killed), way(50, 60, 60))
    assert (found["at"], found["repeated"], found["lost_s"]) == (50, 0, INTERVAL_S)
    brief = Ended(Spent(wall_s=30.0), way(0, 47, 40, 0.25))
    assert resumes(attempts(brief), way(50, 60, 60))[0]["lost_s"] == 0.25


def test_an_attempt_that_ended_before_it_went_on_repeated_nothing() -> None:
    """Killed while it imported, or its disk was full: it stands where the next one goes on, which repeats the steps."""
    killed, imports = Ended(Spent(wall_s=30.0), way(0, 59, 50, 4.0)), Ended(Spent(wall_s=3.0), None)
    first, second, third = resumes(attempts(killed, imports, imports), way(50, 100, 100))
    assert [(one["at"], one["repeated"], one["lost_s"]) for one in (first, second, third)] == [
        (50, 0, 4.0),
        (50, 0, 3.0),
        (50, 9, 3.0),
    ]
    (found,) = resumes(attempts(imports), way(0, 100, 100))
    assert (found["at"], found["repeated"], found["lost_s"]) == (0, 0, 3.0)


def test_a_budget_that_was_changed_meanwhile_is_named() -> None:
    known = attempts(Ended(Spent(), way(0, 1, 1)), params={1: {"steps": 9}, 2: {"steps": 9}})
    known.budgets |= {1: {"budgets": {"wall_s": 7200, "usd": 0}}, 2: {"budgets": {"wall_s": 7100, "usd": 0}}}
    (found,) = resumes(known, way(1, 9, 9))
    assert found["changed"] == ["budgets.wall_s: 7200 → 7100"]
    del known.budgets[1]
    assert resumes(known, way(1, 9, 9))[0]["changed"] == []
