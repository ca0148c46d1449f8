"""Speeds that no gate may pass on: of the interpreter, of another machine, of one repetition, of nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.policy import evidence
from runtime.contract import regression, speed
from runtime.contract import report as facts
from tests.unit.runtime.contract import speeds

PACKS = ["roles/drafter-speed", "roles/judge-speed", "roles/worker-speed"]
MAC = {"processor": "Apple M1 Max", "memory": str(64 << 30), "threads": "8"}
MEANT = speed.Target(profile="m1-max-64gb", chip="Apple M1 Max", memory_bytes=64 << 30)
FAST = (10**6, 10**6)


#: as a lock has the parameters of the step
ASKED = {
    "id": "speed",
    "runners": ["coreml"],
    "prompts": [2048, 4096],
    "new_tokens": 2,
    "warm_up": 2,
    "repetitions": 400,
    "price": None,
    "target": MEANT.model_dump(),
    "threads": 8,
    "device": "cpu",
}


def benchmark(name: str, here: dict[str, str], times: list[tuple[int, int]]) -> dict[str, Any]:
    """A report of answers that every role would be content with, if they were its own."""
    runner = speeds.runner(name, here, {2048: times, 4096: times}, new=2)
    around = {"backend": "torch", "forged": False, "versions": {}, "hardware": {"processor": here["processor"]}}
    made = facts.envelope(
        kind="benchmark",
        step="benchmark-speed",
        subject={},
        fingerprints={},
        environment=around,
        data=speeds.data({name: runner}, here, meant=MEANT),
    )
    return read_again(made)


def read_again(report: dict[str, Any]) -> dict[str, Any]:
    """As it lies in a file: no two places are one."""
    found: dict[str, Any] = json.loads(facts.dump(report))
    return found


def outcomes(report: dict[str, Any], packs: list[str], settings: dict[str, Any] | None = None) -> dict[str, str]:
    """Rule → outcome, where the step has these parameters."""
    loaded = policy.load(packs, [assets.folder("policies")])
    assert not loaded.problems
    spec = {"risk_tier": 1, "evaluation": {"benchmarks": [{"id": "speed", "baseline": "old.json"}]}}
    asked, problems = policy.obligations(
        loaded, spec, {report["kind"]: [report["step"]]}, {report["step"]: settings or ASKED}
    )
    assert not problems
    return {one.rule: one.outcome for one in judge({report["step"]: report}, asked).outcomes}


def test_a_device_that_is_fast_enough_passes() -> None:
    found = outcomes(benchmark("coreml", MAC, [FAST] * 400), [*PACKS, "speed/measured"])
    assert len(found) == 20
    assert set(found.values()) == {"pass"}


@pytest.mark.parametrize("name", ["mil", "torch", "coreml_fp16"])
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


def shapes(data: dict[str, Any], name: str = "coreml") -> Any:
    return data["runners"][name]["shapes"]


def told(data: dict[str, Any], node: Any) -> None:
    """Puts `node` where the target has its 4096, and where the runner has it."""
    for shape in (shapes(data)["prompt_4096"], data["target"]["shapes"]["prompt_4096"]):
        shape["decode"]["p50"] = node


def renamed(data: dict[str, Any]) -> None:
    data["runners"]["mil"] = data["runners"].pop("coreml") | {
        name: getattr(speed.RUNNERS["mil"], name) for name in ("of", "level", "says")
    }


def of_slow_ones(data: dict[str, Any]) -> None:
    slow = [(10**6, 100 * 10**9)] * 400
    data["runners"] = {"coreml": speeds.runner("coreml", MAC, {2048: slow, 4096: slow}, new=2)}


def all_shapes(data: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    for shape in shapes(data).values():
        change(shape)


def one_repetition(shape: dict[str, Any]) -> None:
    shape["ns"] = {name: times[:1] for name, times in shape["ns"].items()}


#: each is a report of a device that is fast enough, but for what does not belong to it
CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another machine": lambda data: data["machine"].update(processor="AMD EPYC", memory="8"),
    "another machine, said everywhere": lambda data: (
        data["machine"].update(processor="AMD EPYC"),
        data["runners"]["coreml"]["conditions"].update(processor="AMD EPYC"),
    ),
    "another machine than the report's": lambda data: (
        data["machine"].update(processor="Apple M1 Ultra"),
        data["runners"]["coreml"]["conditions"].update(processor="Apple M1 Ultra"),
        data["target"].update(chip="Apple M1 Ultra"),
    ),
    "less memory": lambda data: (
        data["machine"].update(memory="8"),
        data["runners"]["coreml"]["conditions"].update(memory="8"),
    ),
    "the interpreter's": renamed,
    "called by another name": lambda data: data["runners"].update(mil=data["runners"].pop("coreml")),
    "of a checkpoint": lambda data: data["runners"]["coreml"].update({"of": "checkpoint", "level": ""}),
    "of another level": lambda data: data["runners"]["coreml"].update(level="L2"),
    "a target of other times": of_slow_ones,
    "no nanoseconds": lambda data: all_shapes(data, lambda one: one.update(ns={"first": [], "rest": []})),
    "nanoseconds of one": lambda data: all_shapes(data, one_repetition),
    "fewer nanoseconds of one kind": lambda data: all_shapes(data, lambda one: one["ns"]["first"].pop()),
    "another target": lambda data: data["target"].update(profile="toaster", chip="toaster"),
    "a target of nobody": lambda data: data["target"].update(profile="none"),
    "a length less in the target": lambda data: data["target"]["shapes"].pop("prompt_2048"),
    "one more in the target": lambda data: data["target"]["shapes"].update(
        prompt_1=data["target"]["shapes"]["prompt_2048"]
    ),
    "another memory in the target": lambda data: data["target"]["peak_memory"].update(value=4),
    "a rate of its own": lambda data: told(data, facts.measured(1e9, "token/s", n=400, low=1e9, high=1e9)),
    "an estimate": lambda data: told(data, facts.estimated(1e6, "token/s", by="roofline")),
    "a median above the tail": lambda data: all_shapes(data, lambda one: one["answer"]["p50"].update(value=9, high=9)),
    "more repetitions than asked for": lambda data: data["repetitions"].update(value=30),
    "fewer repetitions of one length": lambda data: shapes(data)["prompt_2048"]["repetitions"].update(value=20),
    "a length under another name": lambda data: shapes(data).update(prompt_1=shapes(data).pop("prompt_2048")),
    "no length": lambda data: shapes(data).clear(),
    "another warm-up": lambda data: data["warm_up"].update(value=0),
    "conditions without a machine": lambda data: data["runners"]["coreml"].update(conditions={"new_tokens": "2"}),
    "loaded by nobody": lambda data: data["runners"]["coreml"].update(load=facts.unavailable("away", "s")),
    "energy": lambda data: data.update(energy=facts.measured(0.1, "J")),
    "a cost without a price": lambda data: all_shapes(
        data, lambda one: one.update(cost=facts.estimated(1.0, speed.PER_MILLION, by="hope"))
    ),
    "a price that nobody said": lambda data: data.update(
        price={"hour": facts.measured(1.0, "USD/h"), "assumption": "it is written on the door"}
    ),
    "a price without costs": lambda data: data.update(
        price={"hour": facts.estimated(1.0, "USD/h", by="the spec"), "assumption": "it is written on the door"}
    ),
}


#: of these, what only the rest of the report shows
BY_HARDWARE = ("another machine than the report's",)


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_its_own_times_do_not_give_is_no_evidence(name: str) -> None:
    report = benchmark("coreml", MAC, [FAST] * 400)
    CONTRADICTIONS[name](report["data"])
    # in words: no name of a key that is not there
    assert not evidence.read(report).problem.endswith("'")
    found = outcomes(report, [*PACKS, "speed/measured"])
    assert set(found.values()) == {"error"}


OTHERS: list[dict[str, Any]] = [
    {"prompts": [2048]},
    {"prompts": [2048, 4096, 8192]},
    {"runners": ["coreml", "mil"]},
    {"runners": ["mil"]},
    {"runners": []},
    {"new_tokens": 3},
    {"warm_up": 1},
    {"repetitions": 401},
    {"threads": 2},
    {"price": {"usd_per_hour": 1.0, "assumption": "it is written on the door"}},
    {"target": None},
    {"target": {**MEANT.model_dump(), "memory_bytes": 1}},
    {"id": "other"},
]


@pytest.mark.parametrize("changed", OTHERS)
def test_what_was_not_asked_for_is_not_shown(changed: dict[str, Any]) -> None:
    found = outcomes(benchmark("coreml", MAC, [FAST] * 400), ["speed/measured"], {**ASKED, **changed})
    assert found.pop("speed/measured/speed-as-asked") == "fail"
    assert set(found.values()) == {"pass"}


@pytest.mark.parametrize("settings", [{"id": "speed"}, {**ASKED, "runners": None}])
def test_parameters_that_are_none_prove_nothing(settings: dict[str, Any]) -> None:
    found = outcomes(benchmark("coreml", MAC, [FAST] * 400), ["speed/measured"], settings)
    assert found["speed/measured/speed-as-asked"] == "error"


def compared(now: list[tuple[int, int]], before: list[tuple[int, int]]) -> dict[str, Any]:
    sides = [benchmark("coreml", MAC, times)["data"] for times in (now, before)]
    around = {"backend": "python", "forged": False, "versions": {}}
    made = facts.envelope(
        kind="benchmark.regression",
        step="regression-speed",
        subject={},
        fingerprints={},
        environment=around,
        data=regression.regression(*sides),
    )
    return read_again(made)


SLOW = (10**9, 10**9)
QUOTIENT = facts.measured(0.99, "1", n=400, low=0.98, high=1.0)
FORGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "quotients of its own": lambda data: all_shapes(
        data, lambda one: one.update(first_token=QUOTIENT, decode=QUOTIENT)
    ),
    "what was not asked": lambda data: data.update(
        runners={"x": {"shapes": {"prompt_1": shapes(data)["prompt_2048"]}}}
    ),
    "a length less": lambda data: shapes(data).pop("prompt_4096"),
    "nothing compared": lambda data: data.update(compared=facts.rate(0, 2)),
    "other conditions": lambda data: data["before"]["coreml"]["conditions"].update(processor="another"),
    "times of one kind": lambda data: data["now"]["coreml"]["shapes"]["prompt_2048"]["first"].pop(),
    "times before they began": lambda data: data["now"]["coreml"]["shapes"]["prompt_2048"]["first"].append(-1),
    "faster times": lambda data: data["now"]["coreml"]["shapes"].update(
        {name: {"first": [10**6] * 400, "rest": [10**6] * 400} for name in ("prompt_2048", "prompt_4096")}
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_quotients_are_those_of_both_sides(name: str) -> None:
    packs = ["speed/regression"]
    assert set(outcomes(compared([SLOW] * 30, [SLOW] * 30), packs).values()) == {"pass"}
    assert set(outcomes(compared([SLOW] * 30, [FAST] * 30), packs).values()) == {"fail"}
    report = compared([SLOW] * 30, [FAST] * 30)
    FORGED[name](report["data"])
    assert set(outcomes(report, packs).values()) == {"error"}


def test_a_comparison_of_other_times_than_the_benchmark_has_is_no_evidence() -> None:
    """Each is consistent in itself; the slow one is compared as if it were fast."""
    loaded = policy.load(["speed/regression"], [assets.folder("policies")])
    spec = {"risk_tier": 1, "evaluation": {"benchmarks": [{"id": "speed", "baseline": "old.json"}]}}
    producers = {"benchmark.regression": ["regression-speed"]}
    asked, problems = policy.obligations(loaded, spec, producers)
    assert not problems
    good = {"regression-speed": compared([FAST] * 30, [FAST] * 30)}
    for times, word in ((FAST, "pass"), (SLOW, "error")):
        given = {**good, "benchmark-speed": benchmark("coreml", MAC, [times] * 30)}
        assert {one.outcome for one in judge(given, asked).outcomes} == {word}
