"""Evidence belongs to one plan: the complete evidence of another, or reports that name none, let nothing through."""

import copy
import json
from pathlib import Path

import pytest

from kcompiler.judge import gate_files, judge
from kcompiler.policy import binding
from runtime import digest
from runtime.contract.report import dump
from tests.unit.kcompiler.judge.samples import bound, number, obligation, report

HEX = {name: "sha256:" + name * 64 for name in "ab"}
MEASURED = report({"x": number(1.0)})
ASKED = [obligation(bound("x", ">=", "1"))]


def run(plan: str = HEX["a"], **reports: dict) -> dict:
    """The report on a run of that plan, which gave these reports: `<step>_<port>`."""
    gives = {
        name.replace("_", "."): digest.of_one_file("report.json", dump(one).encode()) for name, one in reports.items()
    }
    return report({}, kind="own", step=binding.RUN, subject={**gives, **({"plan": plan} if plan else {})})


def test_reports_that_the_plans_run_names_pass():
    verdict = judge({"measure": MEASURED, "apply": run(measure_report=MEASURED)}, ASKED, lock=HEX["a"])
    assert (verdict.verdict, verdict.exit_code, verdict.lock) == ("PASS", 0, HEX["a"])


def test_a_report_beside_the_first_of_its_step_passes_by_its_port():
    second = {**MEASURED, "step": "measure.second"}
    asked = [obligation(bound("x", ">=", "1"), from_="step:measure.second")]
    assert judge({"measure.second": second, "apply": run(measure_second=second)}, asked, lock=HEX["a"]).exit_code == 0


OTHER = copy.deepcopy(MEASURED) | {"data": {"x": number(2.0)}}
STRANGE = [
    (
        "the evidence of another plan",
        {"measure": MEASURED, "apply": run(HEX["b"], measure_report=MEASURED)},
        "bbbbbbbb",
    ),
    ("a run that names no plan", {"measure": MEASURED, "apply": run("", measure_report=MEASURED)}, "about no plan"),
    ("no report on the run", {"measure": MEASURED}, "only run.json says"),
    ("a report on the run that cannot be read", {"measure": MEASURED, "apply": b"{}"}, "only run.json says"),
    (
        "a report that the run does not name",
        {"measure": MEASURED, "apply": run()},
        "not the report that the run rests on",
    ),
    ("another report than the run names", {"measure": OTHER, "apply": run(measure_report=MEASURED)}, "rests on"),
    (
        "a report under the name of another step",
        {"measure": MEASURED, "apply": run(measured_report=MEASURED)},
        "rests on",
    ),
]


@pytest.mark.parametrize(("claim", "reports", "words"), STRANGE, ids=[case[0] for case in STRANGE])
def test_what_is_not_bound_to_the_plan_is_no_evidence(claim, reports, words):
    verdict = judge(reports, ASKED, lock=HEX["a"])
    assert (verdict.verdict, verdict.exit_code, verdict.counts["pass"]) == ("NOTHING_EVALUATED", 3, 0), claim
    assert words in verdict.outcomes[0].reason


def test_files_are_bound_like_reports(tmp_path: Path):
    for name, one in (("measure", MEASURED), ("run", run(measure_report=MEASURED))):
        (tmp_path / f"{name}.json").write_text(dump(one), newline="\n")
    files = [tmp_path / "measure.json", tmp_path / "run.json"]
    assert gate_files(files, ASKED, lock=HEX["a"], only_given=False).exit_code == 0
    assert gate_files(files, ASKED, lock=HEX["b"]).exit_code == 3
    assert gate_files(files[:1], ASKED, lock=HEX["a"]).exit_code == 3
    # another layout of the same facts is another file than the one that was made
    files[0].write_text(json.dumps(MEASURED))
    assert gate_files(files, ASKED, lock=HEX["a"]).exit_code == 3


def test_without_a_plan_reports_speak_for_themselves():
    assert judge({"measure": MEASURED}, ASKED).exit_code == 0
