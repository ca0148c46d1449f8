"""A rule's folder → does the rule decide its own passing, failing and missing-data case as they say?

`pass.json` is `{"report": …, "given": …, "expect": {"outcome": "pass"}}`: a report as a step would write it, and what
the plan would have resolved for the rule. `fail.json` and `missing.json` are the same, or say only what differs:
`change` (JSON pointer → value) and `remove` in the report of pass.json; `report: null` means that none was given. The
same judge decides as in apply and gate: kyverno's test command and its enforcement once disagreed (#7956).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field, ValidationError

from kcompiler.policy import kinds
from kcompiler.policy.kind import Closed
from kcompiler.policy.load import LoadedRule
from kcompiler.policy.obligation import first_problem
from kcompiler.policy.oblige import timing
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
    def matches(self) -> int: ...
    @property
    def reason(self) -> str: ...


class Judgement(Protocol):
    """What a case looks at in a verdict."""

    @property
    def outcomes(self) -> Sequence[Decided]: ...


Judge = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], Judgement]


class Wanted(Closed):
    """The outcome a case must have, where it must be found, and at how many places the rule must have looked."""

    outcome: str
    pointer: str | None = None
    matches: int | None = None


class Case(Closed):
    """One case file. Without `report`, it is the report of pass.json with `change` and `remove` applied."""

    report: dict[str, Any] | None = None
    given: Any = None
    change: dict[str, Any] = Field(default_factory=dict)
    remove: list[str] = Field(default_factory=list)
    expect: Wanted

    @property
    def differs(self) -> bool:
        """Whether the case is told by its difference from the passing one."""
        return "report" not in self.model_fields_set


def _parsed(file: Path) -> Case:
    try:
        return Case.model_validate(strict_json.loads(file.read_bytes()))
    except ValidationError as error:
        raise ValueError(f"{file.name}: {first_problem(error)}") from None


def _place(report: Any, pointer: str) -> tuple[Any, str | int]:
    """The container that a JSON pointer leads to, and the key or index in it. Raises ValueError."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in parents:
        report = report[int(part)] if isinstance(report, list) else report[part]
    return report, int(last) if isinstance(report, list) else last


def read(file: Path) -> Case:
    """The case in a file, its report complete. Raises ValueError when it is not strict JSON or not a case, or when a
    pointer leads nowhere; OSError when it cannot be read."""
    case = _parsed(file)
    if not case.differs:
        return case
    whole = _parsed(file.with_name("pass.json"))
    report = copy.deepcopy(whole.report)
    try:
        for pointer, value in case.change.items():
            container, key = _place(report, pointer)
            container[key] = value
        for pointer in case.remove:
            container, key = _place(report, pointer)
            del container[key]
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"{file.name}: {pointer} leads nowhere in the report of pass.json") from None
    given = case.given if "given" in case.model_fields_set else whole.given
    return case.model_copy(update={"report": report, "given": given})


def _expected(loaded: LoadedRule, case: Case) -> Any:
    """What the plan would have resolved: what the case says, or what lies beside the rule."""
    pinned = kinds.load(loaded.rule.kind).pinned
    if pinned is None or case.given is not None:
        return copy.deepcopy(case.given)
    return pinned(loaded.params, loaded.folder, loaded.rule.on)


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
        "report": kind,
        "from": f"step:{report.get('step', 'nobody')}",
        "kind": loaded.kind,
        "params": loaded.params.model_dump(mode="json", by_alias=True),
        "expect": _expected(loaded, case),
        "remedy": loaded.rule.remedy,
        **timing(loaded.rule),
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
        elif case.expect.matches is not None and outcome.matches != case.expect.matches:
            found.append(f"{place}: expected {case.expect.matches} places, got {outcome.matches}")
    return found
