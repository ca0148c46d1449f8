"""`when` that no spec can meet is an error at its line; one that this spec does not meet is told with its reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kcompiler import front, plan, policy
from kcompiler.plan import silent
from kcompiler.project import Project
from tests.unit.kcompiler.policy.test_load import PACK, changed, lab
from tests.unit.kcompiler.policy.test_oblige import KNOWN, SPEC

ROOT = Path(__file__).resolve().parents[4]
FEED = {"eval.gold": ["evaluate-gold"]}


def conditioned(*when: str) -> str:
    return KNOWN.replace("kind: bound", "when: [" + ", ".join(when) + "]\nkind: bound")


def problems(folder: Path, *when: str, pack: str = PACK) -> list[tuple[str, int, str]]:
    found = policy.obligations(lab(folder, pack=pack, rule=conditioned(*when)), SPEC, FEED)[1]
    return [(one.code, one.line, one.summary) for one in found]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (("{spec: risk_tier, has: 3}", "{spec: risk_tier, has: [1, 2]}"), "cannot be 3, and 1 or 2 as well"),
        (("{spec: teacher.source, has: hf}", "{spec: teacher.source, has: gguf}"), "cannot be hf, and gguf as well"),
        (("{spec: student.cut, some: true}", "{spec: student.cut, some: false}"), "nothing at `student.cut`"),
        (("{spec: student.cut, some: false}", "{spec: student.cut, some: true}"), "nothing at `student.cut`"),
        (("{spec: training.stages, some: false}", "{spec: 'training.stages[*].name', has: kd}"), "something at `tr"),
        (("{spec: 'evaluation.suites[*].use', has: gold}", "{spec: evaluation.suites, some: false}"), "nothing at"),
        (("{spec: risk_tier, has: 3}", "{spec: budgets.usd, has: -1}"), "`budgets.usd` can never be `-1`"),
        (("{spec: risk_tier, has: 9}",), "`risk_tier` can never be `9`"),
        (("{spec: 'evaluation.suites[*].use', has: golden}",), "can never be `golden`"),
        (("{spec: 'training.stages[*].losses[*].term', has: kll}",), "can never be `kll`"),
    ],
)
def test_conditions_that_cannot_hold_are_an_error(tmp_path: Path, when: tuple[str, ...], said: str) -> None:
    """A plug-in that is not there, a number out of range, and two that exclude each other."""
    ((code, line, summary),) = problems(tmp_path, *when)
    assert (code, line) == ("KC6015", 4)
    assert said in summary


@pytest.mark.parametrize(
    "when",
    [
        ("{spec: risk_tier, has: [1, 3]}", "{spec: risk_tier, has: [3, 2]}"),
        # a list has several: one of each may stand there
        ("{spec: 'evaluation.suites[*].use', has: gold}", "{spec: 'evaluation.suites[*].use', has: tool_use}"),
        ("{spec: student.cut, some: false}", "{spec: student.checkpoint, some: true}"),
        ("{spec: student.cut, some: false}", "{spec: student.cut, some: false}"),
        ("{spec: training.stages, some: true}", "{spec: 'training.stages[*].validation', some: false}"),
    ],
)
def test_conditions_that_can_hold_are_none(tmp_path: Path, when: tuple[str, ...]) -> None:
    assert problems(tmp_path, *when) == []


def test_a_pack_that_nobody_has_is_an_error_and_the_advice_mends_it(tmp_path: Path) -> None:
    """The compiler can list the packs, so that one that is not there would switch the rule off for everybody."""
    for has, near in (("caws/coree", "`caws/core`"), ("labb", "`lab`"), ("team/rulez", "`team/rules`")):
        beside = tmp_path / "policies/team/rules"
        beside.mkdir(parents=True, exist_ok=True)
        (beside / "pack.yaml").write_text(PACK.replace("lab\n", "team/rules\n", 1))
        loaded = lab(tmp_path, rule=conditioned(f"{{spec: 'policies[*]', has: [caws/core, {has}]}}"))
        (found,) = policy.obligations(loaded, {**SPEC, "policies": ["lab"]}, FEED)[1]
        assert (found.code, found.severity, found.line) == ("KC6015", "error", 4)
        assert f"`policies[*]` can never be `{has}`" in found.summary
        assert near in found.help
        assert problems(tmp_path, f"{{spec: 'policies[*]', has: [caws/core, {near.strip('`')}]}}") == []
    ((code, _, said),) = problems(tmp_path, "{spec: 'policies[*]', has: nothing/here}")
    assert (code, "can never be `nothing/here`" in said) == ("KC6015", True)


def test_another_pack_of_nearly_the_same_name_is_no_slip(tmp_path: Path) -> None:
    for name in ("team/strict", "team/stricter"):
        (tmp_path / "policies" / name).mkdir(parents=True)
        (tmp_path / "policies" / name / "pack.yaml").write_text(PACK.replace("lab\n", f"{name}\n", 1))
    loaded = lab(tmp_path, rule=conditioned("{spec: 'policies[*]', has: team/stricter}"))
    assert policy.obligations(loaded, {**SPEC, "policies": ["lab", "team/strict"]}, FEED)[1] == []


def test_a_rule_for_another_tier_than_its_pack_is_an_error_and_the_advice_mends_it(tmp_path: Path) -> None:
    toys = PACK + "risk_tiers: [3]\n"
    ((code, line, summary),) = problems(tmp_path, "{spec: risk_tier, has: [1, 2]}", pack=toys)
    assert (code, line) == ("KC6015", 4)
    assert "the pack is for risk tier 3, and the rule for 1, 2" in summary
    assert problems(tmp_path, "{spec: risk_tier, has: [1, 2]}", pack=toys.replace("[3]", "[2, 3]")) == []


@pytest.mark.parametrize(
    ("rule", "line", "said", "help_"),
    [
        (KNOWN.replace("eval.gold", "eval.golt"), 3, "no report is called `eval.golt`", "`eval.gold`"),
        (KNOWN.replace("eval.gold", '"evil.*"'), 3, "no report is called `evil.*`", ""),
        (
            conditioned("{spec: student.cut, some: true}").replace("eval.gold", "eval.golt"),
            3,
            "no report is called `eval.golt`",
            "`eval.gold`",
        ),
        (
            KNOWN.replace("bound", "relative").replace("metric: items", "metric: items, to: rows, of: data.split"),
            5,
            "no report is called `data.split`",
            "`data.splits`",
        ),
    ],
)
def test_a_report_that_nothing_makes_is_an_error_whatever_the_conditions_say(
    tmp_path: Path, rule: str, line: int, said: str, help_: str
) -> None:
    found = policy.obligations(lab(tmp_path, rule=rule), SPEC, FEED)[1]
    assert [(one.code, one.severity, one.line) for one in found] == [("KC6045", "error", line)]
    assert said in found[0].summary
    assert help_ in found[0].help


def test_a_report_of_the_plan_is_known_without_a_schema(tmp_path: Path) -> None:
    assert policy.obligations(lab(tmp_path), SPEC, {"eval.sound": ["measure"]})[1] == []
    assert [one.code for one in policy.obligations(lab(tmp_path), SPEC, {})[1]] == ["KC6045"]


def test_of_most_reports_nobody_has_said_what_was_asked(tmp_path: Path) -> None:
    rule = KNOWN.replace("kind: bound", "kind: as_asked").replace(
        'params: {metric: items, op: ">=", threshold: "0.5", unit: item}', "params: {}\nexpect: {step: true}"
    )
    (problem,) = lab(tmp_path, rule=rule).problems
    assert (problem.code, problem.line) == ("KC6004", 4)
    assert "a report `eval.gold` is not compared with what was asked for" in problem.summary
    assert "parity" in problem.help
    assert lab(tmp_path, rule=rule.replace("eval.gold", "parity")).problems == ()


def test_the_plan_tells_which_rules_ask_nothing_and_why(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    text = (ROOT / "specs" / "eight-ball.yaml").read_text()
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    (tmp_path / "specs" / "eight-ball.yaml").write_text(text)
    home = Project(tmp_path)
    compiled = front.compile_spec(tmp_path / "specs" / "eight-ball.yaml", tmp_path)
    made, wrong = plan.make(compiled, home)
    assert made is not None, wrong
    found = {one.rule: one.because for one in silent(compiled, home, made)}
    asked = {one["rule"] for one in made["obligations"]}
    packs = policy.load(compiled.spec.policies if compiled.spec else [], [tmp_path / "policies"]).packs
    every = {rule.name for pack in packs for rule in pack.rules}
    assert found.keys() == every - asked
    assert found["caws/tier-3/tool-exact"] == "`evaluation.suites[*].use` is answers, not tool_use"
    assert found["caws/core/cut-exact"] == "`student.cut` is not there"
    assert all(found.values())


def test_a_rule_that_no_step_is_asked_by_says_so(tmp_path: Path) -> None:
    rule = changed("kind:", "mode: skip\nreason: no microphone\nkind:")
    loaded = lab(tmp_path, rule=rule).packs[0].rules[0]
    assert plan.silent.__module__ == "kcompiler.plan.silent"
    from kcompiler.plan.silent import _elsewhere

    assert _elsewhere(loaded) == "no step makes `eval.sound`"
    rule = changed("kind:", "where: {step: runners, at_least: 2}\nkind:")
    assert _elsewhere(lab(tmp_path, rule=rule).packs[0].rules[0]) == (
        "no step that makes `eval.sound` has at least 2 of runners"
    )
