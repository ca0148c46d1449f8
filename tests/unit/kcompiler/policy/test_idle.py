"""A rule that no report can fail is refused when its pack is loaded; one that some report fails never is."""

from __future__ import annotations

import copy
import itertools
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kcompiler import diagnostic
from kcompiler.audit import plan as audited
from kcompiler.cli import _main
from kcompiler.front import compile_spec
from kcompiler.plan import make
from kcompiler.policy import cases, kinds, shape
from kcompiler.policy.cel.types import ListOf, Scalar, Thing, Type
from kcompiler.project import Project
from runtime.contract import report as facts
from runtime.contract.statistics import rates
from tests.unit.kcompiler.policy.test_load import RULE, lab
from tests.unit.kcompiler.policy.test_phases import project

SAMPLE = json.loads((Path(__file__).parent / "asserted.json").read_text(encoding="utf-8"))
ROWS, STUDENT = "report.rows.value", "report.runners.student"
RIGHT, TOOLS, FAILED = f"{STUDENT}.right", f"{STUDENT}.by_tool", f"{STUDENT}.failed_examples"
ROWS_N = f"{STUDENT}.precision.n"
#: kind of report, expression
ALWAYS = [
    ("eval.tool_use", f"{ROWS} >= 0 || true"),
    ("eval.tool_use", f"true || {ROWS} > 1000"),
    ("eval.tool_use", f"{ROWS} == {ROWS}"),
    ("eval.tool_use", f"{ROWS} >= 0"),
    ("eval.tool_use", f"!({ROWS} < 0)"),
    ("eval.tool_use", f"0.5 > -{ROWS}"),
    ("eval.tool_use", f"{RIGHT}.value <= 1"),
    ("eval.tool_use", f"{RIGHT}.k >= 0 && {RIGHT}.n >= 1"),
    ("eval.tool_use", f"{RIGHT}.k > -1"),
    ("eval.tool_use", f"size({TOOLS}) >= 0"),
    ("eval.tool_use", f"{FAILED}.size() > -1"),
    ("eval.tool_use", f"{RIGHT}.value >= 0.9 || {RIGHT}.value < 0.9"),
    ("eval.tool_use", f"{ROWS} > report.controls.value || report.controls.value >= {ROWS}"),
    ("eval.tool_use", f"{ROWS} > 0.5 || {ROWS} < 0.5"),
    ("eval.tool_use", f"2.0 * {RIGHT}.value + 0.1 > {RIGHT}.value"),
    ("eval.tool_use", f"{ROWS} + report.controls.value >= report.controls.value"),
    ("eval.tool_use", f"abs({RIGHT}.value - 0.5) >= 0"),
    ("eval.tool_use", f"max({RIGHT}.value, 0.5) >= 0.5"),
    ("eval.tool_use", f"rate_high({RIGHT}.k, {RIGHT}.n) <= 1"),
    ("eval.tool_use", f"double({RIGHT}.k) / double({RIGHT}.n) >= 0"),
    ("eval.tool_use", 'report.zoo.best == "mute" || report.zoo.best != "mute"'),
    ("eval.tool_use", 'report.zoo.best.startsWith("")'),
    ("eval.tool_use", f"has({STUDENT}.right)"),
    ("eval.tool_use", f"size({TOOLS}) < 1 || {TOOLS}.all(t, {TOOLS}[t].exact_call.value >= 0)"),
    ("eval.tool_use", f"{RIGHT}.value > 0.9 ? {ROWS} >= 0 : {RIGHT}.value <= 0.9"),
    ("eval.tool_use", f"{RIGHT}.value in [0.5] || !({RIGHT}.value in [0.5])"),
    ("eval.tool_use", f"{RIGHT}.k <= {RIGHT}.n"),
    ("eval.tool_use", f"{RIGHT}.n >= {RIGHT}.k && {RIGHT}.value <= 1.0"),
    ("eval.tool_use", f"!({RIGHT}.k > {RIGHT}.n)"),
    ("eval.tool_use", f"{RIGHT}.k < {RIGHT}.n + 1"),
    ("eval.tool_use", f"{RIGHT}.k - {RIGHT}.n <= 0"),
    ("eval.tool_use", f"2 * {RIGHT}.k <= {RIGHT}.n + {RIGHT}.k"),
    ("eval.tool_use", f"{RIGHT}.value * double({RIGHT}.n) <= double({RIGHT}.n)"),
    ("eval.tool_use", f"double({RIGHT}.n) * {RIGHT}.value == double({RIGHT}.k)"),
    ("eval.tool_use", f"{RIGHT}.value * {RIGHT}.value <= {RIGHT}.value"),
    ("eval.tool_use", f"(1.0 - {RIGHT}.value) * double({RIGHT}.n) >= 0"),
    ("eval.tool_use", f"{RIGHT}.n * {RIGHT}.k >= {RIGHT}.k * {RIGHT}.n"),
    ("eval.tool_use", f"double({RIGHT}.k) / double({RIGHT}.n) <= 1"),
    ("eval.tool_use", f"double({RIGHT}.k) / double({RIGHT}.n) == {RIGHT}.value"),
    ("eval.tool_use", f"!has({RIGHT}.low) || {RIGHT}.value >= {RIGHT}.low"),
    ("eval.tool_use", f"!has({RIGHT}.low) || !has({RIGHT}.high) || {RIGHT}.low <= {RIGHT}.high"),
    ("eval.tool_use", f"!has({RIGHT}.low) || {RIGHT}.low <= {RIGHT}.value + 0.5"),
    ("eval.tool_use", f"!has({RIGHT}.low) || {RIGHT}.low >= 0"),
    ("eval.tool_use", f"!has({RIGHT}.high) || {RIGHT}.high < 1.5"),
    ("eval.tool_use", "!has(report.kd_gain.low) || report.kd_gain.low <= report.kd_gain.value"),
    ("eval.tool_use", f"rate_low({RIGHT}.k, {RIGHT}.n) <= {RIGHT}.value"),
    ("eval.tool_use", f"rate_low({RIGHT}.k, {RIGHT}.n + 1) <= rate_high({RIGHT}.k, {RIGHT}.n + 1)"),
    ("eval.tool_use", f"max(report.controls.value, {ROWS}) >= {ROWS}"),
    ("eval.tool_use", f"min({RIGHT}.k, {RIGHT}.n) <= {RIGHT}.n"),
    ("eval.tool_use", "abs(report.kd_gain.value) >= report.kd_gain.value"),
    ("eval.tool_use", f"{ROWS} > report.controls.value || report.controls.value > 2.0 || {ROWS} <= 2.0"),
    ("eval.tool_use", f"{TOOLS}.exists(t, {TOOLS}[t].exact_call.value >= 0)"),
    ("eval.tool_use", f"{TOOLS}.exists(t, {TOOLS}[t].exact_call.k <= {TOOLS}[t].exact_call.n)"),
    ("eval.tool_use", f"size({TOOLS}) > 0 && {TOOLS}.all(t, {TOOLS}[t].exact_call.value <= 1.0)"),
    ("eval.tool_use", f"{TOOLS}.exists(t, {TOOLS}[t].exact_call.value <= 1.0) && size({TOOLS}) != 0"),
    ("eval.tool_use", f"{RIGHT}.k * {RIGHT}.k >= {RIGHT}.k"),
    ("eval.tool_use", f"{RIGHT}.n * {RIGHT}.n - {RIGHT}.n + 1 > 0"),
    ("eval.tool_use", f"{RIGHT}.k * {RIGHT}.k * {RIGHT}.k >= {RIGHT}.k"),
    ("eval.tool_use", f"{RIGHT}.k * {RIGHT}.k <= {RIGHT}.n * {RIGHT}.n"),
    ("eval.tool_use", f"{RIGHT}.k * {ROWS_N} <= {RIGHT}.n * {ROWS_N}"),
    ("eval.tool_use", f"({RIGHT}.n - {RIGHT}.k) * {RIGHT}.k >= 0"),
    ("eval.tool_use", f"{RIGHT}.k % 2 < 2"),
    ("eval.tool_use", f"{RIGHT}.value >= 0.5 || 2 * {RIGHT}.k < {RIGHT}.n"),
    ("eval.tool_use", f"!({RIGHT}.value > 1.0 || {RIGHT}.k > {RIGHT}.n)"),
    ("eval.tool_use", f"size({TOOLS}) >= 1 && !{TOOLS}.all(t, {TOOLS}[t].exact_call.value > 1.0)"),
    ("eval.tool_use", f"!(size({TOOLS}) == 0) && !{TOOLS}.exists(t, {TOOLS}[t].exact_call.value > 1.0)"),
    (
        "eval.tool_use",
        f"!(size({TOOLS}) == 0 || {TOOLS}.exists(t, !({TOOLS}[t].exact_call.k <= {TOOLS}[t].exact_call.n)))",
    ),
    (
        "eval.tool_use",
        f"{TOOLS}.exists(t, {TOOLS}[t].exact_call.k <= {TOOLS}[t].exact_call.n) && size({TOOLS}) < 100000",
    ),
    ("eval.tool_use", f"size({TOOLS}) >= 2 && {TOOLS}.all(t, {TOOLS}[t].exact_call.value >= 0)"),
    ("eval.tool_use", f"size({TOOLS}) >= 1 && size({TOOLS}.filter(t, {TOOLS}[t].exact_call.value > 1.0)) == 0"),
    ("eval.tool_use", f"size({TOOLS}) >= 1 && {TOOLS}.all(t, size(t) > 0)"),
    ("eval.answers", "size(report.validity) >= 1 && report.validity.map(k, report.validity[k].value)[0] <= 1.0"),
    (
        "start",
        "report.inputs.missing.value * report.inputs.missing.value <= "
        "report.inputs.all.value * report.inputs.all.value",
    ),
    ("start", "report.attempt.value >= 1"),
    ("start", "report.attempt.value > 0 && report.inputs.missing.value >= 0"),
    ("start", "report.inputs.missing.value <= report.inputs.all.value"),
    ("start", "report.inputs.all.value - report.inputs.missing.value >= 0"),
    ("start", "report.budgets.usd.left.value <= report.budgets.usd.limit.value"),
    ("probes", "size(report.probes) >= 1"),
    ("probes", "report.probes.exists(p, p.passed.value || !p.passed.value)"),
    ("probes", 'report.probes.all(p, p.subject == "checkpoint" || p.subject == "functions")'),
    ("probes", 'report.probes.all(p, p.passed.tag in ["measured", "estimated", "unavailable"])'),
]


