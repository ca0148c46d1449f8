"""Every rule that applies becomes an obligation of a step; one that could never be decided is found before the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kcompiler import policy
from kcompiler.policy.obligation import Obligation
from kcompiler.policy.oblige import ungated
from tests.unit.kcompiler.policy.test_load import PACK, RULE, changed, lab

SPEC: dict[str, Any] = {
    "risk_tier": 3,
    "shapes": {"prefill": [64, 128]},
    "evaluation": {"suites": [{"use": "sound"}, {"use": "light"}]},
    "budgets": {"wall_s": 240.0, "cpu_s": 240.0},
    "teacher": {"source": "bootstrap", "store": None},
    "empty": {"suites": []},
}
#: the same about a report that some step makes in some spec
KNOWN = changed("eval.sound", "eval.gold").replace("level", "items").replace("ratio", "item")
SOUND = {"eval.sound": ["evaluate-sound"]}
COVERS = """\
id: loud
title: All the shapes are there
on: eval.sound
kind: covers
params: {identifiers: "shapes[*].name"}
expect: {from: shapes.prefill, format: "prefill_{}", plus: [decode]}
remedy: make them
"""


def made(
    folder: Path, rule: str = RULE, spec: Any = None, producers: Any = None
) -> tuple[list[dict[str, Any]], list[Any]]:
    return policy.obligations(
        lab(folder, rule=rule), SPEC if spec is None else spec, SOUND if producers is None else producers
    )


def test_an_obligation_says_what_who_and_how(tmp_path: Path) -> None:
    obligations, problems = made(tmp_path)
    assert problems == []
    assert obligations == [
        {
            "rule": "lab/loud",
            "pack": "lab@2",
            "title": "The sound is loud",
            "mode": "block",
            "reason": "",
            "report": "eval.sound",
            "from": "step:evaluate-sound",
            "kind": "bound@1",
            "params": {
                "metric": ["level"],
                "op": ">=",
                "threshold": "0.5",
                "unit": "ratio",
                "need": {"tag": "measured", "min_n": 1},
                "on": "point",
                "min_matches": 1,
            },
            "expect": None,
            "remedy": "turn it up",
        }
    ]
    Obligation.model_validate(obligations[0])


@pytest.mark.parametrize(
    ("said", "timing"),
    [
        ("", {}),
        ("phase: report\n", {}),
        ("phase: release\n", {"phase": "release"}),
        ("effective_on: 2026-12-01\n", {"effective_on": "2026-12-01"}),
        ("effective_on: '2028-02-29'\nphase: release\n", {"phase": "release", "effective_on": "2028-02-29"}),
    ],
)
def test_when_a_rule_blocks_stands_in_its_obligation(tmp_path: Path, said: str, timing: dict[str, str]) -> None:
    obligations, problems = made(tmp_path, changed("remedy:", f"{said}remedy:"))
    assert problems == []
    assert {key: obligations[0][key] for key in ("phase", "effective_on") if key in obligations[0]} == timing
    Obligation.model_validate(obligations[0])


@pytest.mark.parametrize(
    ("on", "kinds"),
    [
        ("eval.sound", ["eval.sound"]),
        ("eval.*", ["eval.light", "eval.sound"]),
        ('"*"', ["eval.light", "eval.sound", "evaluation", "run"]),
        ("run", ["run"]),
        ("eval", []),
    ],
)
def test_a_pattern_covers_the_kinds_below_it(tmp_path: Path, on: str, kinds: list[str]) -> None:
    producers = {"eval.sound": ["a"], "eval.light": ["b"], "evaluation": ["c"], "run": ["apply"]}
    obligations, _ = made(tmp_path, changed("eval.sound", on), producers=producers)
    assert sorted(one["report"] for one in obligations) == kinds


def test_each_step_that_makes_the_report_owes_it(tmp_path: Path) -> None:
    obligations, _ = made(tmp_path, producers={"eval.sound": ["b", "a"]})
    assert [one["from"] for one in obligations] == ["step:a", "step:b"]


def test_a_rule_nobody_can_feed_is_an_error(tmp_path: Path) -> None:
    obligations, problems = made(tmp_path, KNOWN, producers={"run": ["apply"]})
    assert obligations == []
    assert [(one.code, one.severity, one.line) for one in problems] == [("KC6010", "error", 3)]


def test_a_warning_nobody_can_feed_is_a_warning(tmp_path: Path) -> None:
    _, problems = made(tmp_path, KNOWN.replace("kind:", "mode: warn\nkind:"), producers={})
    assert [(one.code, one.severity) for one in problems] == [("KC6010", "warning")]


def test_a_skipped_rule_needs_no_feeding_and_stays_visible(tmp_path: Path) -> None:
    rule = changed("kind:", "mode: skip\nreason: no microphone\nkind:")
    assert made(tmp_path, rule, producers={}) == ([], [])
    obligations, _ = made(tmp_path, rule)
    assert [(one["mode"], one["reason"]) for one in obligations] == [("skip", "no microphone")]


@pytest.mark.parametrize(("has", "applies"), [("sound", True), ("light", True), ("tool_use", False)])
def test_a_rule_applies_when_the_spec_says_so(tmp_path: Path, has: str, applies: bool) -> None:
    """And where it does not apply, nobody has to feed it."""
    rule = KNOWN.replace("kind:", f'when: {{spec: "evaluation.suites[*].use", has: {has}}}\nkind:')
    producers = {"eval.gold": ["evaluate-gold"]} if applies else {}
    obligations, problems = made(tmp_path, rule, producers=producers)
    assert (len(obligations), problems) == (int(applies), [])


def test_a_condition_on_an_empty_list_is_false(tmp_path: Path) -> None:
    rule = changed("kind:", 'when: {spec: "evaluation.suites[*].use", has: answers}\nkind:')
    assert made(tmp_path, rule, {**SPEC, "evaluation": {"suites": []}}) == ([], [])


#: condition → whether the rule applies to `FULL`, or the code and the words of what is wrong with it
CONDITIONS: list[tuple[str, str, bool | tuple[str, str, str]]] = [
    ("risk_tier", "3", True),
    ("risk_tier", '"3"', True),
    ("risk_tier", "3.0", True),
    ("risk_tier", "[1, 2]", False),
    ("risk_tier", "[2, 3]", True),
    ("risk_tier", "4", ("KC6015", "can never be `4`", "at most 3")),
    ("risk_tier", "0", ("KC6015", "can never be `0`", "at least 1")),
    ("risk_tier", "high", ("KC6015", "can never be `high`", "integer")),
    ("risk_tier", "1.5", ("KC6015", "can never be `1.5`", "integer")),
    ("risk_tier", "true", ("KC6015", "can never be `true`", "integer")),
    ("risk_teir", "3", ("KC6011", "nothing at `risk_teir`", "`risk_tier`")),
    ("data.held_out", "0.05", True),
    ("data.held_out", '"0.050"', True),
    ("data.held_out", "0.5", False),
    ("training.stages[*].lora", "true", ("KC6011", "nothing at", "")),
    ("teacher.source", "bootstrap", True),
    ("teacher.source", "[openai, recorded]", False),
    ("teacher.source", "bootstrp", ("KC6015", "can never be `bootstrp`", "`bootstrap`")),
    ("teacher.source", "[openai, recordd]", ("KC6015", "can never be `recordd`", "`recorded`")),
    ("teacher.allow_missing", "0", False),
    ("teacher.allow_misssing", "0", ("KC6011", "nothing at", "`allow_missing`")),
    ("evaluation.suites[*].use", "answers", True),
    ("evaluation.suites[*].use", "tool_us", ("KC6015", "can never be `tool_us`", "`tool_use`")),
    ("evaluation.suites[*].us", "answers", ("KC6011", "nothing at", "use")),
    ("evaluation.suites.use", "answers", ("KC6011", "nothing at", "")),
    ("evaluation.suites", "answers", ("KC6015", "is a list", "`evaluation.suites[*]`")),
    ("evaluation.suites[*]", "answers", ("KC6015", "is an object", "")),
    ("evaluation", "answers", ("KC6015", "is an object", "`evaluation.<key>`")),
    ("data.targets", "response", ("KC6015", "is a list", "`data.targets[*]`")),
    ("data.targets[*]", "response", True),
    ("data.targets[*]", "tool_name", False),
    ("metadata.name", "anything", False),
    ("metadata.name", "lab", True),
    ("data.sources[*].fields.prompt", "question", True),
    ("data.sources[*].fields.prompt", "answer", False),
    ("data.sources[*].fields.promt", "question", ("KC6011", "nothing at `data.sources[*].fields.promt`", "`prompt`")),
    ("student.architecture.tie_word_embeddings", "true", True),
    ("student.architecture.tie_word_embeddings", "false", False),
    ("student.architecture.tie_word_embeddings", "yes_", ("KC6015", "can never be `yes_`", "boolean")),
]
FULL: dict[str, Any] = {
    **SPEC,
    "metadata": {"name": "lab"},
    "student": {"architecture": {"tie_word_embeddings": True}},
    "data": {"held_out": 0.05, "targets": ["response"], "sources": [{"fields": {"prompt": "question"}}]},
    "evaluation": {"suites": [{"use": "answers"}]},
}


@pytest.mark.parametrize(("spec", "has", "wanted"), CONDITIONS, ids=[f"{one[0]} has {one[1]}" for one in CONDITIONS])
def test_a_condition_means_what_is_written_or_is_an_error(
    tmp_path: Path, spec: str, has: str, wanted: bool | tuple[str, str, str]
) -> None:
    rule = changed("kind:", f'when: {{spec: "{spec}", has: {has}}}\nkind:')
    obligations, problems = made(tmp_path, rule, FULL)
    if isinstance(wanted, bool):
        assert (len(obligations), problems) == (int(wanted), [])
        return
    assert obligations == []
    assert [(one.code, one.line) for one in problems] == [(wanted[0], 4)]
    assert wanted[1] in problems[0].summary
    assert wanted[2] in problems[0].help


@pytest.mark.parametrize(
    ("spec", "given", "there"),
    [
        ("student.cut", {"student": {"cut": {"rows": 64}}}, True),
        ("data.held_out", {"data": {"held_out": 0}}, True),
        (
            "training.stages[*].gradient_checkpointing",
            {"training": {"stages": [{"gradient_checkpointing": False}]}},
            True,
        ),
        ("student.cut", {}, False),
        ("student.cut", {"student": {"cut": None}}, False),
        ("student.cut", {"student": {"cut": {}}}, False),
        ("training.stages", {"training": {"stages": []}}, False),
        ("tokenizer.template", {"tokenizer": {"template": ""}}, False),
    ],
)
def test_a_condition_asks_whether_anything_is_there(
    tmp_path: Path, spec: str, given: dict[str, Any], there: bool
) -> None:
    """Zero and false are something; what is empty or absent is nothing."""
    for wanted in (True, False):
        rule = changed("kind:", f"when: {{spec: '{spec}', some: {str(wanted).lower()}}}\nkind:")
        obligations, problems = made(tmp_path, rule, {**SPEC, **given})
        assert (len(obligations), problems) == (int(there is wanted), [])


@pytest.mark.parametrize("has", ["[]", '""', "null", "{a: 1}", "[[3]]"])
def test_a_condition_has_something_to_be_met_by(tmp_path: Path, has: str) -> None:
    _, problems = made(tmp_path, changed("kind:", f"when: {{spec: risk_tier, has: {has}}}\nkind:"), FULL)
    assert {one.code for one in problems} == {"KC6002"}


BESIDE = RULE.replace("bound", "relative").replace("metric: level", "metric: level, to: level, of: eval.light")


@pytest.mark.parametrize(
    ("makers", "label"),
    [([], "none does"), (["b", "a"], "these do: a, b"), (["apply"], "")],
    ids=["none", "two", "one"],
)
def test_a_report_to_compare_with_is_made_by_one_step(tmp_path: Path, makers: list[str], label: str) -> None:
    obligations, problems = made(tmp_path, BESIDE, producers={**SOUND, "eval.light": makers})
    assert [(one.code, one.label) for one in problems] == ([("KC6013", label)] if label else [])
    assert [one["against"] for one in obligations] == ([] if label else ["step:apply"])


def test_a_report_is_not_compared_with_itself(tmp_path: Path) -> None:
    """By name it is another report; the plan knows that one step makes both."""
    itself = BESIDE.replace("of: eval.light", "of: eval.sound")
    obligations, problems = made(tmp_path, itself, producers=SOUND)
    assert obligations == []
    assert [(one.code, one.label) for one in problems] == [("KC6013", "the rule is about this report")]
    assert "leave `of` out" in problems[0].help
    followed = itself.replace("to: level, of: eval.sound", "to: other")
    assert made(tmp_path, followed, producers=SOUND)[1] == []


def test_only_a_blocking_comparison_gates_a_report(tmp_path: Path) -> None:
    kinds = {"eval.sound": ["evaluate-sound"], "eval.light": ["evaluate-light"], "training": ["train-kd"]}
    for rule, left in (
        (RULE, ["eval.light"]),
        (changed("kind:", "mode: warn\nkind:"), ["eval.light", "eval.sound"]),
        (COVERS, ["eval.light", "eval.sound"]),
    ):
        obligations, problems = made(tmp_path, rule)
        assert (len(obligations), problems) == (1, [])
        assert ungated(obligations, kinds) == left


def test_the_advice_about_a_list_works(tmp_path: Path) -> None:
    _, problems = made(tmp_path, changed("kind:", "when: {spec: data.targets, has: response}\nkind:"), FULL)
    path = problems[0].help.split("`")[1]
    again = changed("kind:", f'when: {{spec: "{path}", has: response}}\nkind:')
    assert [len(found) for found in made(tmp_path, again, FULL)] == [1, 0]


def test_a_misspelt_condition_is_an_error(tmp_path: Path) -> None:
    """Else the rule would never apply, and nobody would notice."""
    rule = changed("kind:", 'when: {spec: "evaluations.suites[*].use", has: sound}\nkind:')
    obligations, problems = made(tmp_path, rule)
    assert obligations == []
    assert [(one.code, one.line) for one in problems] == [("KC6011", 4)]
    assert "`evaluation`" in problems[0].help


def test_expectations_come_from_the_spec(tmp_path: Path) -> None:
    obligations, problems = made(tmp_path, COVERS)
    assert problems == []
    assert obligations[0]["expect"] == ["prefill_64", "prefill_128", "decode"]
    threshold = changed('threshold: "0.5", ', "").replace("remedy", "expect: {from: budgets.wall_s}\nremedy")
    assert made(tmp_path, threshold)[0][0]["expect"] == 240.0
    literal = COVERS.replace('from: shapes.prefill, format: "prefill_{}", plus: [decode]', "value: [a, b]")
    assert made(tmp_path, literal)[0][0]["expect"] == ["a", "b"]
    several = COVERS.replace(
        'from: shapes.prefill, format: "prefill_{}", plus: [decode]', 'from: "evaluation.suites[*].use"'
    )
    assert made(tmp_path, several)[0][0]["expect"] == ["sound", "light"]


@pytest.mark.parametrize(
    "expect",
    [
        "{from: shape.prefill}",
        "{from: shapes.prefil}",
        "{from: budgets.wall_s}",
        "{value: []}",
        "{value: [a, a]}",
        "{value: a}",
    ],
)
def test_an_expectation_of_no_use_is_an_error(tmp_path: Path, expect: str) -> None:
    rule = COVERS.replace('{from: shapes.prefill, format: "prefill_{}", plus: [decode]}', expect)
    obligations, problems = made(tmp_path, rule)
    assert obligations == []
    assert [one.code for one in problems] == ["KC6011"]


def test_a_pack_of_another_tier_is_an_error(tmp_path: Path) -> None:
    loaded = lab(tmp_path, pack=PACK + "risk_tiers: [1, 2]\n")
    _, problems = policy.obligations(loaded, SPEC, SOUND)
    assert [(one.code, one.file) for one in problems] == [("KC6012", "policies/lab/pack.yaml")]
    assert policy.obligations(loaded, {**SPEC, "risk_tier": 2}, SOUND)[1] == []


def test_problems_of_the_packs_are_reported_too(tmp_path: Path) -> None:
    loaded = lab(tmp_path, rule=changed("kind: bound", "kind: bounds"))
    assert [one.code for one in policy.obligations(loaded, SPEC, SOUND)[1]] == ["KC6003"]


def test_the_order_of_packs_and_steps_does_not_matter(tmp_path: Path) -> None:
    first, _ = made(tmp_path, changed("eval.sound", "eval.*"), producers={"eval.b": ["x"], "eval.a": ["y"]})
    second, _ = made(tmp_path, changed("eval.sound", "eval.*"), producers={"eval.a": ["y"], "eval.b": ["x"]})
    assert first == second


TRAININGS = {"eval.sound": ["several", "alone", "bare", "unknown"]}
PARAMS: dict[str, dict[str, Any]] = {
    "several": {"losses": [{"term": "kl"}, {"term": "ce"}]},
    "alone": {"losses": [{"term": "kl"}]},
    "bare": {"steps": 3},
}


@pytest.mark.parametrize(
    ("at_least", "asked"), [(1, ["several", "alone", "unknown"]), (2, ["several", "unknown"]), (3, ["unknown"])]
)
def test_a_rule_is_about_the_steps_whose_parameters_it_names(tmp_path: Path, at_least: int, asked: list[str]) -> None:
    """Of a step whose parameters are not known it is asked: nothing is left out for want of knowledge."""
    rule = changed("kind:", f'where: {{step: "losses[*].term", at_least: {at_least}}}\nkind:')
    found, problems = policy.obligations(lab(tmp_path, rule=rule), SPEC, TRAININGS, PARAMS)
    assert problems == []
    assert [one["from"].removeprefix("step:") for one in found] == sorted(asked)


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("{step: steps, has: 3}", ["bare", "unknown"]),
        ("{step: steps, has: 4}", ["unknown"]),
        ('{step: "losses[*].term", has: ce}', ["several", "unknown"]),
        ('{step: "losses[*].term", has: kl}', ["several", "alone", "unknown"]),
    ],
)
def test_a_rule_is_about_the_steps_whose_parameters_have_a_value(tmp_path: Path, where: str, asked: list[str]) -> None:
    rule = changed("kind:", f"where: {where}\nkind:")
    found, problems = policy.obligations(lab(tmp_path, rule=rule), SPEC, TRAININGS, PARAMS)
    assert problems == []
    assert [one["from"].removeprefix("step:") for one in found] == sorted(asked)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("{step: steps, has: 3}", "steps: 3"),
        ("{step: keeps_states, has: false}", "keeps_states: false"),
        ('{step: "losses[*].term", at_least: 2}', "at least 2 of losses[*].term"),
    ],
)
def test_whom_a_rule_is_for_is_said_in_words(tmp_path: Path, where: str, said: str) -> None:
    packs = lab(tmp_path, rule=changed("kind:", f"where: {where}\nkind:")).packs
    assert [rule.rule.where.said for pack in packs for rule in pack.rules if rule.rule.where] == [said]


def test_a_parameter_that_no_step_has_is_an_error(tmp_path: Path) -> None:
    rule = changed("kind:", 'where: {step: "loss[*].term", at_least: 1}\nkind:')
    known = {"eval.sound": ["several", "alone"]}
    found, problems = policy.obligations(lab(tmp_path, rule=rule), SPEC, known, PARAMS)
    assert (found, [one.code for one in problems]) == ([], ["KC6026"])
    assert "several, alone" in problems[0].help


@pytest.mark.parametrize(
    "where",
    [
        "{step: losses}",
        "{step: losses, at_least: 0}",
        "{step: losses, at_least: 1, has: 3}",
        "{at_least: 1}",
        "{step: '[*]', at_least: 1}",
    ],
)
def test_where_says_what_and_how_many(tmp_path: Path, where: str) -> None:
    _, problems = made(tmp_path, changed("kind:", f"where: {where}\nkind:"))
    assert [one.code for one in problems] == ["KC6002"]


@pytest.mark.parametrize(
    ("conditions", "conditional"),
    [
        ("", False),
        ('when: {spec: "evaluation.suites[*].use", has: sound}\n', True),
        ("where: {step: steps, at_least: 1}\n", True),
        ('when: {spec: "evaluation.suites[*].use", has: sound}\nwhere: {step: steps, at_least: 1}\n', True),
    ],
)
def test_a_rule_that_is_not_for_everything_says_so(tmp_path: Path, conditions: str, conditional: bool) -> None:
    """An auditor counts on it: a rule that is for every spec cannot have been left out."""
    packs = lab(tmp_path, rule=changed("kind:", f"{conditions}kind:"))
    assert packs.problems == ()
    assert [one.rule.conditional for pack in packs.packs for one in pack.rules] == [conditional]
