"""A project whose plan was carried out by the null backend: every kind of evidence there is, in a tenth of a second."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kcompiler import front, lock, plan
from kcompiler.audit import Audit, audit, packing
from kcompiler.judge import judge
from kcompiler.policy import cases, evidence
from kcompiler.project import Project
from runtime.machine.durable import protect
from tests.unit.kcompiler.audit.forger import JOURNAL, Files, forge, reseal
from tests.unit.kcompiler.carried import carried

ROOT = Path(__file__).resolve().parents[4]
NAME = "eight-ball"


@dataclass(frozen=True)
class Bundle:
    """The project and the files an auditor looks at."""

    root: Path

    @property
    def evidence(self) -> Path:
        return Project(self.root).evidence(NAME)

    @property
    def lock(self) -> Path:
        return Project(self.root).lock(NAME)

    @property
    def state(self) -> Path:
        return self.root / ".kcompiler"

    def audit(self) -> Audit:
        return audit(self.root, NAME)

    def codes(self) -> list[str]:
        """Codes of all findings that are more than notes."""
        return sorted({finding.code for finding in self.audit().findings if finding.severity != "note"})

    def records(self) -> dict[str, dict[str, Any]]:
        """Step → committed record, as the evidence has them."""
        lines = (self.evidence / "journal.jsonl").read_text().splitlines()
        return {record["step"]: record for record in (json.loads(line)["data"] for line in lines)}

    def edit(self, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
        """Rewrite a JSON file in the layout all our files have."""
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")

    def judge_again(self) -> None:
        """Write the verdict that the judge gives over what lies there now: a forger who knows the tools."""
        made = json.loads(self.lock.read_text())
        reports = {path.stem: path.read_bytes() for path in (self.evidence / "reports").glob("*.json")}
        reports["apply"] = (self.evidence / "run.json").read_bytes()
        verdict = judge(reports, made["obligations"], lock=lock.plan_digest(made))
        (self.evidence / "verdict.json").write_text(verdict.dump(), encoding="utf-8")


@pytest.fixture(scope="session")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return carry_out(tmp_path_factory.mktemp("audited"))


def carry_out(root: Path, only: Sequence[str] | None = None, policies: str = "") -> Path:
    """The plan, or some of its steps, in an empty folder, or in one with the packs that `policies` name."""
    (root / "specs").mkdir()
    text = (ROOT / "specs" / "eight-ball.yaml").read_text(encoding="utf-8")
    if policies:
        text = re.sub(r"(?m)^policies:.*\n(?:  .*\n|\n)*", f"policies: {policies}\n", text)
    (root / "specs" / "eight-ball.yaml").write_text(text, encoding="utf-8")
    home, spec = Project(root), root / "specs" / "eight-ball.yaml"
    compiled = front.compile_spec(spec, root)
    made, problems = plan.make(compiled, home, "null")
    assert made is not None, (compiled.diagnostics, problems)
    home.lock(NAME).parent.mkdir(parents=True)
    home.lock(NAME).write_text(lock.dump(made), encoding="utf-8")
    # every step is carried out, whatever the rules say
    carried(made, root, only=only)
    return root


@pytest.fixture
def bundle(carried_out: Path, tmp_path: Path) -> Bundle:
    """A copy of that project to spoil; its store may be written to."""
    root = tmp_path / "project"
    shutil.copytree(carried_out, root)
    protect(root / ".kcompiler" / "store", writable=True)
    return Bundle(root)


@pytest.fixture(scope="session")
def measured(carried_out: Path) -> Files:
    """The files of a bundle of such a project, as if its reports had been measured: data of the passing case of a rule
    about each kind, so that most rules are decided. No digest of it is wrong."""
    return made_real(packing.files(carried_out, NAME))


@cache
def passing() -> dict[str, Any]:
    """Kind of report → the data of a passing case about it."""
    data: dict[str, Any] = {}
    for file in sorted((ROOT / "policies").rglob("pass.json")):
        report = cases.read(file).report
        if report is not None and report["kind"] not in data and evidence.read(report).report is not None:
            data.setdefault(report["kind"], report["data"])
    return data


def made_real(packed: Files) -> Files:
    """The same of any such bundle."""
    lines = [json.loads(line) for line in packed[JOURNAL].splitlines()]
    committed = [line for line in lines if line["type"] == "step_committed"]
    data = passing()
    reports = f"generated/{NAME}/evidence/reports/"
    unlike = {
        path for path, text in packed.items() if path.startswith(reports) and json.loads(text)["kind"] not in data
    }
    # what is judged again from its answers, and what no case tells the data of, stays as null made it
    apart = {one["data"]["step"] for one in committed if "items" in one["data"]["gives"]}
    apart |= {path.removeprefix(reports).removesuffix(".json") for path in unlike}
    for one in committed:
        one["data"]["forged"] = one["data"]["step"] in apart
    kept, places = f"generated/{NAME}/evidence/journal.jsonl", [lines.index(one) for one in committed]
    packed[JOURNAL] = reseal(b"\n".join(json.dumps(line).encode() for line in lines))
    packed[kept] = b"".join(packed[JOURNAL].splitlines(keepends=True)[place] for place in places)

    def genuine(reports: dict[str, Any]) -> None:
        for step, report in reports.items():
            if step not in apart:
                report["environment"] |= {"forged": False, "backend": "torch"}
                report["data"] = data[report["kind"]]

    return forge(packed, NAME, genuine)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The bundle of a run that costs something and has neither waiver nor approval."""
    from tests.unit.kcompiler.audit import excusing

    return excusing.ran(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def sound(plain: Files) -> Files:
    """The same with a waiver that two signed and a lock that one approved."""
    from tests.unit.kcompiler.audit import excusing

    return excusing.approved(excusing.told(plain))
