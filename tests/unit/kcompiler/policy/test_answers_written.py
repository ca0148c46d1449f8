"""Answers that a teacher writes here: how many rows were asked, answered, left empty or cut at the limit, and the gate."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import Verdict, judge
from runtime.contract import report as facts
from tests.unit.kcompiler.policy import test_reports
from tests.unit.kcompiler.policy.test_laws import shipped

PACKS = policy.load(["caws/core"], [assets.folder("policies")])
STEP = "answers"


def spec(source: str = "gguf", term: str = "sequence_kd", **data: Any) -> dict[str, Any]:
    found = copy.deepcopy(test_reports.SPEC)
    found["teacher"] = {"source": source, "allow_missing": 0.0, "store": None}
    found["training"] = {"stages": [{"name": "kd", "losses": [{"term": term}]}]}
    found["data"] = {"too_long": "refuse", "too_long_at_most": 0.05, **data}
    return found


def answers(rows: int = 100, empty: int = 0, cut: int = 0, **changes: Any) -> dict[str, Any]:
    lost = empty + cut
    faults = {"empty": empty, "truncated": cut, "missing": 0, "without_choices": 0}
    data: dict[str, Any] = {
        "model": "models:teacher",
        "signals": ["text"],
        "rows": facts.measured(rows, "row"),
        "answered": facts.rate(rows - lost, rows),
        "missing_share": facts.rate(lost, rows),
        "faults": {name: facts.measured(count, "row", n=rows) for name, count in faults.items()},
        **changes,
    }
    return {**shipped("teacher.answers"), "step": STEP, "data": data}


def asked(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    found, problems = policy.obligations(PACKS, values, {"teacher.answers": [STEP]})
    # the other reports of such a spec are not made here
    assert {one.code for one in problems} <= {"KC6010"}
    return [one for one in found if one["from"] == f"step:{STEP}" and "/answers-" in one["rule"]]


def judged(report: Mapping[str, Any] | None, values: Mapping[str, Any]) -> Verdict:
    return judge({STEP: report} if report is not None else {}, asked(values))


DROP = {"too_long": "drop"}


@pytest.mark.parametrize(
    ("source", "term", "data", "rules"),
    [
        *((source, "sequence_kd", {}, ["answers-written"]) for source in ("gguf", "hf", "package")),
        ("hf", "sequence_kd", DROP, ["answers-written-within"]),
        ("openai", "sequence_kd", {}, ["answers-complete"]),
        ("recorded", "sequence_kd", DROP, ["answers-complete"]),
        ("hf", "kl", {}, []),
    ],
)
def test_one_rule_is_about_who_answers(source: str, term: str, data: dict[str, Any], rules: list[str]) -> None:
    assert [one["rule"] for one in asked(spec(source, term, **data))] == [f"caws/core/{name}" for name in rules]


@pytest.mark.parametrize(
    ("report", "data"),
    [(answers(), {}), (answers(), DROP), (answers(empty=2, cut=3), DROP), (answers(rows=1), {})],
)
def test_whole_answers_pass(report: dict[str, Any], data: dict[str, Any]) -> None:
    assert judged(report, spec(**data)).verdict == "PASS"


NOTHING = facts.unavailable("no rows", "ratio")
WRONG: list[tuple[str, dict[str, Any] | None, dict[str, Any]]] = [
    ("one answer that is empty", answers(empty=1), {}),
    ("one that was cut at the limit", answers(cut=1), {}),
    ("one of a million", answers(rows=1_000_000, cut=1), {}),
    ("one more than may be dropped", answers(empty=2, cut=4), DROP),
    ("no rows", answers(rows=0), {}),
    ("no rows, where some may be dropped", answers(rows=0), DROP),
    ("a rate of nothing that is called a rate", answers(rows=0, missing_share=facts.rate(0, 1)), {}),
    ("nothing measured", answers(missing_share=NOTHING, answered=NOTHING), {}),
    ("no report", None, {}),
    ("a share by its word", answers(missing_share={"value": 0.0, "unit": "ratio", "tag": "measured"}), {}),
    ("an estimate", answers(missing_share={**facts.rate(0, 100), "tag": "estimated", "by": "a glance"}), {}),
    ("faults that the share forgets", answers(faults=answers(cut=2)["data"]["faults"]), {}),
    ("more answers than rows", answers(answered=facts.rate(101, 101)), {}),
    ("a share of other rows", answers(missing_share=facts.rate(0, 7)), {}),
    (
        "a negative count",
        answers(**{"rows": 100, "faults": {**answers()["data"]["faults"], "empty": facts.measured(-1, "row")}}),
        {},
    ),
]


@pytest.mark.parametrize(("report", "data"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_nothing_else_does(report: dict[str, Any] | None, data: dict[str, Any]) -> None:
    verdict = judged(report, spec(**data))
    assert verdict.verdict != "PASS"
    assert verdict.exit_code != 0
