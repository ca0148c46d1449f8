"""A quoted report × the committed plan: what an apply of today would not give is no evidence, and other code is told."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kcompiler import lock
from runtime import digest
from runtime.contract import report as facts

AROUND = {"backend": "python", "forged": False}
DOCUMENT = "It gets 19 of 20 <!-- evidence: generated/lab/quoted/measure.json#data.right -->.\n"
RECORD = "<!-- evidence: generated/lab/quoted/apply.txt -->\n```text\nverdict PASS\n```\n"


def step(name: str, code: str = "a", takes: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
    return {
        "id": name, "kind": f"{name}@1", "backend": "python", "code": f"sha256:{code * 64}",
        "derivation": f"sha256:{code * 64}", "params": params, "seed": "1", "after": [], "gives": {}, "takes": takes or {},
    }  # fmt: skip


def plan(*, code: str = "a", rows: int = 20, width: int = 8, rule: str = "right", unkeyed: int = 1) -> dict[str, Any]:
    """Three steps: one measures what one made, and one stands beside them."""
    obligation = {"rule": rule, "from": "step:measure", "report": "lab.right"}
    made = step("make", width=width, every=unkeyed) | {"unkeyed": ["every"]}
    return {
        "lock": {"format": "1.0"}, "asked": {"name": "lab", "spec": "specs/lab.yaml"}, "budgets": {}, "toolchain": {},
        "steps": [made, step("measure", code, {"made": "step:make#model"}, rows=rows), step("beside", rows=rows)],
        "sources": [], "schemas": [], "policies": [], "inputs": [], "plugins": [], "obligations": [obligation],
    }  # fmt: skip


@dataclass
class Lab:
    """A project with a committed plan, and the evidence of a run that is quoted."""

    root: Path
    run_plan: dict[str, Any] = field(default_factory=plan)
    data: dict[str, Any] = field(default_factory=lambda: {"right": facts.rate(19, 20)})
    kind: str = "lab.right"

    @property
    def quoted(self) -> Path:
        return self.root / "generated/lab/quoted"

    def write(self, committed: dict[str, Any] | None) -> None:
        self.quoted.mkdir(parents=True, exist_ok=True)
        self._evidence(self.quoted, self.quoted)
        (self.quoted / "apply.txt").write_text("verdict PASS\n")
        (self.quoted / "plan.lock").write_text(lock.dump(self.run_plan))
        if committed is not None:
            (self.root / "generated/lab/plan.lock").write_text(lock.dump(committed))

    def applied(self, committed: dict[str, Any], k: int) -> None:
        """What an apply of the committed plan leaves."""
        self.run_plan, self.data = committed, {"right": facts.rate(k, 20)}
        folder = self.root / "generated/lab/evidence"
        (folder / "reports").mkdir(parents=True)
        self._evidence(folder, folder / "reports")

    def _evidence(self, folder: Path, reports: Path) -> None:
        def report(kind: str, name: str, subject: dict[str, str], data: dict[str, Any]) -> str:
            return facts.dump(
                facts.envelope(kind=kind, step=name, subject=subject, fingerprints={}, environment=AROUND, data=data)
            )

        text = report(self.kind, "measure", {}, self.data)
        (reports / "measure.json").write_text(text)
        subject = {
            "plan": lock.plan_digest(self.run_plan), "measure.report": digest.of_one_file("report.json", text.encode()),
        }  # fmt: skip
        (folder / "run.json").write_text(report("lab.run", "apply", subject, {}))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / ".git").mkdir()
    return Lab(tmp_path)


def codes(ended: Any, text: str = DOCUMENT) -> tuple[int, list[str]]:
    code = ended(text, "d.md", "--format", "json")
    lines = [json.loads(line) for line in ended.output.splitlines() if line.startswith("{")]
    return code, [one["code"] for one in lines if "code" in one]


@pytest.mark.parametrize(
    ("committed", "of_report", "of_record"),
    [
        ({}, [], []),
        # a comment in the code of the step, or another time between two checkpoints
        ({"code": "b"}, ["KC5614"], ["KC5614"]),
        ({"unkeyed": 2}, [], []),
        # other rows of the step itself; another model before it
        ({"rows": 21}, ["KC5613"], ["KC5613"]),
        ({"width": 16}, ["KC5613"], ["KC5613"]),
        ({"code": "b", "width": 16}, ["KC5613"], ["KC5613"]),
        # rules are what a record of the run is about, and no report
        ({"rule": "more"}, [], ["KC5613"]),
    ],
)
def test_what_the_committed_plan_asks_decides(lab, ended, committed, of_report, of_record):
    lab.write(plan(**committed))
    wrong = ["KC5613"]
    assert codes(ended) == (int(of_report == wrong), of_report)
    assert codes(ended, RECORD) == (int(of_record == wrong), of_record)


def test_a_step_that_is_taken_out_or_stands_beside_it(lab, ended):
    without = plan()
    del without["steps"][2]
    lab.write(without)
    assert codes(ended) == (0, [])
    assert codes(ended, RECORD) == (1, ["KC5613"])
    del without["steps"][1]
    lab.write(without)
    assert codes(ended) == (1, ["KC5613"])


def test_a_report_is_of_the_run_that_lies_beside_it(lab, ended):
    lab.write(plan())
    report = lab.quoted / "measure.json"
    sound = report.read_text()
    report.write_text(sound.replace("19", "18").replace("0.95", "0.9"))
    assert codes(ended, DOCUMENT.replace("19", "18")) == (1, ["KC5613"])
    assert "names no such report" in ended.output
    report.write_text(sound)
    assert codes(ended) == (0, [])
    (lab.quoted / "run.json").unlink()
    assert codes(ended) == (1, ["KC5613"])
    assert "no `run.json` lies beside it" in ended.output
    (lab.quoted / "run.json").write_text("{}")
    assert codes(ended) == (1, ["KC5613"])


def test_the_plan_of_the_run_is_the_one_that_it_names(lab, ended):
    lab.write(plan(code="b"))
    (lab.quoted / "plan.lock").write_text(lock.dump(plan(code="c")))
    assert codes(ended) == (1, ["KC5613"])
    (lab.quoted / "plan.lock").unlink()
    assert codes(ended) == (1, ["KC5613"])
    lab.write(plan(code="b"))
    assert codes(ended) == (0, ["KC5614"])


def test_a_report_that_no_gate_would_read_is_none(lab, ended):
    """Its kind has a schema by now that it does not satisfy."""
    lab.kind = "eval.gold"
    lab.write(plan())
    assert codes(ended) == (1, ["KC5613"])
    assert "no gate would read it" in ended.output


def test_where_no_plan_is_committed_nobody_knows(lab, ended):
    lab.write(None)
    assert codes(ended) == (0, ["KC5614"])


def test_a_status_of_an_earlier_run_is_tested_at_most(lab, ended):
    lab.write(plan())
    text = "It was measured at 19 of 20 <!-- evidence: generated/lab/quoted/measure.json#data.right; #data.right -->.\n"
    text = "It was measured at that <!-- evidence: generated/lab/quoted/measure.json#data.right -->.\n"
    assert codes(ended, text) == (0, [])
    lab.write(plan(code="b"))
    assert codes(ended, text) == (1, ["KC5606", "KC5614"])
    assert codes(ended, text.replace("was measured at", "was tested with")) == (0, ["KC5614"])


def test_what_is_counted_says_what_is_earlier(lab, ended):
    lab.write(plan(code="b"))
    assert ended(DOCUMENT * 2) == 0
    assert ended.output.count("KC5614") == 1
    assert "1 anchored, 0 told, 0 without, 0 wrong, 1 earlier" in ended.output


def test_the_advice_renews_it(lab, ended):
    lab.write(plan(rows=21))
    assert ended(DOCUMENT) == 1
    assert "kcompiler apply specs/lab.yaml, then kcompiler claims --renew d.md" in ended.output
    assert ended(DOCUMENT, "d.md", "--renew") == 1
    assert "no evidence of an apply lies beside it" in ended.output
    lab.applied(plan(rows=21), 18)
    # the reports are of today now, and say something else
    assert ended(DOCUMENT, "d.md", "--renew") == 1
    assert "KC5603" in ended.output
    assert "KC5613" not in ended.output
    assert ended(DOCUMENT.replace("19", "18")) == 0
    # what is left to a person is said
    assert ended(DOCUMENT.replace("19", "18") + RECORD, "d.md", "--renew") == 0
    assert "generated/lab/quoted/apply.txt is a record" in ended.output


def test_evidence_of_another_plan_renews_nothing(lab, ended):
    lab.write(plan(rows=21))
    lab.applied(copy.deepcopy(plan(rows=22)), 18)
    assert ended(DOCUMENT, "d.md", "--renew") == 1
    assert "is of another plan than the lock" in ended.output
    assert facts.rate(19, 20)["k"] == json.loads((lab.quoted / "measure.json").read_text())["data"]["right"]["k"]


def test_evidence_where_apply_leaves_it_is_of_the_committed_plan(lab, ended):
    text = DOCUMENT.replace("quoted/measure", "evidence/reports/measure")
    lab.write(plan())
    lab.applied(plan(), 19)
    assert codes(ended, text) == (0, [])
    lab.write(plan(rows=21))
    assert codes(ended, text) == (1, ["KC5613"])
    assert "of another plan than the committed one" in ended.output