#: expression that is nearly one of those, and what of the report makes it false
HONEST: list[tuple[str, dict[str, Any]]] = [
    (f"{ROWS} >= 1", {"/rows": 0}),
    (f"{ROWS} > 0", {"/rows": 0}),
    (f"{ROWS} >= 0 || {RIGHT}.value > 0.5 ? {RIGHT}.n >= 90 : true", {"/runners/student/right": (80, 80)}),
    (f"false || {ROWS} >= 90", {"/rows": 89}),
    (f"{ROWS} == report.eligible.value + report.controls.value", {"/rows": 91}),
    (f"{ROWS} != {ROWS} || {ROWS} > 5", {"/rows": 5}),
    (f"{RIGHT}.value < 1", {"/runners/student/right": (90, 90)}),
    (f"{RIGHT}.value != 1", {"/runners/student/right": (90, 90)}),
    (f"{RIGHT}.value > 0", {"/runners/student/right": (0, 90)}),
    (f"{RIGHT}.k >= 1", {"/runners/student/right": (0, 90)}),
    (f"{RIGHT}.n >= 2", {"/runners/student/right": (1, 1)}),
    (f"size({TOOLS}) >= 1", {"/runners/student/by_tool": {}}),
    (f"{TOOLS}.exists(t, {TOOLS}[t].exact_call.value >= 2.0) || {ROWS} > 5", {"/rows": 5}),
    (f"{TOOLS}.exists(t, {TOOLS}[t].exact_call.k < {TOOLS}[t].exact_call.n)", {"/runners/student/by_tool": {}}),
    (f"{RIGHT}.k * {RIGHT}.k > {RIGHT}.k", {"/runners/student/right": (1, 90)}),
    (f"{RIGHT}.k * {RIGHT}.k >= 2 * {RIGHT}.k", {"/runners/student/right": (1, 90)}),
    (f"{RIGHT}.k * {RIGHT}.n >= 90", {"/runners/student/right": (0, 90)}),
    (f"{RIGHT}.value > 0.9 || {RIGHT}.value < 0.9", {"/runners/student/right": (81, 90)}),
    (f"{ROWS} > report.controls.value || report.controls.value > {ROWS}", {"/rows": 30}),
    (f"{ROWS} > 1.5 || {ROWS} < 0.5", {"/rows": 1}),
    (f"{RIGHT}.value > 0.5 || {RIGHT}.value < 0.6 && {RIGHT}.n > 20", {"/runners/student/right": (5, 20)}),
    (f"2.0 * {RIGHT}.value > {RIGHT}.value", {"/runners/student/right": (0, 90)}),
    (f"{ROWS} + report.controls.value > report.controls.value", {"/rows": 0}),
    (f"{ROWS} * {RIGHT}.value > 0", {"/rows": 0}),
    (f"abs({RIGHT}.value - 0.5) > 0", {"/runners/student/right": (45, 90)}),
    (f"max({RIGHT}.value, 0.5) > 0.5", {"/runners/student/right": (45, 90)}),
    (f"rate_low({RIGHT}.k, {RIGHT}.n) > 0", {"/runners/student/right": (0, 90)}),
    ('report.zoo.best == "always" || report.zoo.best != "constant"', {"/zoo/best": "constant"}),
    ('report.zoo.best.startsWith("m") || report.zoo.best.startsWith("c")', {"/zoo/best": "echo"}),
    (f"{RIGHT}.value > 0.9 ? {ROWS} >= 0 : {RIGHT}.value <= 0.8", {"/runners/student/right": (77, 90)}),
    (f"{RIGHT}.k < {RIGHT}.n", {"/runners/student/right": (90, 90)}),
    (f"{RIGHT}.k <= {RIGHT}.n - 1", {"/runners/student/right": (90, 90)}),
    (f"{RIGHT}.n <= {RIGHT}.k", {"/runners/student/right": (89, 90)}),
    (f"2 * {RIGHT}.k <= {RIGHT}.n", {"/runners/student/right": (46, 90)}),
    (f"{RIGHT}.value * double({RIGHT}.n) < double({RIGHT}.n)", {"/runners/student/right": (90, 90)}),
    (f"{RIGHT}.value * {RIGHT}.value < {RIGHT}.value", {"/runners/student/right": (0, 90)}),
    (f"{RIGHT}.value * double({ROWS}) <= double({RIGHT}.n)", {"/runners/student/right": (30, 30)}),
    (f"{RIGHT}.k * {RIGHT}.k <= {RIGHT}.n", {"/runners/student/right": (10, 90)}),
    (f"double({RIGHT}.k) / double({RIGHT}.n) < 1", {"/runners/student/right": (90, 90)}),
    (f"double({RIGHT}.k) / {ROWS} <= 0.5", {"/rows": 90, "/runners/student/right": (80, 90)}),
    (f"has({RIGHT}.low) && {RIGHT}.value > {RIGHT}.low", {"/runners/student/right": rates.rate(0, 90)}),
    (f"has({RIGHT}.high) && {RIGHT}.high < 1", {"/runners/student/right": rates.rate(90, 90)}),
    (
        f"has({RIGHT}.low) && has({RIGHT}.high) && {RIGHT}.high - {RIGHT}.low < 0.1",
        {"/runners/student/right": rates.rate(1, 2)},
    ),
    (f"rate_low({RIGHT}.k, {RIGHT}.n) < {RIGHT}.value", {"/runners/student/right": (0, 90)}),
    (f"max({RIGHT}.value, 0.2) > {RIGHT}.value", {"/runners/student/right": (81, 90)}),
    (f"abs({RIGHT}.value - 0.5) > {RIGHT}.value - 0.5", {"/runners/student/right": (81, 90)}),
    (f"{ROWS} > report.controls.value || report.controls.value > 2.0 || {ROWS} < 2.0", {"/rows": 2, "/controls": 2}),
    (f'{RIGHT}.unit == "ratio"', {"/runners/student/right/unit": "percent"}),
]


