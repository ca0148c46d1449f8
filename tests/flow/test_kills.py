"""SIGKILL at random moments, over and over, with everything on that a training can keep: the end is the undisturbed one.

Everything is on: validation with a best state and states on the way, batches that go through the models in parts, and
a teacher whose signals were recorded. Three kills by default, and no further than the student;
`KCOMPILER_KILLS=30 python -m pytest tests/flow/test_kills.py` makes thirty, to the verdict (about three minutes).
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.flow import world
from tests.flow.world import MAIN, Home
from tests.longer import longer

KILLS = int(os.environ.get("KCOMPILER_KILLS", "3"))
#: what is left out of a short trial
OPTIONS = () if KILLS > 3 else ("--only", "train-kd")
END = (0, "") if OPTIONS else (1, "fail")
#: seconds of an apply that is killed: from when its libraries are there to when half of the run is done
LEAST_S, MOST_S = 0.3, 3.0
#: kills the process from a thread of its own, wherever it is
TIMED = (
    """
import os, signal, threading
timer = threading.Timer({seconds}, os.kill, (os.getpid(), signal.SIGKILL))
timer.daemon = True
timer.start()
"""
    + MAIN
)
#: the steps that a kill can catch in their midst for long, and a port of each
LONG = {"train-kd": "checkpoint", "signals": "signals", "teacher": "checkpoint"}


def everything(data: dict[str, Any]) -> None:
    """A longer training that saves often, with all that a state has to hold."""
    data["data"]["validation"] = 0.1
    # one that knows more than nothing: only of such a one can be measured where its signals stand
    data["teacher"] |= {"store": {"form": "hidden"}, "steps": 100, "batch_size": 24}
    data["teacher"]["optimizer"]["learning_rate"] = 0.01
    data["training"]["stages"][0] |= {
        "steps": 48,
        "batch_size": 8,
        "micro_batch": 3,
        "checkpoint_every": 2,
        "gradient_norms_every": 5,
        "validation": {"every": 5, "patience": 8},
    }


def project(root: Path) -> Home:
    home = world.make(root)
    home.change(everything)
    return home


def killed(home: Home, seconds: float) -> bool:
    """Whether an apply was still at work when it was killed."""
    result = home.apply(*OPTIONS, code=TIMED.format(seconds=seconds))
    assert result.code in (-signal.SIGKILL, END[0]), result.text
    return result.code == -signal.SIGKILL


@pytest.mark.slow
@longer
def test_killed_at_random_moments_with_everything_on_the_end_is_the_undisturbed_one(tmp_path: Path) -> None:
    quiet, home = project(tmp_path / "quiet"), project(tmp_path / "killed")
    quiet.apply(*OPTIONS).ended(*END)
    moments = random.Random(KILLS)
    kills = 0
    while kills < KILLS:
        if killed(home, moments.uniform(LEAST_S, MOST_S)):
            kills += 1
        else:
            # it came to its end: one of its long steps is to be made again
            step = moments.choice([name for name in LONG if name in home.records()])
            home.lose(step, LONG[step])
    result = home.apply(*OPTIONS).ended(*END)
    assert home.digests() == quiet.digests()
    if not OPTIONS:
        assert home.audit().ended(0, "").code == 0, result.text
    records = home.records().values()
    assert all(record["lost_attempts"] == 0 for record in records), "each attempt left a sign of how long it worked"
    assert {record["step"] for record in records} >= {"train-kd", "data"}
    told = [line for line in home.journal() if line["type"] == "step_killed"]
    assert 0 < len(told) <= KILLS, "kills before a step and between two are of no attempt"
