"""SARIF 2.1.0, as ruff, bandit, CodeQL and others write it → how many findings it holds, and how many are errors.

A tool that did not end, that could not read what it should, or whose results are kept elsewhere has shown nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.contract import report as facts
from runtime.contract.ready import descriptors
from runtime.contract.ready.descriptors import LEVELS, items, part
from runtime.contract.ready.form import Unreadable, json

#: kinds of result that are no finding, and those that are one: of the last two a person or another tool has to decide
_FINE, _FOUND = ("pass", "notApplicable", "informational"), ("fail", "review", "open")
#: what decides, and may be kept in another file
_NEEDED = ("results", "invocations", "driver", "extensions")


def read(data: bytes) -> dict[str, Any]:
    """Counts of findings over all runs, and the commit that each names. Raises Unreadable: no SARIF, or a run that did
    not end well or is not all here."""
    log = json(data)
    if not isinstance(log, Mapping) or str(log.get("version")) != "2.1.0" or not isinstance(log.get("runs"), list):
        raise Unreadable("is no SARIF file of version 2.1.0")
    runs = log["runs"]
    if not runs:
        raise Unreadable("holds no run: no tool has looked at anything")
    levels: dict[str, int] = dict.fromkeys(LEVELS, 0)
    put_aside = 0
    for run in runs:
        name = _tool(run)
        _whole(run, name)
        for result in run["results"]:
            if not isinstance(result, Mapping):
                raise Unreadable(f"has a result of {name} that is none")
            level = descriptors.level(result, run)
            if _fine(result, level):
                continue
            if _suppressed(result):
                put_aside += 1
                continue
            levels[level] += 1
    if any(one.get(name) for one in items(log, "inlineExternalProperties") for name in _NEEDED):
        raise Unreadable("keeps results beside its runs (inlineExternalProperties), and they are not read there")
    return {
        "findings": facts.measured(sum(levels.values()), "finding"),
        "errors": facts.measured(levels["error"], "finding"),
        "suppressed": facts.measured(put_aside, "finding"),
        "revisions": list(dict.fromkeys(one for run in runs for one in _revisions(run))),
    }


def _tool(run: Any) -> str:
    try:
        return str(run["tool"]["driver"]["name"])
    except (KeyError, TypeError):
        raise Unreadable("has a run that names no tool") from None


def _whole(run: Mapping[str, Any], name: str) -> None:
    """Raises Unreadable: the run did not end well, or not all of it is in this file."""
    outside = part(run, "externalPropertyFileReferences")
    if kept := [one for one in _NEEDED if outside.get(one)]:
        raise Unreadable(f"keeps {' and '.join(kept)} of {name} in another file (externalPropertyFileReferences)")
    if not isinstance(run.get("results"), list):
        raise Unreadable(f"says nothing of the results of {name}")
    for one in items(run, "invocations"):
        # one that did not begin, or that a signal ended, says so whatever else it says
        broken = one.get("processStartFailureMessage") or one.get("exitSignalName") or one.get("exitSignalNumber")
        if one.get("executionSuccessful") is not True or broken:
            raise Unreadable(f"says that {name} did not end well")
        for where in ("toolExecutionNotifications", "toolConfigurationNotifications"):
            for notification in items(one, where):
                if descriptors.noted(notification, run, one) == "error":
                    text = str(part(notification, "message").get("text", ""))[:200]
                    raise Unreadable(f"says that {name} met an error and has not looked at everything: {text!r}")


def _fine(result: Mapping[str, Any], level: str) -> bool:
    """Whether it is no finding. One that says of itself that it passed, and how grave it is, is a finding."""
    kind = result.get("kind", "fail")
    if kind not in (*_FINE, *_FOUND):
        raise Unreadable(f"has a result of kind {kind!r}, which SARIF does not know")
    return (kind in _FINE and level == "none") or result.get("baselineState") == "absent"


def _suppressed(result: Mapping[str, Any]) -> bool:
    """Whether somebody put it aside, in the code or beside it; not while that is under review, or was refused."""
    marks = items(result, "suppressions")
    return bool(marks) and all(one.get("status", "accepted") == "accepted" for one in marks)


def _revisions(run: Mapping[str, Any]) -> list[str]:
    """The commits that a run names; "" where it names none."""
    named = [str(one["revisionId"]) for one in items(run, "versionControlProvenance") if one.get("revisionId")]
    return named or [""]
