"""A rule's folder → does the rule decide its own passing, failing and missing-data case as they say?

A case is `{"report": …, "given": …, "expect": {"outcome": …}}`: a report as a step would write it (null: none was
given), what the plan would have resolved for the rule, and the outcome, with the pointer where that matters. The
same judge decides as in apply and gate: kyverno's test command and its enforcement once disagreed (#7956).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from kcompiler.policy.kind import Closed
from kcompiler.policy.load import LoadedRule
from kcompiler.policy.obligation import first_problem
from runtime.contract import strict_json

CASES: Mapping[str, frozenset[str]] = {
    "pass": frozenset({"pass"}),
    "fail": frozenset({"fail"}),
    "missing": frozenset({"not_evaluated", "inconclusive", "error"}),
}


class Decided(Protocol):
    """What a case looks at in an outcome."""

    @property
    def outcome(self) -> str: ...
    @property
    def pointer(self) -> str: ...
    @property
    def reason(self) -> str: ...


class Judgement(Protocol):
    """What a case looks at in a verdict."""

    @property
    def outcomes(self) -> Sequence[Decided]: ...


Judge = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], Judgement]


class Wanted(Closed):
    """The outcome a case must have, and where it must be found."""

    outcome: str
    pointer: str | None = None


class Case(Closed):
    """One case file."""

    report: dict[str, Any] | None
    given: Any = None
    expect: Wanted
    note: str = ""


def read(file: Path) -> Case:
    """The case in a file. Raises ValueError for one that is not strict JSON or not a case; OSError when unreadable."""
    try:
        return Case.model_validate(strict_json.loads(file.read_bytes()))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def obligation(loaded: LoadedRule, case: Case) -> dict[str, Any]:
    """The obligation this rule would become for the step and report kind of the case."""
    report = case.report or {}
    kind = str(report.get("kind", loaded.rule.on.replace("*", "any").removeprefix(".")))
    return {
        "rule": loaded.name,
        "pack": "case@1",
        "title": loaded.rule.title,
        "mode": loaded.rule.mode,
        "reason": loaded.rule.reason,
        "waivable": loaded.rule.waivable,
        "report": kind,
        "from": f"step:{report.get('step', 'nobody')}",
        "kind": loaded.kind,
        "params": loaded.params.model_dump(mode="json", by_alias=True),
        "expect": copy.deepcopy(case.given),
        "remedy": loaded.rule.remedy,
    }


def check(loaded: LoadedRule, judge: Judge) -> list[str]:
    """Every way in which the rule and its cases disagree, as `<rule>/<case>.json: …`; empty when there is none."""
    found: list[str] = []
    for name, allowed in CASES.items():
        place = f"{loaded.name}/{name}.json"
        try:
            case = read(loaded.folder / f"{name}.json")
        except (OSError, ValueError) as error:
            found.append(f"{place}: {error}")
            continue
        if case.expect.outcome not in allowed:
            found.append(f"{place}: a case of this name does not expect `{case.expect.outcome}`")
            continue
        reports = {} if case.report is None else {str(case.report.get("step")): case.report}
        outcome = judge(reports, [obligation(loaded, case)]).outcomes[0]
        if outcome.outcome != case.expect.outcome:
            found.append(f"{place}: expected {case.expect.outcome}, got {outcome.outcome}: {outcome.reason}")
        elif case.expect.pointer is not None and outcome.pointer != case.expect.pointer:
            found.append(f"{place}: expected it at {case.expect.pointer}, got {outcome.pointer}")
    return found

