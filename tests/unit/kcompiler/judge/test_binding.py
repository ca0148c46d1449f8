"""Reports that were judged together must be about one run: a swapped-in report is no evidence, nor is what it contradicts."""

import copy
import json
from pathlib import Path

import pytest

from kcompiler.policy import binding, evidence

FOLDER = Path(__file__).parents[1] / "policy" / "reports"


def reports() -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in sorted(FOLDER.rglob("*.json"))]
    return {report["step"]: report for report in found if isinstance(report, dict) and "step" in report}


def conflicts(given: dict[str, dict]) -> dict[str, str]:
    return binding.conflicts({step: evidence.read(json.dumps(report).encode()) for step, report in given.items()})


def test_the_reports_of_one_run_agree():
    given = reports()
    assert {"verify", "probe", "export"} <= set(given)
    assert conflicts(given) == {}


@pytest.mark.parametrize("name", ["dataset", "tokenizer", "model", "tool_registry", "prompt_wrapper"])
def test_a_report_about_something_else_is_noticed_with_all_it_contradicts(name):
    given = reports()
    verify = given["verify"]
    verify["fingerprints"][name] = "00" * 31 + "01"
    # forged with care: its own subject says the same
    for port in ("dataset", "tokenizer", "checkpoint"):
        if name == {"checkpoint": "model"}.get(port, port):
            verify["subject"][f"takes.{port}"] = "sha256:" + "00" * 31 + "01"
    wrong = conflicts(given)
    assert {"verify", "probe"} <= set(wrong)
    assert name in wrong["verify"]


def test_a_fingerprint_that_is_not_the_digest_of_what_was_taken_is_noticed_alone():
    given = {"verify": reports()["verify"]}
    given["verify"]["fingerprints"]["model"] = "0" * 64
    assert "checkpoint" in conflicts(given)["verify"]


def test_a_report_about_another_package_than_the_run_used_is_noticed():
    given = reports()
    run = next(report for report in given.values() if report["kind"] == "run")
    changed = copy.deepcopy(run)
    changed["subject"]["convert.package"] = "sha256:" + "1" * 64
    given[run["step"]] = changed
    assert "another package" in conflicts(given)["convert"]


def sweep(*, seeds: tuple[str, ...] = ("1", "2")) -> dict[str, dict]:
    """The reports of a run in as many cells: one shared dataset, and per seed a student of its own."""
    given = {}
    for step, report in reports().items():
        if report["kind"] in ("run", "data.splits"):
            continue
        for seed in seeds:
            own = copy.deepcopy(report)
            own["step"] = f"{step}@seed={seed}"
            if not report["kind"].startswith(("training", "teacher.import")) and "model" in own["fingerprints"]:
                own["fingerprints"]["model"] = seed * 64
                for side in ("takes", "gives"):
                    if f"{side}.checkpoint" in own["subject"]:
                        own["subject"][f"{side}.checkpoint"] = f"sha256:{seed * 64}"
            given[own["step"]] = own
    return given


def test_cells_of_a_sweep_may_speak_of_different_students():
    assert conflicts(sweep()) == {}


def test_a_report_of_another_cell_is_noticed():
    given = sweep()
    given["verify@seed=1"] = {**given["verify@seed=2"], "step": "verify@seed=1"}
    wrong = conflicts(given)
    assert {"verify@seed=1", "probe@seed=1"} <= set(wrong)
    assert not [step for step in wrong if step.endswith("seed=2")]


def test_a_step_that_cells_share_must_agree_with_each_of_them():
    given = sweep()
    shared = given.pop("tokenizer@seed=1")
    given.pop("tokenizer@seed=2")
    given["tokenizer"] = {**shared, "step": "tokenizer"}
    assert conflicts(given) == {}
    given["tokenizer"]["fingerprints"] = {**shared["fingerprints"], "tokenizer": "0" * 64}
    given["tokenizer"]["subject"] = {}
    wrong = conflicts(given)
    assert {"tokenizer", "verify@seed=1", "verify@seed=2"} <= set(wrong)


def test_steps_of_different_dimensions_meet_in_a_cell():
    """`a@seed=1` and `b@recipe=x` are of one cell, so they must agree; `a@seed=2` is of another than `a@seed=1`."""
    one = reports()["verify"]
    given = {"a@seed=1": one, "a@seed=2": one, "b@recipe=x": copy.deepcopy(one)}
    given["b@recipe=x"]["fingerprints"]["dataset"] = "0" * 64
    given["b@recipe=x"]["subject"] = {}
    assert set(conflicts(given)) == set(given)


@pytest.mark.parametrize(("dimensions", "agree"), [(12, True), (13, False)])
def test_4096_cells_are_told_apart_and_more_are_not(dimensions, agree):
    """Two reports about different students, in cells that differ in every dimension."""
    one = reports()["verify"]
    other = copy.deepcopy(one)
    other["fingerprints"]["model"], other["subject"] = "0" * 64, {}
    names = [",".join(f"d{n}={value}" for n in range(dimensions)) for value in "12"]
    found = conflicts({f"verify@{name}": report for name, report in zip(names, (one, other), strict=True)})
    assert (found == {}) == agree


def test_a_sweep_larger_than_any_plan_must_agree_as_a_whole():
    one = reports()["verify"]
    names = ["".join(pair) for pair in zip("abcdefghijklm", "nopqrstuvwxyz", strict=True)]
    given = {f"s@{name}={value}": copy.deepcopy(one) for name in names for value in "12"}
    assert conflicts(given) == {}
    given["s@an=1"]["fingerprints"]["dataset"] = "0" * 64
    given["s@an=1"]["subject"] = {}
    assert "s@bo=1" in conflicts(given)
