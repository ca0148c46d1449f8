"""Locks of shipped specs → which steps a delivery speaks of."""

from __future__ import annotations

from typing import Any

import pytest

from kcompiler import lock as locks
from kcompiler.deliver import choose
from tests.flow.world import ROOT

LOCKS = sorted(path.parent.name for path in (ROOT / "generated").glob("*/plan.lock"))


def records(lock: dict[str, Any]) -> dict[str, Any]:
    """As if every step was committed."""
    return {
        step["id"]: {"gives": {port: {"digest": f"sha256:{step['id']}#{port}"} for port in step["gives"]}}
        for step in lock["steps"]
    }


@pytest.mark.parametrize("name", LOCKS)
def test_every_evaluation_of_the_package_is_spoken_of(name: str) -> None:
    """Whatever an evaluation gives beside its report: `gold` and `choice` keep a line of each row."""
    lock: dict[str, Any] = locks.read(ROOT / "generated" / name / "plan.lock")
    (convert,) = choose.conversions(lock)
    found = choose.chosen(lock, records(lock), convert)
    evaluations = {
        step["id"]
        for step in lock["steps"]
        if any(str(give.get("report")).startswith("eval.") for give in step["gives"].values())
    }
    assert evaluations
    assert evaluations <= found.steps