#: expression that asks something beside a part that asks nothing, and that part
PARTLY = [
    (f"{ROWS} >= 0 && {RIGHT}.value > 0.5", f"{ROWS} >= 0"),
    (f"{RIGHT}.value > 0.5 && !({RIGHT}.k > {RIGHT}.n)", f"{RIGHT}.k > {RIGHT}.n"),
    (f"size({TOOLS}) >= 1 && {TOOLS}.all(t, {TOOLS}[t].exact_call.value >= 0) && {ROWS} > 5", f"{TOOLS}.all"),
    (f"{RIGHT}.value > 0.9 ? {ROWS} >= 0 : false", f"{ROWS} >= 0"),
]


def judged(that: str, change: dict[str, Any]) -> str:
    report = copy.deepcopy(SAMPLE)
    for pointer, value in change.items():
        made = facts.rate(*value) if isinstance(value, tuple) else value
        made = facts.measured(made, "row") if type(made) is int else made
        cases.apply(report["data"], {pointer: made}, [])
    kind = kinds.load("assert")
    return kind.judge(kind.params.model_validate({"that": that}), report, None, None).word


@pytest.mark.parametrize(("about", "that"), ALWAYS)
def test_an_expression_that_no_report_makes_false_is_refused_at_its_line(tmp_path: Path, about: str, that: str) -> None:
    (found,) = lab(tmp_path, rule=rule("assert", {"that": that}, about)).problems
    line = 6 if about == "start" else 5
    assert (found.code, found.file, found.line) == ("KC6060", "policies/lab/loud/rule.yaml", line)
    assert "kind: presence" in found.help


