"""Each outcome says what decided it, at which line and which place, how far from the bound, and what would change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.policy import counterfactual
from kcompiler.policy.explained import records
from kcompiler.render import human_run
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import bound, number, obligation, report
from tests.unit.kcompiler.policy.test_assert import SAMPLE
from tests.unit.kcompiler.policy.test_load import RULE, lab

SCHEMA = json.loads((assets.folder("schemas") / "explanation.schema.json").read_text(encoding="utf-8"))


def said(datum: object, op: str, threshold: str, *, kind: str = "bound@1", **params: Any) -> str:
    """The counterfactual of one rule over one datum."""
    unit = "ratio" if isinstance(datum, dict) and "k" in datum else "1"
    made = obligation(bound("x", op, threshold, unit=unit, **params), kind=kind)
    outcome = judge({"measure": report({"x": datum})}, [made]).to_json()["outcomes"][0]
    found = counterfactual.of(made, outcome, datum)
    # the verdict itself says it of what does not pass, and leaves out what it has not
    assert outcome.get("counterfactual") == (found if found and outcome["outcome"] != "pass" else None)
    return found


def rate(k: int, n: int = 30) -> dict[str, Any]:
    return facts.rate(k, n)


@pytest.mark.parametrize(
    ("datum", "op", "threshold", "more", "words"),
    [
        (rate(26), ">=", "0.9", {}, "passes from 0.9 on: 27 of 30 items or more, and there are 26"),
        (rate(27), ">=", "0.9", {}, "passes from 0.9 on: 27 of 30 items or more, and there are 27"),
        (rate(27), ">", "0.9", {}, "passes above 0.9: 28 of 30 items or more, and there are 27"),
        (rate(4), "<=", "0.1", {}, "passes up to 0.1: 3 of 30 items or fewer, and there are 4"),
        (rate(3), "<", "0.1", {}, "passes below 0.1: 2 of 30 items or fewer, and there are 3"),
        (rate(30), "<", "0", {}, "passes below 0; no outcome of 30 items could"),
        (rate(29), "==", "1", {}, "passes at exactly 1"),
        (rate(0), ">=", "0", {}, "passes from 0 on: 0 of 30 items or more, and there are 0"),
        # the exact lower end of 30 of 30 is 0.905, and of 29 of 30 it is 0.851
        (rate(29), ">=", "0.9", {"on": "low"}, "passes from 0.9 on at its low end: 30 of 30 items or more, and there are 29"),
        (rate(30), ">=", "0.95", {"on": "low"}, "passes from 0.95 on at its low end; no outcome of 30 items could"),
        (rate(1), "<=", "0.1", {"on": "high"}, "passes up to 0.1 at its high end: 0 of 30 items or fewer, and there are 1"),
        (number(0.5), ">=", "0.9", {}, "passes from 0.9 on"),
        (rate(26), ">=", "0.9", {"need": {"min_n": 40}}, "decided from 40 items on; there are 30"),
        (facts.unavailable("gone", "1"), ">=", "0.9", {}, ""),
        ("much", ">=", "0.9", {}, ""),
    ],
)  # fmt: skip
def test_what_would_change_an_outcome_is_exact(
    datum: object, op: str, threshold: str, more: dict[str, Any], words: str
) -> None:
    assert said(datum, op, threshold, **more) == words


@pytest.mark.parametrize("op", [">=", ">", "<=", "<"])
@pytest.mark.parametrize("on", ["point", "end"])
def test_following_it_passes_and_one_item_less_does_not(op: str, on: str) -> None:
    end = "point" if on == "point" else "low" if op in (">=", ">") else "high"
    step = 1 if op in (">=", ">") else -1
    for threshold in ("0.5", "0.8", "0.2"):
        words = said(rate(20, 40), op, threshold, on=end)
        edge = int(words.partition(": ")[2].split()[0])
        made = obligation(bound("x", op, threshold, unit="ratio", on=end))
        found = [
            judge({"measure": report({"x": rate(k, 40)})}, [made]).outcomes[0].outcome for k in (edge, edge - step)
        ]
        assert found == ["pass", "fail"], words


def explained(folder: Path, k: int) -> list[dict[str, Any]]:
    packs = lab(folder)
    made, _ = policy.obligations(packs, {"risk_tier": 3}, {"eval.sound": ["measure"]})
    given = report({"level": rate(k)}, kind="eval.sound")
    verdict = judge({"measure": given}, made).to_json()
    return records(verdict["outcomes"], made, {"measure": given}, packs, packs.pins())


def test_a_record_names_both_places_and_satisfies_its_schema(tmp_path: Path) -> None:
    found = explained(tmp_path, 10)
    assert list(Draft202012Validator(SCHEMA).iter_errors(found)) == []
    (one,) = found
    assert one["rule_at"] == {
        "file": "policies/lab/loud/rule.yaml",
        "line": 5,
        "column": RULE.splitlines()[4].index('"0.5"') + 1,
    }
    assert one["report_at"] == {"step": "measure", "report": "eval.sound", "pointer": "/data/level"}
    assert (one["outcome"], one["observed"], one["threshold"], one["tree"]) == ("fail", "10/30", ">= 0.5", [])
    assert one["counterfactual"] == "passes from 0.5 on: 15 of 30 items or more, and there are 10"
    assert explained(tmp_path, 15)[0]["outcome"] == "pass"
    text = human_run.explanations(found)
    assert "asked by  policies/lab/loud/rule.yaml:5:" in text
    assert "decided   in the report of measure at /data/level" in text
    assert "15 of 30 items or more" in text


def test_no_line_is_told_of_a_pack_that_is_another_one_here(tmp_path: Path) -> None:
    packs = lab(tmp_path)
    made, _ = policy.obligations(packs, {"risk_tier": 3}, {"eval.sound": ["measure"]})
    outcomes = judge({}, made).to_json()["outcomes"]
    pins = [{**packs.pins()[0], "digest": "sha256:" + "0" * 64}]
    found = records(outcomes, made, {}, packs, pins)
    assert list(Draft202012Validator(SCHEMA).iter_errors(found)) == []
    assert (found[0]["rule_at"], found[0]["outcome"], found[0]["counterfactual"]) == (None, "not_evaluated", "")
    assert "not here as the plan has it" in human_run.explanations(found)


def test_an_expression_is_told_part_by_part(tmp_path: Path) -> None:
    text = "report.rows.value >= 30 && !(report.controls.value > 1000 || report.runners.student.right.value > 0.9)"
    rule = RULE.replace("eval.sound", "eval.tool_use").replace("bound", "assert")
    rule = rule.replace('{metric: level, op: ">=", threshold: "0.5", unit: ratio}', f'{{that: "{text}"}}')
    packs = lab(tmp_path, rule=rule)
    assert packs.problems == ()
    made, _ = policy.obligations(packs, {"risk_tier": 3}, {"eval.tool_use": [SAMPLE["step"]]})
    given = {SAMPLE["step"]: SAMPLE}
    found = records(judge(given, made).to_json()["outcomes"], made, given, packs, packs.pins())
    assert list(Draft202012Validator(SCHEMA).iter_errors(found)) == []
    (tree,) = found[0]["tree"]
    assert (tree["text"], tree["value"]) == (text, "false")
    first, second = tree["parts"]
    assert (first["text"], first["value"], first["reads"]) == ("report.rows.value >= 30", "true", ["/data/rows"])
    assert [one["value"] for one in first["parts"]] == ["90"]
    assert second["value"] == "false"
    assert second["parts"][0]["value"] == "true"
    assert "    false    report.rows.value >= 30 && " in human_run.explanations(found)
