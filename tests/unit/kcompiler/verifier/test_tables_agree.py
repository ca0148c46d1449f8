"""What stands twice, in the machine or the judge and in the stand-alone verifier, has the same entries in both: a
budget, a kind of check, a function or a word that one of them does not know is a verdict that nobody recomputes."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from kcompiler import judge
from kcompiler.policy import kinds
from kcompiler.policy.cel import check
from kcompiler.policy.laws import formulas
from kcompiler.policy.obligation import BEFORE, Obligation
from kcompiler.spec.budgets import Budgets
from kcompiler.verifier import cel, facts, laws, ledger, records, starts, verdict
from kcompiler.verifier import kinds as alone
from kcompiler.waiver import file as waiver
from runtime.machine import account, evidence, meter

SCHEMAS = Path(__file__).resolve().parents[4] / "schemas"
BOUNDS = Budgets.model_fields.keys() - Budgets.OF_CHANGES


def of_report(kind: str) -> dict[str, Any]:
    text = (SCHEMAS / f"report.{kind}.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)["properties"]["data"]["properties"]["budgets"]["properties"]
    return found


def test_every_budget_of_a_spec_is_in_every_report_that_tells_of_budgets() -> None:
    assert facts._BOUNDS.keys() == BOUNDS
    assert account.UNITS.keys() == BOUNDS - {"cpu_s"}, "a rule alone judges that one"
    said = {name: one["x-unit"] for name, one in of_report("compile").items()}
    assert said == dict(facts._BOUNDS.values())
    for budget, unit in account.UNITS.items():
        assert facts._BOUNDS[budget][1] == unit
    assert of_report("run").keys() == of_report("start").keys() == account.UNITS.keys()
    assert starts._ASIDE.keys() == account.UNITS.keys()


def test_a_budget_that_is_written_can_be_asked_about_before_anything_runs() -> None:
    whole = Budgets(usd=1, gpu_hours=2, training_tokens=3, teacher_tokens=4, teacher_calls=5, wall_s=6, cpu_s=7)
    lock = {"inputs": [], "steps": [], "plugins": [], "budgets": whole.of_runs()}
    told = facts.compiled(lock)["data"]["budgets"]
    assert sorted(one["value"] for one in told.values()) == [1, 2, 3, 4, 5, 6, 7]
    (bare,) = [Budgets(usd=1, gpu_hours=2, wall_s=6)]
    told = facts.compiled({**lock, "budgets": bare.of_runs()})["data"]["budgets"]
    assert {name for name, one in told.items() if one["tag"] == "unavailable"} == {
        "training_tokens",
        "teacher_tokens",
        "teacher_calls",
    }


def test_what_an_attempt_takes_is_summed_the_same_way() -> None:
    taken = {one.name for one in fields(meter.Spent)} - {"wall_s", "cpu_s"}
    assert set(ledger.NAMES) == taken == {datum for datum, _ in ledger.PAID.values()}
    assert records.SUMS.keys() == evidence._TOTALS.keys() | set(meter.TOKENS)


def test_every_kind_function_formula_and_word_of_a_rule_is_known_alone() -> None:
    assert alone.KINDS.keys() == {f"{kind.name}@{kind.version}" for kind in map(kinds.load, kinds.names())}
    assert set(cel._FUNCTIONS) == {*check.FUNCTIONS, *check._OF_TEXTS} - {"has"}, "`has` is of the grammar"
    assert laws._FORMULAS.keys() == set(formulas.names())
    assert verdict.WORDS == judge.OUTCOMES
    assert set(verdict.EVALUATED) == judge.EVALUATED
    named = {one.alias or name for name, one in Obligation.model_fields.items()}
    assert verdict._FIELDS.keys() | {"expect"} == named
    assert facts.PHASES == BEFORE


def test_every_field_and_reason_of_a_waiver_is_known_alone() -> None:
    from kcompiler.verifier import waivers

    assert set(waivers.REASONS) == set(waiver.REASONS)
    schema = json.loads((SCHEMAS / "waiver.schema.json").read_text(encoding="utf-8"))
    assert schema["properties"].keys() == waivers._NEEDED | waivers._OTHERS