@pytest.mark.parametrize(("that", "change"), HONEST)
def test_an_expression_that_some_report_makes_false_is_a_rule(
    tmp_path: Path, that: str, change: dict[str, Any]
) -> None:
    assert lab(tmp_path, rule=rule("assert", {"that": that})).problems == ()
    assert judged(that, change) == "fail"


@pytest.mark.parametrize(("that", "part"), PARTLY)
def test_a_part_that_asks_nothing_is_told_at_its_place(tmp_path: Path, that: str, part: str) -> None:
    (found,) = lab(tmp_path, rule=rule("assert", {"that": that})).problems
    assert (found.code, found.severity) == ("KC6060", "warning")
    assert f"here: `{part[:20]}" in found.label
    assert "this part of the rule asks nothing" in found.summary


@pytest.mark.parametrize(
    ("that", "told"),
    [
        (f"{RIGHT}.value != 0.123456", True),
        (f"0.5 != {RIGHT}.value", True),
        (f"!({RIGHT}.value == 0.123456)", True),
        (f"{ROWS} > 5 && {RIGHT}.value != 0.123456", True),
        # the ends and whole numbers are meant, and so is what is the same as another number
        (f"{RIGHT}.value != 0.0", False),
        (f"{RIGHT}.value != 1", False),
        (f"{ROWS} != 7", False),
        (f"{RIGHT}.value == 0.5", False),
        (f"{RIGHT}.value > 0.123456", False),
    ],
)
def test_that_a_rate_is_not_one_number_is_told_to_ask_next_to_nothing(tmp_path: Path, that: str, told: bool) -> None:
    found = lab(tmp_path, rule=rule("assert", {"that": that})).problems
    assert [(one.code, one.severity) for one in found] == ([("KC6060", "warning")] if told else [])
    assert all("one number of all" in one.label + one.summary for one in found)


