"""Packs are read strictly: whatever cannot be read is an error at its place, never a rule that is quietly not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kcompiler import assets, policy
from tests.unit.kcompiler.waiver import world as excuses

SHIPPED = assets.folder("policies")
PACK = "name: lab\nversion: 2\ntitle: A pack of the lab\nmin_n: 1\n"
RULE = """\
id: loud
title: The sound is loud
on: eval.sound
kind: bound
params: {metric: level, op: ">=", threshold: "0.5", unit: ratio}
remedy: turn it up
"""


def lab(folder: Path, *, pack: str = PACK, rule: str = RULE, name: str = "loud") -> policy.Policy:
    """A project with the pack `lab` of one rule, loaded."""
    below = folder / "policies" / "lab"
    (below / name).mkdir(parents=True, exist_ok=True)
    (below / "pack.yaml").write_text(pack)
    (below / name / "rule.yaml").write_text(rule)
    return policy.load(["lab"], [folder / "policies", SHIPPED])


def changed(old: str, new: str) -> str:
    assert old in RULE
    return RULE.replace(old, new)


def test_a_sound_pack_loads_with_its_defaults_visible(tmp_path: Path) -> None:
    found = lab(tmp_path)
    assert found.problems == ()
    assert found.packs[0].rules[0].params.model_dump(mode="json") == {
        "metric": ["level"],
        "op": ">=",
        "threshold": "0.5",
        "unit": "ratio",
        "need": {"tag": "measured", "min_n": 1},
        "on": "point",
        "min_matches": 1,
    }
    assert [(pin["pack"], pin["version"], pin["rules"]) for pin in found.pins()] == [("lab", 2, 1)]


def test_a_rule_that_came_with_the_version_of_its_pack_loads(tmp_path: Path) -> None:
    assert lab(tmp_path, rule=changed("remedy:", "since: 2\nremedy:")).problems == ()


WRONG_RULES = [
    ("an unknown key", changed("remedy:", "severity: high\nremedy:"), "KC6002", 6, "unknown key `severity`"),
    ("a misspelt key", changed("on:", "onn:"), "KC6002", 3, "unknown key `onn`"),
    ("an unknown mode", changed("kind:", "mode: deny\nkind:"), "KC6002", 4, "mode"),
    ("a mode that is no text", changed("kind:", "mode: 1\nkind:"), "KC6002", 4, "mode"),
    ("a text for a version", changed("kind:", "since: 'one'\nkind:"), "KC6002", 4, "since"),
    ("a rule that nobody may waive", changed("kind:", "waivable: true\nkind:"), "KC6101", 4, "names nobody who could"),
    ("skip without a reason", changed("kind:", "mode: skip\nkind:"), "KC6002", 1, "reason"),
    ("nothing", "", "KC1018", 1, "the file is empty"),
    ("skip with an empty reason", changed("kind:", "mode: skip\nreason: ' '\nkind:"), "KC6002", 1, "reason"),
    ("a reason without skip", changed("kind:", "reason: later\nkind:"), "KC6002", 1, "reason"),
    ("no remedy", changed("remedy: turn it up\n", ""), "KC6002", 1, "remedy"),
    ("a pattern that is none", changed("eval.sound", '"eval.*.x"'), "KC6002", 3, "on"),
    ("an unknown kind", changed("kind: bound", "kind: bounds"), "KC6003", 4, "bounds"),
    ("a misspelt parameter", changed("threshold:", "treshold:"), "KC6002", 5, "unknown key `treshold`"),
    ("a misspelt operator", changed('">="', '"=>"'), "KC6002", 5, "op"),
    ("a threshold that is no number", changed('"0.5"', '"half"'), "KC6002", 5, "threshold"),
    ("a path that is none", changed("metric: level", "metric: 'level['"), "KC6002", 5, "metric"),
    ("a favourable bound", changed("unit:", "on: high, unit:"), "KC6002", 5, "favourable"),
    ("no threshold at all", changed('threshold: "0.5", ', ""), "KC6004", 4, "nothing it could compare"),
    ("two thresholds", changed("remedy:", "expect: {from: x}\nremedy:"), "KC6004", 6, "twice"),
    ("an expectation from nowhere", changed("remedy:", "expect: {format: x}\nremedy:"), "KC6002", 6, "expect"),
    (
        "an expectation from two places",
        changed("remedy:", "expect: {from: x, value: 1}\nremedy:"),
        "KC6002",
        6,
        "expect",
    ),
    ("a format without a place", changed("remedy:", "expect: {from: x, format: y}\nremedy:"), "KC6002", 6, "expect"),
    (
        "a format that reaches inside",
        changed("remedy:", "expect: {from: x, format: '{0}{}'}\nremedy:"),
        "KC6002",
        6,
        "expect",
    ),
    (
        "more places than its path leads to",
        changed('"0.5", ', '"0.5", min_matches: 2, '),
        "KC6002",
        5,
        "`min_matches: 2` can never be met",
    ),
    (
        "more flags than its paths lead to",
        RULE.replace("bound", "all_true").replace("{", "{at: [level, loud], min_matches: 3} #"),
        "KC6002",
        5,
        "there are 2 places",
    ),
    (
        "a number beside itself",
        RULE.replace("bound", "relative").replace("metric: level", "metric: level, to: level"),
        "KC6002",
        5,
        "`metric` and `to` are one place",
    ),
    ("another id than its folder", changed("id: loud", "id: quiet"), "KC6005", 1, "quiet"),
    ("newer than its pack", changed("remedy:", "since: 3\nremedy:"), "KC6005", 6, "version 3"),
    ("no day", changed("remedy:", "effective_on: soon\nremedy:"), "KC6002", 6, "effective_on"),
    (
        "a day with a time",
        changed("remedy:", "effective_on: 2026-12-01T00:00:00Z\nremedy:"),
        "KC6002",
        6,
        "effective_on",
    ),
    ("a day of no calendar", changed("remedy:", "effective_on: 2026-02-29\nremedy:"), "KC6002", 6, "no day of the"),
    ("an empty day", changed("remedy:", "effective_on: ''\nremedy:"), "KC6002", 6, "effective_on"),
    (
        "a day of a warning",
        changed("remedy:", "mode: warn\neffective_on: 2026-12-01\nremedy:"),
        "KC6002",
        1,
        "never does",
    ),
    ("a phase of a warning", changed("remedy:", "mode: warn\nphase: release\nremedy:"), "KC6002", 1, "never does"),
    (
        "a phase that nothing enforces",
        changed("remedy:", "phase: post-step\nremedy:"),
        "KC6002",
        6,
        "'report' or 'release'",
    ),
    ("a duplicate key", changed("remedy:", "kind: genuine\nremedy:"), "KC1011", 6, "duplicate"),
    ("a tab", changed("remedy: ", "remedy:\t\n\t"), "KC1009", 7, "tab"),
]


@pytest.mark.parametrize(("claim", "rule", "code", "line", "words"), WRONG_RULES, ids=[case[0] for case in WRONG_RULES])
def test_a_wrong_rule_is_an_error_at_its_line(
    tmp_path: Path, claim: str, rule: str, code: str, line: int, words: str
) -> None:
    problem = lab(tmp_path, rule=rule).problems[0]
    assert (problem.code, problem.severity, problem.file) == (code, "error", "policies/lab/loud/rule.yaml")
    assert words in problem.summary
    assert problem.line == line, claim


@pytest.mark.parametrize(
    ("rule", "help_"),
    [
        (changed('threshold: "0.5", ', ""), "give `expect: {from: …}`, or a threshold"),
        (changed("remedy:", "expect: {from: x}\nremedy:"), "remove one of the two"),
    ],
)
def test_what_a_rule_compares_with_is_asked_for_or_is_too_much(tmp_path: Path, rule: str, help_: str) -> None:
    assert [one.help for one in lab(tmp_path, rule=rule).problems] == [help_]


@pytest.mark.parametrize("metric", ["'levels.*'", "'levels[*]'", "'levels[?name=a]'", "[level, loudness]"])
def test_as_many_places_may_be_demanded_as_paths_can_lead_to(tmp_path: Path, metric: str) -> None:
    rule = changed("metric: level", f"min_matches: 2, metric: {metric}")
    assert [one.code for one in lab(tmp_path, rule=rule).problems] == []


def test_suggestions_reach_into_the_parameters(tmp_path: Path) -> None:
    assert "`threshold`" in lab(tmp_path, rule=changed("threshold:", "treshold:")).problems[0].help
    assert "`min_n`" in lab(tmp_path, rule=changed("unit:", "need: {minn: 3}, unit:")).problems[0].help
    assert "`remedy`" in lab(tmp_path, rule=changed("remedy:", "remdy:")).problems[0].help
    assert "`bound`" in lab(tmp_path, rule=changed("kind: bound", "kind: bounds")).problems[0].help


def test_who_asks_for_waivers_is_told_who_must_approve_them_and_the_advice_loads(tmp_path: Path) -> None:
    waivable = changed("kind:", "waivable: true\nkind:")
    problem = lab(tmp_path, rule=waivable).problems[0]
    assert problem.help == "add `approvers` and `approval` to pack.yaml, or leave `waivable` out"
    assert lab(tmp_path, pack=PACK + excuses.PACK.partition("min_n: 1\n")[2], rule=waivable).problems == ()
    assert lab(tmp_path).problems == ()


WRONG_PACKS = [
    ("another name than its folder", PACK.replace("lab", "labs"), "KC6005"),
    ("an unknown key", PACK + "rules: []\n", "KC6002"),
    ("no version", PACK.replace("version: 2\n", ""), "KC6002"),
    ("a tier that is none", PACK + "risk_tiers: [4]\n", "KC6002"),
    ("no tier", PACK + "risk_tiers: []\n", "KC6002"),
]


@pytest.mark.parametrize(("claim", "pack", "code"), WRONG_PACKS, ids=[case[0] for case in WRONG_PACKS])
def test_a_wrong_pack_is_an_error(tmp_path: Path, claim: str, pack: str, code: str) -> None:
    assert [problem.code for problem in lab(tmp_path, pack=pack).problems] == [code], claim


def test_a_rule_in_a_misspelt_file_is_an_error(tmp_path: Path) -> None:
    lab(tmp_path)
    folder = tmp_path / "policies" / "lab" / "loud"
    (folder / "rule.yaml").rename(folder / "rule.yml")
    problems = policy.load(["lab"], [tmp_path / "policies"]).problems
    assert [(problem.code, problem.file) for problem in problems] == [("KC6002", "policies/lab/loud/rule.yaml")]


def test_a_pack_without_rules_is_an_error(tmp_path: Path) -> None:
    lab(tmp_path)
    shutil.rmtree(tmp_path / "policies" / "lab" / "loud")
    assert [problem.code for problem in policy.load(["lab"], [tmp_path / "policies"]).problems] == ["KC6006"]


@pytest.mark.parametrize("name", ["lap", "caws", "../lab", "/lab", "lab/", "Lab", "lab//x", ".", "caws/../lab", ""])
def test_a_name_that_is_no_pack_is_refused(tmp_path: Path, name: str) -> None:
    """Also one that would lead out of the folder of packs."""
    lab(tmp_path)
    found = policy.load([name], [tmp_path / "policies", SHIPPED])
    assert [problem.code for problem in found.problems] == ["KC6001"]
    assert found.packs == ()


def test_the_nearest_name_is_suggested(tmp_path: Path) -> None:
    lab(tmp_path)
    assert "`lab`" in policy.load(["lap"], [tmp_path / "policies", SHIPPED]).problems[0].help
    assert "`caws/core`" in policy.load(["caws/cor"], [tmp_path / "policies", SHIPPED]).problems[0].help


def test_a_pack_may_not_be_a_link_out_of_the_project(tmp_path: Path) -> None:
    lab(tmp_path / "elsewhere")
    root = tmp_path / "here" / "policies"
    root.mkdir(parents=True)
    (root / "lab").symlink_to(tmp_path / "elsewhere" / "policies" / "lab")
    assert [problem.code for problem in policy.load(["lab"], [root]).problems] == ["KC6001"]


def test_a_checkout_of_the_compiler_holds_what_its_installation_holds(tmp_path: Path) -> None:
    """`pip install .` and then the shipped spec in the checkout: both have the packs, and they are the same."""
    own = tmp_path / "policies" / "caws" / "core"
    shutil.copytree(SHIPPED / "caws" / "core", own)
    # what a file manager leaves behind is no rule
    (own / ".DS_Store").write_bytes(b"x")
    roots = [tmp_path / "policies", SHIPPED]
    found = policy.load(["caws/core"], roots)
    assert (found.problems, len(found.packs)) == ((), 1)
    rule = sorted(own.glob("*/rule.yaml"))[0]
    text = rule.read_bytes()
    rule.write_bytes(text + b"\n")
    assert [one.code for one in policy.load(["caws/core"], roots).problems] == ["KC6007"]
    rule.write_bytes(text)
    (own / "more.yaml").write_bytes(b"")
    assert [one.code for one in policy.load(["caws/core"], roots).problems] == ["KC6007"]


def test_a_pack_of_the_project_may_not_have_the_name_of_a_shipped_one(tmp_path: Path) -> None:
    """One rule of 27 under the shipped name passed for all of them."""
    own = tmp_path / "policies" / "caws" / "core"
    shutil.copytree(SHIPPED / "caws" / "core", own)
    for folder in [path for path in own.iterdir() if path.is_dir()][1:]:
        shutil.rmtree(folder)
    found = policy.load(["caws/core"], [tmp_path / "policies", SHIPPED])
    assert found.packs == ()
    assert [(one.code, one.file) for one in found.problems] == [("KC6007", "policies/caws/core/pack.yaml")]
    # following the advice
    own.rename(tmp_path / "policies" / "caws" / "own")
    (tmp_path / "policies" / "caws" / "own" / "pack.yaml").write_text(
        (SHIPPED / "caws" / "core" / "pack.yaml").read_text().replace("name: caws/core", "name: caws/own")
    )
    found = policy.load(["caws/core", "caws/own"], [tmp_path / "policies", SHIPPED])
    assert found.problems == ()
    assert [pin["pack"] for pin in found.pins()] == ["caws/core", "caws/own"]


def test_the_shipped_packs_may_be_the_projects_own() -> None:
    """In a checkout of kcompiler itself both folders are one."""
    assert policy.load(["caws/core"], [SHIPPED, SHIPPED]).problems == ()


TOOLS = changed("eval.sound", "eval.tool_use")


@pytest.mark.parametrize(
    ("rule", "said", "help_"),
    [
        (TOOLS.replace("level", "runners.student.spanf1"), "no report `eval.tool_use` has a number", "`span_f1`"),
        (TOOLS.replace("level", "runners.studnt.span_f1"), "`runners.studnt.span_f1`", "`student`"),
        (TOOLS.replace("level", "[runners.student.span_f1, row]"), "at `row`", "`rows`"),
        (TOOLS.replace("level", "runners.student"), "has a number at `runners.student`", "leads to a number"),
        (TOOLS.replace("level", "runners.student.span_f1.value"), "has a number", ""),
        (TOOLS.replace("level", "'runners[*].span_f1'"), "has a number", "student"),
        (
            changed("eval.sound", '"eval.*"').replace("level", "rows").replace("ratio", "row"),
            "no report `eval.answers`",
            "",
        ),
        (
            changed("eval.sound", "coreml.parity").replace("level", "'variants[?variant=fp16].shapes[*].cosin'"),
            "no report `coreml.parity`",
            "`cosine`",
        ),
        (
            changed("eval.sound", "coreml.parity").replace("level", "'variants[?varient=fp16].decode.cosine'"),
            "no report `coreml.parity`",
            "`variant`",
        ),
        (
            changed("eval.sound", "probes").replace("level", "'probes[?subject=function].max_abs_difference'"),
            "no report `probes`",
            "`functions`",
        ),
        (
            changed("eval.sound", "probes")
            .replace("bound", "all_true")
            .replace(
                '{metric: level, op: ">=", threshold: "0.5", unit: ratio}', '{at: "probes[*].max_abs_difference"}'
            ),
            "has a flag at",
            "leads to a flag",
        ),
        (
            changed("eval.sound", "probes")
            .replace("bound", "covers")
            .replace(
                '{metric: level, op: ">=", threshold: "0.5", unit: ratio}', "{each: 'probes[*]', identifiers: name}"
            )
            + "expect: {value: [a]}\n",
            "at `probes[*].name`",
            "probe",
        ),
        (
            TOOLS.replace("bound", "relative")
            .replace("metric: level", "metric: rows, to: overlap_exct, of: data.splits")
            .replace("ratio", "row"),
            "no report `data.splits` has a number at `overlap_exct`",
            "`overlap_exact`",
        ),
        (
            TOOLS.replace("bound", "genuine").replace(
                '{metric: level, op: ">=", threshold: "0.5", unit: ratio}', "{measured: [rws]}"
            ),
            "at `rws`",
            "`rows`",
        ),
    ],
)
def test_a_path_that_leads_nowhere_in_the_report_is_an_error(tmp_path: Path, rule: str, said: str, help_: str) -> None:
    problems = lab(tmp_path, rule=rule).problems
    assert {(one.code, one.file, one.line) for one in problems} == {("KC6014", "policies/lab/loud/rule.yaml", 5)}
    assert said in problems[0].summary
    assert help_ in problems[0].help


@pytest.mark.parametrize(
    ("on", "metric", "unit"),
    [
        ("eval.tool_use", "runners.student.by_tool.*.span_f1", "ratio"),
        ("eval.tool_use", "runners.*.span_f1", "ratio"),
        ("eval.answers", "kl.student.by_class.*", "nat/question"),
        ("training", "terms.*.final", "nat/token"),
        ("training", "'total[*].value'", "nat/token"),
        ("run", "steps.*.wall", "s"),
        ("run", "steps.train-kd.wall", "s"),
    ],
)
def test_a_path_may_lead_through_names_that_differ_from_report_to_report(
    tmp_path: Path, on: str, metric: str, unit: str
) -> None:
    rule = changed("eval.sound", on).replace("level", metric).replace("ratio", unit)
    assert lab(tmp_path, rule=rule).problems == ()


@pytest.mark.parametrize(
    ("on", "params", "unit", "label", "help_"),
    [
        ("eval.language_model", "metric: kd_gain", "nat", "another unit", "write `unit: nat/token`"),
        ("eval.choice", "metric: corrected.student", "ratio", "another unit", 'write `unit: "1"`'),
        ("run", "metric: [cpu, bytes]", "s", "another unit", "write `unit: B`"),
        ("run", "metric: 'steps.convert.*'", "s", "there: `1`, `B`, `count`, `s`, `token`", "a rule for each"),
    ],
)
def test_a_rule_speaks_of_the_unit_of_its_report(
    tmp_path: Path, on: str, params: str, unit: str, label: str, help_: str
) -> None:
    rule = changed("eval.sound", on).replace("metric: level", params).replace("ratio", unit)
    problems = lab(tmp_path, rule=rule).problems
    assert [(one.code, one.line, one.label) for one in problems] == [("KC6020", 5, label)]
    assert help_ in problems[0].help
    if "write" in help_:
        written = problems[0].help.partition("`")[2].partition("`")[0].removeprefix("unit: ")
        followed = changed("eval.sound", on).replace("metric: level", params.replace("[cpu, bytes]", "bytes"))
        assert lab(tmp_path, rule=followed.replace("ratio", written)).problems == ()


@pytest.mark.parametrize(
    ("other", "code"), [("accuracy.teacher", []), ("of_teacher", ["KC6020"]), ("chance", ["KC6020"])]
)
def test_both_sides_and_their_difference_are_in_one_unit(tmp_path: Path, other: str, code: list[str]) -> None:
    """A paired difference of two rates is in items of items, which nobody writes."""
    sides = f"metric: accuracy.student, to: {other}, paired: kd_gain"
    rule = changed("eval.sound", "eval.choice").replace("bound", "relative").replace("metric: level", sides)
    assert [one.code for one in lab(tmp_path, rule=rule).problems] == code
    lost = rule.replace("paired: kd_gain", "paired: corrected.student")
    assert [one.code for one in lab(tmp_path, rule=lost).problems] == [*code, "KC6020"]


@pytest.mark.parametrize(("identifiers", "codes"), [("'choices[*]'", []), ("accuracy", ["KC6014"])])
def test_a_plain_text_is_a_name_and_an_object_is_none(tmp_path: Path, identifiers: str, codes: list[str]) -> None:
    rule = changed("eval.sound", "eval.choice").replace("bound", "covers") + "expect: {value: [a]}\n"
    params = '{metric: level, op: ">=", threshold: "0.5", unit: ratio}'
    found = lab(tmp_path, rule=rule.replace(params, f"{{identifiers: {identifiers}}}")).problems
    assert [one.code for one in found] == codes


def test_a_pack_named_twice_counts_once(tmp_path: Path) -> None:
    lab(tmp_path)
    assert len(policy.load(["lab", "lab"], [tmp_path / "policies"]).packs) == 1


def test_comments_layout_and_cases_do_not_change_the_digest(tmp_path: Path) -> None:
    first = lab(tmp_path).pins()
    (tmp_path / "policies" / "lab" / "loud" / "pass.json").write_text("{}")
    lines = RULE.splitlines(keepends=True)
    assert lab(tmp_path, rule="# why\r\n" + "".join(reversed(lines)).replace("\n", "\r\n")).pins() == first


@pytest.mark.parametrize("rule", [changed("0.5", "0.4"), changed(">=", ">"), changed("turn it up", "turn it on")])
def test_meaning_changes_the_digest(tmp_path: Path, rule: str) -> None:
    assert lab(tmp_path).pins() != lab(tmp_path, rule=rule).pins()


def test_every_pack_is_found() -> None:
    assert policy.available([SHIPPED]) == [
        "caws/core",
        "caws/tier-1",
        "caws/tier-2",
        "caws/tier-3",
        "data",
        "device/attested",
        "device/resident",
        "evaluation",
        "export-coreml",
        "performance",
        "quality/bfcl",
        "quality/gold",
        "quality/integration",
        "quality/judged",
        "quality/learning",
        "quality/needle",
        "quality/original",
        "quality/parity",
        "quality/preference",
        "quality/scenarios",
        "quality/transfer",
        "quantization",
        "release",
        "reproducibility",
        "roles/choice",
        "roles/choice-share",
        "roles/drafter",
        "roles/drafter-speed",
        "roles/judge",
        "roles/judge-speed",
        "roles/worker",
        "roles/worker-speed",
        "speed/measured",
        "speed/regression",
        "training",
    ]
