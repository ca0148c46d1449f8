"""What rules ask of a report is made once, and a copy of the report remembers none of it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

from kcompiler.judge import judge
from kcompiler.policy import evidence
from kcompiler.policy.kinds import bound
from kcompiler.policy.seen import Seen, kept
from tests.unit.kcompiler.judge.samples import bound as params
from tests.unit.kcompiler.judge.samples import number, obligation, report


def _size(report: Mapping[str, Any], more: int) -> int:
    return len(report) + more


def test_a_report_remembers_for_each_question() -> None:
    seen = Seen({"a": 1})
    assert [kept(_size, seen, 1), kept(_size, seen, 2), kept(_size, seen, 1)] == [2, 3, 2]
    assert len(seen.memory) == 2
    assert kept(_size, {"a": 1}, 1) == 2


def test_a_copy_remembers_nothing() -> None:
    seen = Seen({"a": {"b": 1}})
    kept(_size, seen, 1)
    for copied in (copy.copy(seen), copy.deepcopy(seen), pickle.loads(pickle.dumps(seen))):
        assert type(copied) is dict
        assert copied == seen


def test_rules_about_the_same_places_walk_to_them_once() -> None:
    """Ten thresholds, one walk; another unit is another question."""
    given = report({"v": [{"x": number(value)} for value in range(5)]})
    rules = [obligation(params("v[*].x", ">=", str(least)), rule=f"r{least}") for least in range(10)]
    evidence._read.cache_clear()
    verdict = judge({"measure": given}, rules)
    assert [one.outcome for one in verdict.outcomes] == ["pass"] + ["fail"] * 9
    remembered = evidence.read(given).report
    assert isinstance(remembered, Seen)
    assert [made for made, _ in remembered.memory] == [bound._places]
    judge({"measure": given}, [obligation(params("v[*].x", ">=", "1", "s"))])
    assert len(remembered.memory) == 2