def test_what_is_only_told_stops_no_plan_no_audit_and_no_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    idle, asks = "report.validity.student.value <= 1.0", "report.validity.student.value > 0.5"
    spec = project(tmp_path, {"loud": rule("assert", {"that": f"{idle} && {asks}"}, "eval.answers")})
    made, found = make(compile_spec(spec, tmp_path), Project(tmp_path))
    assert made is not None
    assert [(one.code, one.severity) for one in found if one.file.startswith("policies")] == [("KC6060", "warning")]
    assert list(audited.policies(made, tmp_path)) == []
    assert _main(["policy", "lint", str(tmp_path / "policies" / "lab")]) == 1, "it has no cases"
    assert re.findall(r"\[(KC\d+)\]", capsys.readouterr().err + capsys.readouterr().out)[:2] == ["KC6060", "KC6050"]


@pytest.mark.parametrize(
    "that",
    [
        "report.attempt.value >= 2",
        "report.attempt.value <= 1",
        "report.inputs.missing.value < report.inputs.all.value",
        "report.inputs.all.value <= report.inputs.missing.value",
        "report.budgets.usd.reserved.value <= report.budgets.usd.limit.value",
        "report.budgets.usd.spent.value <= report.budgets.usd.limit.value",
    ],
)
def test_what_a_step_that_begins_can_lack_is_a_rule(tmp_path: Path, that: str) -> None:
    assert lab(tmp_path, rule=rule("assert", {"that": that}, "start")).problems == ()


