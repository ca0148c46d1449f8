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
