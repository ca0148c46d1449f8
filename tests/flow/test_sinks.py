"""`apply --sink`: curves go elsewhere besides, a sink is no part of the plan, and one that breaks costs nothing."""

from __future__ import annotations

import pytest

from tests.flow.world import NAME, Home

SPEC = f"specs/{NAME}.yaml"

#: tools of these names, in the place of the real ones
FAKES = """
import json, sys
from pathlib import Path
from runtime.machine import sinks
class Lines:
    def __init__(self, target, run):
        self.file = Path(target)
    def write(self, step, at, numbers):
        if self.file.name == "broken":
            raise ConnectionError("nobody answers")
        with self.file.open("a") as lines:
            lines.write(json.dumps([step, at, sorted(numbers)]) + chr(10))
    def close(self):
        pass
sinks.KINDS = {"lines": Lines}
from kcompiler.cli import main
main()
"""


@pytest.mark.parametrize(
    ("sink", "words"), [("wandb:team", "`wandb:team` names no sink"), ("tensorboard", "names no sink")]
)
def test_a_sink_that_nobody_knows_is_refused_before_anything_runs(fresh: Home, sink: str, words: str) -> None:
    result = fresh.apply("--sink", sink).ended(2, "refused")
    assert words in result.err
    assert "write one of mlflow:…, tensorboard:…, trackio:…" in result.err
    assert not (fresh.root / "generated" / NAME / "evidence").exists()


@pytest.mark.slow
def test_curves_go_elsewhere_and_change_nothing(done: Home) -> None:
    import json

    lock = done.lock.read_bytes()
    digests = done.digests()
    force = ("--force", "train-kd", "--sink", "lines:curves", "--sink", "lines:broken")
    result = done.apply(*force, code=FAKES).ended(1, "fail")
    assert result.steps()["train-kd"] == "committed"
    told = [line for line in result.err.splitlines() if line.startswith("sink ")]
    assert told == [
        "sink lines:broken failed with ConnectionError: nobody answers; it gets no more points, the run goes on"
    ]
    points = [json.loads(line) for line in (done.root / "curves").read_text().splitlines()]
    assert [(step, at) for step, at, _ in points] == [("train-kd", at) for at in range(1, 13)]
    assert {"loss/kl", "loss/ce_truth", "learning_rate", "tokens", "memory"} <= set(points[1][2])
    assert {"loss", "gradient_share/kl"} <= set(points[0][2])
    assert "gradient_share/kl" not in points[1][2]
    assert done.lock.read_bytes() == lock
    assert done.digests() == digests
    assert set(done.apply().ended(1, "fail").steps().values()) == {"reused"}
