"""Speeds that no gate may pass on: of the interpreter, of another machine, of one repetition, of nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import judge
from runtime.contract import report as facts
from runtime.contract import speed

PACKS = ["roles/drafter-speed", "roles/judge-speed", "roles/worker-speed"]
MAC = {"processor": "Apple M1 Max", "memory": str(64 << 30)}
MEANT = speed.Target(profile="m1-max-64gb", chip="Apple M1 Max", memory_bytes=64 << 30)
FAST = (10**6, 10**6)


def benchmark(name: str, here: dict[str, str], times: list[tuple[int, int]]) -> dict[str, Any]:
    """A report of answers that every role would be content with, if they were its own."""
    found = [
        speed.shape(times, length, 2, None) if times else speed.no_shape("no", length, 2, None)
        for length in (2048, 4096)
    ]
    meaning = speed.RUNNERS[name]  # type: ignore[index]
    runner = {
        "of": meaning.of,
        "level": meaning.level,
        "says": meaning.says,
        "conditions": {**here, "new_tokens": "2"},
        "load": facts.measured(1.0, "s"),
        "size": facts.measured(1, "B"),
        "peak_memory": facts.measured(1, "B"),
        "shapes": {speed.named(one["prompt_tokens"]["value"]): one for one in found},
    }
    data = {
        "benchmark": "speed",
        "machine": here,
        "warm_up": facts.measured(2, "answer"),
        "repetitions": facts.measured(len(times), "repetition"),
        "runners": {name: runner},
        "target": speed.target(MEANT, here, {name: runner}),
        "energy": facts.unavailable("no meter", "J"),
        "carbon": facts.unavailable("no meter", "g"),
    }
    around = {"backend": "torch", "forged": False, "versions": {}}
    return facts.envelope(
        kind="benchmark", step="benchmark-speed", subject={}, fingerprints={}, environment=around, data=data
    )


def outcomes(report: dict[str, Any], packs: list[str]) -> dict[str, str]:
    """Rule → outcome."""
    loaded = policy.load(packs, [assets.folder("policies")])
    assert not loaded.problems
    spec = {"risk_tier": 1, "evaluation": {"benchmarks": [{"id": "speed"}]}}
    asked, problems = policy.obligations(loaded, spec, {report["kind"]: [report["step"]]})
    assert not problems
    return {one.rule: one.outcome for one in judge({report["step"]: report}, asked).outcomes}


def test_a_device_that_is_fast_enough_passes() -> None:
    found = outcomes(benchmark("coreml", MAC, [FAST] * 400), [*PACKS, "speed/measured"])
    assert len(found) == 19
    assert set(found.values()) == {"pass"}


@pytest.mark.parametrize("name", ["mil", "torch"])
def test_the_interpreter_and_the_checkpoint_are_no_device_even_on_that_machine(name: str) -> None:
    found = outcomes(benchmark(name, MAC, [FAST] * 400), PACKS)
    assert found
    assert "pass" not in found.values()


@pytest.mark.parametrize("other", [{"processor": "AMD EPYC"}, {"memory": str(16 << 30)}])
def test_nor_is_another_machine(other: dict[str, str]) -> None:
    found = outcomes(benchmark("coreml", {**MAC, **other}, [FAST] * 400), PACKS)
    assert found
    assert "pass" not in found.values()


def test_a_speed_of_nothing_is_none() -> None:
    found = outcomes(benchmark("coreml", MAC, []), [*PACKS, "speed/measured"])
    # the process held what it held; every time is inconclusive
    assert {rule for rule, outcome in found.items() if outcome == "pass"} <= {f"{one}/target-memory" for one in PACKS}


@pytest.mark.parametrize(("n", "tail"), [(1, "p50"), (71, "p95"), (367, "p99")])
def test_too_few_repetitions_prove_no_tail(n: int, tail: str) -> None:
    found = outcomes(benchmark("coreml", MAC, [FAST] * n), ["roles/worker-speed"])
    assert found[f"roles/worker-speed/target-latency-{tail}"] != "pass"


def test_an_estimate_is_no_measurement() -> None:
    report = copy.deepcopy(benchmark("coreml", MAC, [FAST] * 400))
    for one in report["data"]["target"]["shapes"].values():
        one["decode"]["p50"] = facts.estimated(1e6, "token/s", by="roofline")
    assert outcomes(report, ["roles/worker-speed"])["roles/worker-speed/target-decode"] != "pass"