def rule(kind: str, params: dict[str, Any], about: str = "eval.tool_use") -> str:
    early = "phase: pre-step\n" if about == "start" else ""
    found = early + RULE.replace("on: eval.sound", f"on: {about}").replace("kind: bound", f"kind: {kind}")
    return found.replace('{metric: level, op: ">=", threshold: "0.5", unit: ratio}', json.dumps(params))


RATE = {"metric": "runners.student.right", "unit": "ratio"}
COUNT = {"metric": "rows", "unit": "row"}
TWO = {**RATE, "to": "runners.teacher.right"}
LINE = {"series": "signals.beside[*]", "at": "shift", "value": "share", "unit": "1", "window": 2}
BASE = {"file": "baseline/r.json", "digest": f"sha256:{'0' * 64}"}
#: kind, params that no number misses, the key that is pointed at, what makes them a rule
NEVER = [
    ("bound", {**COUNT, "op": ">=", "threshold": "0"}, "threshold", {"op": ">"}),
    ("bound", {**COUNT, "op": ">", "threshold": "-1"}, "threshold", {"threshold": "0"}),
    ("bound", {**RATE, "op": ">=", "threshold": "0"}, "threshold", {"threshold": "0.01"}),
    ("bound", {**RATE, "op": "<=", "threshold": "1"}, "threshold", {"op": "<"}),
    ("bound", {**RATE, "op": "<", "threshold": "1.5"}, "threshold", {"threshold": "1"}),
    ("bound", {**RATE, "metric": ["rows", "controls"], "unit": "row", "op": ">=", "threshold": "0"}, "threshold",
     {"threshold": "1"}),
    ("bound", {**RATE, "op": ">=", "threshold": "0", "on": "low"}, "threshold", {"op": ">"}),
    ("bound", {**RATE, "op": "<=", "threshold": "1", "on": "high"}, "threshold", {"op": "<"}),
    ("relative", {**TWO, "op": ">=", "threshold": "-1"}, "threshold", {"threshold": "-0.99"}),
    ("relative", {**TWO, "op": "<=", "threshold": "1"}, "threshold", {"op": "<"}),
    ("relative", {**TWO, "by": "quotient", "op": ">=", "threshold": "0"}, "threshold", {"op": ">"}),
    ("trend", {**LINE, "of": "change", "op": ">=", "threshold": "-1"}, "threshold", {"of": "slope"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "params", "key", "mend"), NEVER)
def test_a_bound_that_no_number_misses_is_refused_at_its_number(
    tmp_path: Path, kind: str, params: dict[str, Any], key: str, mend: dict[str, Any]
) -> None:
    about = "training" if kind == "trend" else "eval.tool_use"
    (found,) = lab(tmp_path / "a", rule=rule(kind, params, about)).problems
    assert (found.code, found.pointer, found.line) == ("KC6060", f"/params/{key}", 5)
    assert "always" in found.summary
    assert lab(tmp_path / "b", rule=rule(kind, {**params, **mend}, about)).problems == ()


def test_a_regression_may_not_allow_everything(tmp_path: Path) -> None:
    params = {**RATE, "better": "higher", "margin": "1", "baseline": BASE}
    codes = [one.code for one in lab(tmp_path / "a", rule=rule("regression", params)).problems]
    assert codes == ["KC6048", "KC6060"]
    mended = lab(tmp_path / "b", rule=rule("regression", {**params, "margin": "0.99"})).problems
    assert [one.code for one in mended] == ["KC6048"]


def test_a_rule_about_several_kinds_is_idle_where_it_is_of_each(tmp_path: Path) -> None:
    """`rows` is a count in every report that has it; a report of a kind that nobody knows may hold any number."""
    params = {"metric": "rows", "unit": "row", "op": ">=", "threshold": "0"}
    assert [one.code for one in lab(tmp_path / "a", rule=rule("bound", params)).problems] == ["KC6060"]
    assert lab(tmp_path / "b", rule=rule("bound", params, "eval.sound")).problems == ()


def test_a_condition_a_waiver_or_a_mode_saves_no_such_rule(tmp_path: Path) -> None:
    for more in ("mode: warn", "when: {spec: risk_tier, has: 1}", "effective_on: 2999-01-01", "phase: release"):
        text = rule("assert", {"that": f"{ROWS} >= 0"}).replace("remedy:", f"{more}\nremedy:")
        assert "KC6060" in [one.code for one in lab(tmp_path / more[:4], rule=text).problems]


def test_the_advice_of_the_page_is_a_rule(tmp_path: Path) -> None:
    wrong, right = diagnostic.explain("KC6060").page.split("```yaml\n")[1:]
    for text, codes in ((wrong, ["KC6060"]), (right, [])):
        body = "id: loud\ntitle: It is loud\n" + text.partition("```")[0] + "remedy: turn it up\n"
        assert [one.code for one in lab(tmp_path / str(len(codes)), rule=body).problems] == codes


def test_what_has_too_many_parts_is_not_decided(tmp_path: Path) -> None:
    """Never refused without proof: the cases of the rule decide then."""
    names = ("precision", "recall", "json_parses", "json_validity", "tool_selection", "exact_call", "right", "span_f1")
    parts = [f"{STUDENT}.{name}.value {op} 0.{digit}" for name in names for op, digit in ((">", 9), ("<=", 9))]
    assert lab(tmp_path, rule=rule("assert", {"that": " || ".join(parts[:12])})).problems != ()
    more = " || ".join(f"{part} && {part.replace('0.9', '0.8')}" for part in parts)
    assert lab(tmp_path, rule=rule("assert", {"that": more})).problems == ()


#: right answers of questions
SIZES = ((0, 1), (1, 1), (0, 7), (3, 7), (7, 7), (1, 3), (45, 90), (89, 90), (1, 5000), (4999, 5000))
_TERMS = ("value", "low", "high", "double(D.k)", "double(D.n)", "double(D.k) / double(D.n)", "rate_low(D.k, D.n)")


def _term(rng: random.Random, depth: int = 2) -> str:
    if depth and rng.random() < 0.6:
        return f"({_term(rng, depth - 1)} {rng.choice('+-*')} {_term(rng, depth - 1)})"
    found = rng.choice((*_TERMS, "0.5", "1.0", "2.0"))
    return (found if found[0] in "dr0123" else f"D.{found}").replace("D.", f"{RIGHT}.")


def test_what_is_called_always_true_is_true_of_every_rate() -> None:
    """Refused without proof, an honest rule could not be written."""
    rng, seen = random.Random(7), 0
    kind = kinds.load("assert")
    there = f"!has({RIGHT}.low) || !has({RIGHT}.high) || "
    reports = [{**SAMPLE, "data": copy.deepcopy(SAMPLE["data"])} for _ in range(len(SIZES))]
    for report, (k, n) in zip(reports, SIZES, strict=True):
        cases.apply(report["data"], {"/runners/student/right": rates.rate(k, n)}, [])
    for _ in range(40):
        one = f"{_term(rng)} {rng.choice(('<=', '>=', '<', '>', '=='))} {_term(rng)}"
        params = kind.params.model_validate({"that": there + one})
        if not list(kind.faults(params, "eval.tool_use", {})) and kind.idle(params, ["eval.tool_use"]):
            seen += 1
            assert "fail" not in {kind.judge(params, report, None, None).word for report in reports}, one
    assert seen > 3


def _number(rng: random.Random, depth: int, datum: str) -> str:
    if depth and rng.random() < 0.55:
        return f"({_number(rng, depth - 1, datum)} {rng.choice('+-*')} {_number(rng, depth - 1, datum)})"
    own = [f"{one}.value" for one in (RIGHT, datum)] + [
        f"double({one}.{name})" for one in (RIGHT, datum) for name in "kn"
    ]
    return rng.choice([*own, ROWS, "0.0", "0.5", "1.0", "2.0"])


def _truth(rng: random.Random, depth: int, datum: str = RIGHT) -> str:
    way = rng.random()
    if depth and way < 0.25:
        return f"({_truth(rng, depth - 1, datum)} {rng.choice(('&&', '||'))} {_truth(rng, depth - 1, datum)})"
    if depth and way < 0.4:
        return f"!{_truth(rng, depth - 1, datum)}"
    if depth and way < 0.6 and datum == RIGHT:
        asked = f"{rng.choice(('', '!'))}{TOOLS}.{rng.choice(('all', 'exists'))}"
        return f"(size({TOOLS}) >= 1 && {asked}(t, {_truth(rng, depth - 1, f'{TOOLS}[t].exact_call')}))"
    return f"({_number(rng, 2, datum)} {rng.choice(tuple(_OPS))} {_number(rng, 2, datum)})"


_OPS = ("<=", ">=", "<", ">", "==", "!=")


def _filled() -> list[dict[str, Any]]:
    """Reports in which nothing is empty, on a grid."""
    tool = next(iter(SAMPLE["data"]["runners"]["student"]["by_tool"].values()))
    some = [[(0, 1)], [(1, 1)], [(1, 2)], [(2, 3), (0, 3)], [(1, 1), (4, 4)]]
    found = []
    for right, rows, tools in itertools.product(SIZES[:5], (0, 1, 2, 9), some):
        report = {**SAMPLE, "data": copy.deepcopy(SAMPLE["data"])}
        by_tool = {f"t{at}": {**tool, "exact_call": facts.rate(*one)} for at, one in enumerate(tools)}
        student = {"/runners/student/right": facts.rate(*right), "/runners/student/by_tool": by_tool}
        cases.apply(report["data"], {"/rows": facts.measured(rows, "row"), **student}, [])
        found.append(report)
    return found


def test_what_is_refused_no_report_fails_that_is_not_empty() -> None:
    """Expressions drawn from the whole grammar against brute force; more of them with KCOMPILER_LONG."""
    rng, kind, seen = random.Random(1), kinds.load("assert"), 0
    grid = _filled()
    for _ in range(3000 if os.environ.get("KCOMPILER_LONG") else 40):
        params = kind.params.model_validate({"that": _truth(rng, 3)})
        if list(kind.faults(params, "eval.tool_use", {})):
            continue  # an `exists` under a `!`
        found = kind.idle(params, ["eval.tool_use"])
        if found is not None and found.sure:
            seen += 1
            assert "fail" not in {kind.judge(params, report, None, None).word for report in grid}, params.that
    assert seen > 3


def _asked(text: str, found: Type | None, guard: str = "", depth: int = 0) -> Iterator[str]:
    """Of each number, text and flag at a place of a report, and below it, whether it is more than a little, or so."""
    if found is None or depth > 7:
        return
    if isinstance(found, Scalar):
        said = {"bool": "", "int": " > 3", "double": " > 3.0", "string": f' == "{(*found.words, "a")[0]}"'}
        if len(found.words) != 1:
            yield f"{guard}{text}{said[found.name]}"
    elif isinstance(found, ListOf):
        below = itertools.islice(_asked(f"e{depth}", found.item, "", depth + 1), 2)
        yield from (f"{guard}size({text}) >= 1 && {text}.all(e{depth}, {one})" for one in below)
    elif found.datum:
        unit = f'{text}.unit == "s" && ' if found.datum == "number" and found.unit == "?" else ""
        limit = "" if found.datum == "flag" else " > 0.25" if found.counted else " > 1.25"
        yield f"{guard}{unit}{text}.value{limit}"
    elif found.keyed:
        below = itertools.islice(_asked(f"{text}[k{depth}]", found.values(), "", depth + 1), 2)
        yield from (f"{guard}size({text}) >= 1 && {text}.all(k{depth}, {one})" for one in below)
    else:
        for name in sorted({name for one in shape.parts(found.places) for name in one.node.get("properties", ())}):
            below_ = found.field(name)
            there = "" if found.always(name) else f"has({text}.{name}) && "
            if name.isidentifier() and not isinstance(below_, shape.Lost):
                yield from _asked(f"{text}.{name}", below_, guard + there, depth + 1)


@pytest.mark.skipif(not os.environ.get("KCOMPILER_LONG"), reason="KCOMPILER_LONG=1: every place of every report")
@pytest.mark.parametrize("about", shape.kinds())
def test_what_is_asked_of_any_place_of_any_report_is_a_rule(about: str) -> None:
    kind, place = kinds.load("assert"), shape.of_report(about)
    assert place is not None
    for one in _asked("report", Thing((place,))):
        params = kind.params.model_validate({"that": one})
        assert list(kind.faults(params, about, {})) == [], one
        assert kind.idle(params, [about]) is None, one
