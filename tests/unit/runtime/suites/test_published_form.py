"""What a suite reports has the published form: with every runner, with the fewest, and with no rows at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from runtime import catalog, digest
from runtime.contract import calls, verdicts
from runtime.contract import report as facts
from runtime.contract.calls import Call
from runtime.contract.questioned import JUDGE
from runtime.data.bfcl import rows_of
from runtime.generators.needles import GENERATOR as NEEDLES
from runtime.tools import registry
from tests.unit.kcompiler.policy.genuine import fact_row
from tests.unit.runtime.suites.models import Scripted, lines_of, reported, row
from tests.unit.runtime.suites.scenes import scene, shop

ROOT = Path(__file__).resolve().parents[4]
TOOLS = registry.load(ROOT / "specs" / "tools" / "registry.json")
ROWS: Mapping[str, Sequence[Mapping[str, object]]] = {
    "answers": [row("a?", "Yes.", "love"), row("b?", "My reply is no.", "work")],
    "tool_use": [row("t?", calls.render(Call("get_weather", {"city": "Oslo"}))), row("u?", "Good day.")],
    "bfcl": [*rows_of(ROOT / "tests" / "data" / "bfcl", "parallel")[:3]],
    "integration": [fact_row(1), fact_row(2)],
    "language_model": [row("q", "one two"), row("p", "three")],
    "choice": [row("q", "A"), row("p", "D")],
    "gold": [row("q", "Yes."), row("p", "No.")],
    "needle": NEEDLES.rows(NEEDLES.params(rows=4, lengths=[64], depths=[0, 50]), [], 1),
    "preference": [{**row("q", "Yes."), "rejected": "No."}, {**row("p", "No."), "rejected": "Well, yes."}],
    "scenarios": [scene(1), scene(2)],
    "same_text": [row("q", "Yes."), row("p", "No.")],
    "judged": [row("t?", "good"), row("u?", "bad")],
    "judge": [
        row(verdicts.pair("t", "good", "a bad one").prompt, "A"),
        row(verdicts.pair("u", "good", "b", verdicts.CLAUSE).prompt, "NONE"),
    ],
}
#: who stands before a judge, and the judge
COURT = ("student", "teacher", JUDGE)
#: what a suite must be told
PARAMS: Mapping[str, Mapping[str, object]] = {"gold": {"match": "exact"}, "preference": {"score": "sum"}}


def published(kind: str) -> jsonschema.Draft202012Validator:
    base, own = (json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text()) for name in ("report", kind))
    known = Registry().with_resource("report.schema.json", Resource.from_contents(base))
    return jsonschema.Draft202012Validator(own, registry=known)


@pytest.mark.parametrize("name", sorted(ROWS))
@pytest.mark.parametrize("empty", [False, True], ids=["rows", "no rows"])
@pytest.mark.parametrize("whole", [True, False], ids=["every runner", "fewest runners"])
def test_the_report_has_the_published_form(name: str, empty: bool, whole: bool):
    suite = catalog.load("suites", name)
    court = () if suite.judge is None else (JUDGE,)
    asked = ("teacher", "student", *suite.baselines, "coreml", *court) if whole else suite.runners
    runners = {runner: Scripted(lambda _: "Yes.", lambda *_: 0.5) for runner in asked}
    data = reported(
        suite,
        runners,
        [] if empty else ROWS[name],
        shop() if name == "scenarios" else TOOLS,
        suite.params(**PARAMS.get(name, {})),
        1,
    )
    report: dict[str, Any] = facts.envelope(
        kind=f"eval.{name}",
        step="evaluate",
        subject={},
        fingerprints={},
        environment={"forged": False, "backend": "torch"},
        data=data,
    )
    read = json.loads(facts.dump(report))
    assert [error.message for error in published(f"report.eval.{name}").iter_errors(read)] == []


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_report_is_made_again_from_what_a_lock_and_the_items_keep(name: str):
    """A lock sorts the names in its params: nothing may depend on the order they were written in."""
    suite = catalog.load("suites", name)
    params = suite.params(**PARAMS.get(name, {}))
    kept = suite.params.model_validate(json.loads(digest.canonical(params.model_dump(mode="json"))))
    asked = COURT if suite.judge is not None else (*suite.runners, "coreml")
    runners = {runner: Scripted(lambda _: "Yes.", lambda *_: 0.5) for runner in asked}
    tools = shop() if name == "scenarios" else TOOLS
    lines = lines_of(suite, runners, ROWS[name], tools, params, 1)
    made = suite.data_of(lines, ROWS[name], tools, params, 1)
    assert facts.dump(suite.data_of(lines, ROWS[name], tools, kept, 1)) == facts.dump(made)
    for at in (0, len(lines) - 1):
        forged = [*lines[:at], {**lines[at], "reason": "forged"}, *lines[at + 1 :]]
        with pytest.raises(ValueError, match="is not what its output gives: reason"):
            suite.data_of(forged, ROWS[name], tools, kept, 1)
        with pytest.raises(ValueError, match="runner `"):
            suite.data_of([*lines[:at], *lines[at + 1 :]], ROWS[name], tools, kept, 1)


def test_the_suites_here_are_all_there_are():
    assert sorted(ROWS) == catalog.names("suites")
