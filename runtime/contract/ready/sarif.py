"""SARIF 2.1.0, as ruff, bandit, CodeQL and others write it → how many findings it holds, and how many are errors.

A tool that did not end, or that says nothing of results, has found nothing and shown nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.contract import report as facts
from runtime.contract.ready.form import Unreadable, json

#: kinds of result that are no finding
_FINE = ("pass", "notApplicable", "informational")
_LEVELS = ("error", "warning", "note", "none")


def read(data: bytes) -> dict[str, Any]:
    """Counts of findings over all runs. Raises Unreadable: no SARIF, or a run that did not end well."""
    log = json(data)
    if not isinstance(log, Mapping) or str(log.get("version")) != "2.1.0" or not isinstance(log.get("runs"), list):
        raise Unreadable("is no SARIF file of version 2.1.0")
    runs = log["runs"]
    if not runs:
        raise Unreadable("holds no run: no tool has looked at anything")
    levels: dict[str, int] = dict.fromkeys(_LEVELS, 0)
    put_aside = 0
    for run in runs:
        name = _tool(run)
        if not isinstance(run.get("results"), list):
            raise Unreadable(f"says nothing of the results of {name}")
        if any(one.get("executionSuccessful") is not True for one in run.get("invocations", [])):
            raise Unreadable(f"says that {name} did not end well")
        for result in run["results"]:
            if not isinstance(result, Mapping):
                raise Unreadable(f"has a result of {name} that is none")
            if result.get("kind", "fail") in _FINE or result.get("baselineState") == "absent":
                continue
            if _suppressed(result):
                put_aside += 1
                continue
            levels[_level(result, run)] += 1
    return {
        "findings": facts.measured(sum(levels.values()), "finding"),
        "errors": facts.measured(levels["error"], "finding"),
        "suppressed": facts.measured(put_aside, "finding"),
        "revisions": _revisions(runs),
    }


def _tool(run: Any) -> str:
    try:
        return str(run["tool"]["driver"]["name"])
    except (KeyError, TypeError):
        raise Unreadable("has a run that names no tool") from None


def _suppressed(result: Mapping[str, Any]) -> bool:
    """Whether somebody put it aside, in the code or beside it; not while that is under review, or was refused."""
    marks = result.get("suppressions") or []
    return bool(marks) and all(one.get("status", "accepted") == "accepted" for one in marks)


def _level(result: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """Its own level, else that of its rule, else what SARIF says of a finding without: a warning."""
    level = result.get("level")
    if level is None:
        driver = run["tool"]["driver"]
        index = result.get("ruleIndex", -1)
        rules = driver.get("rules") or []
        named: Mapping[str, Any] = next((one for one in rules if one.get("id") == result.get("ruleId")), {})
        rule: Mapping[str, Any] = rules[index] if isinstance(index, int) and 0 <= index < len(rules) else named
        level = (rule.get("defaultConfiguration") or {}).get("level", "warning")
    if level not in _LEVELS:
        raise Unreadable(f"has a finding of level {level!r}, which SARIF does not know")
    return str(level)


def _revisions(runs: list[Any]) -> list[str]:
    named = [one.get("revisionId") for run in runs for one in run.get("versionControlProvenance") or []]
    return list(dict.fromkeys(str(one) for one in named if one))
