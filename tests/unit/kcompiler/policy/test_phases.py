"""A rule of phase compile or plan decides before any step runs, says so at its line, and decides the same again in the
verdict, in an audit and in a stranger's hands."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler import lock
from kcompiler.audit import audit, packing
from kcompiler.audit.bundle import audit_bundle
from kcompiler.cli import _main
from kcompiler.deliver import given_of
from kcompiler.front import compile_spec
from kcompiler.judge import gate_files, judge
from kcompiler.plan import make
from kcompiler.plan.decided import decided
from kcompiler.project import Project
from kcompiler.verifier import facts, main
from kcompiler.verifier.main import Trust
from runtime.contract import BrokenEvidence
from tests.unit.kcompiler.carried import carried

CASE = Path(__file__).resolve().parents[3] / "golden" / "plan" / "a-good-spec-is-planned-without-a-word"
PACK = "name: lab\nversion: 1\ntitle: Rules of the laboratory\n"
FEW = """\
id: few
title: The plan takes few files
on: compile
phase: compile
kind: bound
params: {metric: steps.all, op: "<=", threshold: "MOST", unit: step}
remedy: take fewer
"""
GATED = """\
id: gated
title: The student is gated
on: plan
phase: plan
kind: bound
params: {metric: obligations.block, op: ">=", threshold: "LEAST", unit: rule}
remedy: name packs
"""
RIGHT = {"few": FEW.replace("MOST", "40"), "gated": GATED.replace("LEAST", "10")}
KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + b"\1" * 32).decode()
NOW = "2026-06-15T12:00:00Z"


def project(folder: Path, rules: dict[str, str]) -> Path:
    """A spec that names caws/core and the pack `lab` with these rules."""
    below = folder / "policies" / "lab"
    for name, text in rules.items():
        (below / name).mkdir(parents=True)
        (below / name / "rule.yaml").write_text(text)
    (below / "pack.yaml").write_text(PACK)
    (folder / "specs").mkdir()
    text = (CASE / "spec.yaml").read_text()
    assert text.count("policies: [caws/core]") == 1
    spec = folder / "specs" / "spec.yaml"
    spec.write_text(text.replace("policies: [caws/core]", "policies: [caws/core, lab]"))
    return spec


@pytest.mark.parametrize(
    ("rules", "verbs", "line"),
    [
        ({"few": FEW.replace("MOST", "2")}, ("validate", "plan"), "few/rule.yaml:6"),
        ({"gated": GATED.replace("LEAST", "9000")}, ("plan",), "gated/rule.yaml:6"),
        # what cannot be decided is no pass either: in another unit, estimated, or of a datum that is not there
        ({"few": FEW.replace("steps.all", "budgets.teacher_tokens").replace("unit: step", "unit: token")
          .replace("MOST", "9")}, ("validate", "plan"), "few/rule.yaml:6"),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_refused_at_the_line_of_its_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rules: dict[str, str], verbs: tuple[str, ...], line: str
) -> None:
    spec = project(tmp_path, rules)
    for verb in ("validate", "plan", "apply"):
        if verb not in verbs and verb == "validate":
            assert _main([verb, str(spec)]) == 0
            continue
        assert _main([verb, str(spec)]) == 1
        told = capsys.readouterr().err
        assert re.findall(r"error\[(KC\d+)\]", told) == ["KC6056"], told
        assert f"--> policies/lab/{line}:" in told
        assert "the pack is named here" in told
    assert not (tmp_path / "generated").exists()
    assert not (tmp_path / ".kcompiler").exists()


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [("mode: warn\n", 0, "warning"), ("effective_on: 2999-01-01\n", 0, "warning"), ("effective_on: 2020-01-01\n", 1, "error")],
)  # fmt: skip
def test_a_rule_that_only_warns_or_whose_day_has_not_come_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str, code: int, word: str
) -> None:
    spec = project(tmp_path, {"few": said + FEW.replace("MOST", "2")})
    assert _main(["plan", str(spec)]) == code
    assert f"{word}[KC6056]" in capsys.readouterr().err
    # validate has no clock: a rule with a day is told and refuses nothing
    assert _main(["validate", str(spec)]) == 0
    assert "warning[KC6056]" in capsys.readouterr().err


def test_apply_judges_the_plan_with_its_reports(tmp_path: Path) -> None:
    """Nothing is measured by the null backend: the plan's own facts pass, and make no verdict of what was made."""
    spec = project(tmp_path, RIGHT)
    assert _main(["apply", str(spec), "--backend", "null"]) == 1
    verdict = json.loads(Project(tmp_path).verdict("answers").read_text())
    early = {one["rule"]: one for one in verdict["outcomes"] if one.get("phase") in ("compile", "plan")}
    made, _ = make(compile_spec(spec, tmp_path), Project(tmp_path), "null")
    assert made is not None
    assert {one.rule: (one.outcome, one.observed, one.pointer) for one in decided(made)} == {
        name: (one["outcome"], one["observed"], one["pointer"]) for name, one in early.items()
    }
    assert {name: one["outcome"] for name, one in early.items()} == {"lab/few": "pass", "lab/gated": "pass"}
    assert verdict["verdict"] == "FAIL"
    assert set(verdict["reports"]) >= {"compile", "plan"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a plan carried out by the null backend, its lock and its verdict beside it."""
    root = tmp_path_factory.mktemp("early")
    home = Project(root)
    made, _ = make(compile_spec(project(root, RIGHT), root), home, "null")
    assert made is not None
    home.lock("answers").parent.mkdir(parents=True)
    home.lock("answers").write_text(lock.dump(made), encoding="utf-8")
    carried(made, root)
    assert _main(["show", "rules", str(home.lock("answers")), "few"]) == 0
    return root


def test_a_plan_compiled_and_locked_says_the_same_of_itself(tmp_path: Path) -> None:
    """What `validate` decides on is what the lock gives: the compiled facts are no second text."""
    spec = project(tmp_path, RIGHT)
    seen: list[Any] = []
    real = facts.reports
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "reports", lambda known: seen.append(real(known)) or seen[-1])
        made, _ = make(compile_spec(spec, tmp_path), Project(tmp_path))
    assert made is not None
    whole = {"compile": facts.compiled(made), "plan": facts.planned(made)}
    assert seen == [{"compile": whole["compile"]}, whole]


def test_an_audit_and_a_stranger_decide_the_same(done: Path) -> None:
    assert [one for one in audit(done, "answers").findings if one.severity != "note"] == []
    data = packing.bundle(done, "answers")
    found, alone = audit_bundle(data, Trust(as_of=NOW))[0], main.check(data, Trust(as_of=NOW))
    assert [one for one in found.findings if one.severity not in ("note", "unsigned")] == []
    assert (found.exit_code, alone.code, alone.findings) == (7, 7, ())


def promoted(verdict: dict[str, Any]) -> None:
    (one,) = (one for one in verdict["outcomes"] if one["rule"] == "lab/gated")
    one["observed"] = "9001"


def dropped(verdict: dict[str, Any]) -> None:
    verdict["outcomes"] = [one for one in verdict["outcomes"] if one["rule"] != "lab/few"]


@pytest.mark.parametrize("change", [promoted, dropped])
def test_a_verdict_that_says_something_else_of_the_plan_is_found(
    done: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    root = tmp_path / "spoilt"
    shutil.copytree(done, root)
    path = Project(root).verdict("answers")
    verdict = json.loads(path.read_text())
    change(verdict)
    path.write_text(json.dumps(verdict, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    assert "KA32" in {one.code for one in audit(root, "answers").findings}


def test_nobody_excuses_what_can_still_be_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = project(tmp_path, {"few": "waivable: true\n" + RIGHT["few"]})
    (tmp_path / "policies/lab/pack.yaml").write_text(
        PACK + f"approvers: [{{name: ann, key: {KEY}}}]\napproval: {{waiver: {{min: 1}}}}\n"
    )
    assert _main(["plan", str(spec)]) == 1
    told = capsys.readouterr().err
    assert re.findall(r"error\[(KC\d+)\]", told) == ["KC6055"], told
    assert "--> policies/lab/few/rule.yaml:1:" in told


def test_a_file_stands_in_for_no_report_of_the_plan(done: Path) -> None:
    """Whoever writes evidence/reports/plan.json is asked nothing: the plan is."""
    made = lock.read(Project(done).lock("answers"))
    forged = {**facts.planned(made), "data": {}}
    asked = [one for one in made["obligations"] if one["rule"] == "lab/gated"]
    file = done / "plan.json"
    file.write_text(json.dumps(forged))
    (one,) = gate_files([file], asked, own=facts.reports(made)).outcomes
    assert (one.outcome, one.threshold) == ("pass", ">= 10")
    assert judge({}, asked).outcomes[0].outcome == "not_evaluated"


def test_a_delivery_needs_no_file_of_what_the_plan_says_of_itself(done: Path) -> None:
    home = Project(done)
    made, verdict = lock.read(home.lock("answers")), json.loads(home.verdict("answers").read_text())
    assert set(facts.KINDS) < set(verdict["reports"])
    given = given_of(home.evidence("answers"), verdict, made)
    assert set(given) == set(verdict["reports"]) - set(facts.KINDS)
    other = {**made, "budgets": {**made["budgets"], "wall_s": 1}}
    with pytest.raises(BrokenEvidence, match="not the report that the verdict was given on"):
        given_of(home.evidence("answers"), verdict, other)
