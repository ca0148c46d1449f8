"""A suite in shards, killed in their midst: the report and the items are, byte for byte, those of one step alone."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.flow.world import MAIN, SIGNALLED, Home, signals
from tests.longer import longer

SHARDS = [f"evaluate-answers-shard-{number}" for number in range(4)]
#: thirty rows are one lot; here they are three, so that one of four shards has nobody to ask
SMALL = """
from runtime.contract import lots
lots.ROWS = 10
"""


def four(data: dict[str, Any]) -> None:
    data["evaluation"]["suites"][0]["shards"] = 4


@pytest.mark.slow
@longer
def test_killed_between_lots_a_sharded_evaluation_ends_as_one_step_alone(done: Home) -> None:
    done.apply("--force", "evaluate-answers", code=SMALL + MAIN).ended(1, "fail")
    before = done.digests()
    done.change(four)
    # the first shard's second lot is answered, and not yet durable
    kill = signals(signal.SIGKILL, "os.rename", r"work/lots/.*\.jsonl", 2)
    result = done.apply(code=SMALL + SIGNALLED, env=kill)
    assert result.code == -signal.SIGKILL, result.text
    end = done.apply(code=SMALL + MAIN).ended(1, "fail")
    ran = {step for step, action in end.steps().items() if action != "reused"}
    assert ran == {*SHARDS, "evaluate-answers"}, end.text
    after = done.digests()
    for port in ("report", "items"):
        assert after[f"evaluate-answers#{port}"] == before[f"evaluate-answers#{port}"]
    (resumed,) = (one for step in SHARDS for one in done.records()[step]["resumes"])
    assert resumed["at"] > 0, "what was kept is not asked again"
    done.audit().ended(0, "")
