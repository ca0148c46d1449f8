"""What `bench --pin` keeps: nothing that a rule blocks, and nothing that a rule finds worse than the baseline."""

import pytest

from kcompiler.cli.bench import _blocks

STEPS = ["benchmark-speed", "regression-speed"]


def outcome(step, word, pointer="/data/first_token", *, blocks=True):
    return {
        "rule": f"pack/{step}", "step": step, "outcome": word, "blocks": blocks, "pointer": pointer, "reason": "it is so",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "blocked"),
    [
        (outcome("benchmark-speed", "fail"), True),
        (outcome("benchmark-speed", "inconclusive"), True),
        (outcome("benchmark-speed", "pass", blocks=False), False),
        # what the machine that is meant would do
        (outcome("benchmark-speed", "inconclusive", "/data/target/shapes"), False),
        (outcome("regression-speed", "fail"), True),
        # a rule that only warns
        (outcome("regression-speed", "fail", blocks=False), False),
        # another machine says nothing, and is the reason to pin anew
        (outcome("regression-speed", "inconclusive"), False),
        (outcome("regression-speed", "pass", blocks=False), False),
        (outcome("regression-other", "fail"), False),
    ],
)
def test_no_pin_hides_what_became_worse(found, blocked):
    told = _blocks({"outcomes": [found]}, "benchmark-speed", STEPS)
    assert bool(told) is blocked
    if blocked and found["step"] == "regression-speed":
        assert "take `baseline:` out of the benchmark" in told[0]
