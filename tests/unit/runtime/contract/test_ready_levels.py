"""How grave a finding of SARIF is where its rule says so, and runs that show nothing: SARIF 2.1.0, 3.27.10 and 3.52."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runtime.contract.ready import READ, Unreadable
from runtime.data.readiness import read
from runtime.steps.readiness import ReadinessParams


def rule(id_: str, level: str = "", **more: Any) -> dict[str, Any]:
    return {"id": id_, **({"defaultConfiguration": {"level": level}} if level else {}), **more}


#: as CodeQL: the tool has no rule of its own, its packs do
TOOL: dict[str, Any] = {
    "driver": {"name": "CodeQL", "rules": [rule("own", "note"), rule("plain"), rule("a/b", "error")]},
    "extensions": [
        {"name": "codeql/helpers"},
        {"name": "codeql/py", "guid": "11111111-1111-4111-8111-111111111111", "rules": [rule("py/e", "error")]},
        {"name": "codeql/js", "rules": [rule("js/n", "note"), rule("js/g", "error", guid="2222")]},
    ],
}


def run(*results: Any, **more: Any) -> dict[str, Any]:
    return {"tool": TOOL, "results": list(results), **more}


def log(*runs: Any, **more: Any) -> bytes:
    return json.dumps({"version": "2.1.0", "runs": list(runs), **more}).encode()


def found(*runs: Any) -> tuple[int, int]:
    """(findings, errors)."""
    data = READ["lint"](log(*runs))
    return data["findings"]["value"], data["errors"]["value"]


def of(component: int, /, **more: Any) -> dict[str, Any]:
    return {"toolComponent": {"index": component}, **more}


@pytest.mark.parametrize(
    ("result", "errors"),
    [
        # CodeQL's form: an index in one of the extensions, which `ruleIndex` beside it repeats
        ({"ruleId": "py/e", "ruleIndex": 0, "rule": of(1, id="py/e", index=0)}, 1),
        ({"rule": of(1, index=0)}, 1),
        ({"rule": of(1, id="py/e")}, 1),
        ({"ruleIndex": 0, "rule": {"toolComponent": {"name": "codeql/py"}}}, 1),
        ({"ruleId": "py/e", "rule": {"toolComponent": {"guid": TOOL["extensions"][1]["guid"]}}}, 1),
        ({"rule": of(2, guid="2222")}, 1),
        ({"rule": of(2, index=0)}, 0),
        # without a component the tool's own, and where it has none of that id, those of its extensions
        ({"ruleIndex": 0}, 0),
        ({"ruleId": "own"}, 0),
        ({"ruleId": "py/e"}, 1),
        ({"rule": {"id": "py/e"}}, 1),
        # ids with parts: the rule itself, or the nearest above it
        ({"ruleId": "py/e/1"}, 1),
        ({"ruleId": "a/b/c/d", "ruleIndex": 2}, 1),
        ({"ruleId": "a"}, 0),
        # its own level, or none that anything says
        ({"ruleId": "py/e", "level": "note"}, 0),
        ({"ruleId": "own", "level": "error"}, 1),
        ({"ruleId": "plain"}, 0),
        ({"ruleId": "unheard/of"}, 0),
        ({}, 0),
    ],
)
def test_a_finding_is_as_grave_as_its_rule_says(result: dict[str, Any], errors: int) -> None:
    assert found(run(result)) == (1, errors)


def override(level: str, **descriptor: Any) -> dict[str, Any]:
    return {
        "executionSuccessful": True,
        "ruleConfigurationOverrides": [{"descriptor": descriptor, "configuration": {"level": level}}],
    }


@pytest.mark.parametrize(
    ("result", "invocations", "errors"),
    [
        ({"ruleId": "plain"}, [override("error", id="plain")], 1),
        ({"ruleId": "plain", "provenance": {"invocationIndex": 0}}, [override("error", index=1)], 1),
        ({"ruleId": "plain/x"}, [override("error", id="plain")], 1),
        ({"ruleId": "no/rule/here"}, [override("error", id="no/rule")], 1),
        ({"ruleId": "plain"}, [override("error", id="own")], 0),
        ({"ruleId": "plain", "level": "note"}, [override("error", id="plain")], 0),
        # of which run a result is must be said before it counts for less
        ({"ruleId": "py/e"}, [override("note", id="py/e")], 1),
        ({"ruleId": "py/e", "provenance": {"invocationIndex": 0}}, [override("note", id="py/e")], 0),
        (
            {"ruleId": "py/e", "provenance": {"invocationIndex": 1}},
            [override("note", id="py/e"), override("error", id="own")],
            1,
        ),
    ],
)
def test_a_run_may_have_set_its_rules_otherwise(result: dict[str, Any], invocations: list[Any], errors: int) -> None:
    assert found(run(result, invocations=invocations)) == (1, errors)


@pytest.mark.parametrize(
    ("result", "counted"),
    [
        *(({"kind": kind, "ruleId": "py/e"}, (0, 0)) for kind in ("pass", "notApplicable", "informational")),
        *(({"kind": kind, "ruleId": "py/e"}, (1, 0)) for kind in ("review", "open")),
        ({"kind": "fail", "ruleId": "py/e"}, (1, 1)),
        # only a failure has a level: what says both is believed where it says more
        ({"kind": "pass", "level": "error"}, (1, 1)),
        ({"kind": "open", "level": "error"}, (1, 1)),
        ({"kind": "informational", "level": "none"}, (0, 0)),
    ],
)
def test_what_is_no_failure_has_no_level(result: dict[str, Any], counted: tuple[int, int]) -> None:
    assert found(run(result)) == counted


def ended(**more: Any) -> dict[str, Any]:
    return {"invocations": [{"executionSuccessful": True, "exitCode": 2, **more}]}


NOTE = {"level": "error", "message": {"text": "cannot parse a.py"}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (log(run({"ruleIndex": 3})), "leads to rules[3], and there are 3"),
        (log(run({"ruleIndex": 3, "level": "note"})), "leads to rules[3]"),
        (log(run({"rule": of(0, index=0)})), "leads to rules[0], and there are 0"),
        (log(run({"rule": of(3, index=0)})), "leads to extensions[3], and there are 3"),
        (log(run({"rule": {"toolComponent": {"name": "codeql/go"}}})), "'codeql/go', and the tool has no such part"),
        (log(run({"rule": of(1, id="js/n")})), "rule 'js/n', which is not where"),
        (log(run({"rule": {"guid": "3333"}})), "rule '3333', which is not where"),
        (log(run({"ruleId": "py/e", "ruleIndex": 0})), "rule 'py/e', and its index leads to 'own'"),
        (log(run({"ruleId": "own", "rule": {"id": "plain"}})), "a result of two rules"),
        (log(run({"ruleIndex": 0, "rule": {"index": 1}})), "a result of two rules"),
        (log(run({"ruleId": 3})), "a result of two rules, or of none: 3"),
        (log(run({"ruleId": ["own"]})), "a result of two rules, or of none: ['own']"),
        (log(run({"rule": {"id": {}}, "level": "note"})), "a result of two rules, or of none: {}"),
        (log(run({"ruleIndex": "0"})), "which is no index"),
        (log(run({"rule": []})), "rule that is no object"),
        (log(run({"suppressions": [1]})), "suppressions that are no list of objects"),
        (log(run({"kind": "maybe"})), "a result of kind 'maybe'"),
        (log(run({"provenance": {"invocationIndex": 0}})), "leads to invocations[0]"),
        (log(run(invocations=[override("dire", id="own")]), run({"ruleId": "own"}), run()), ""),
        (log(run({"ruleId": "own"}, invocations=[override("dire", id="own")])), "level 'dire'"),
        # a run that shows nothing
        (log(run(**ended(toolExecutionNotifications=[NOTE]))), "has not looked at everything: 'cannot parse a.py'"),
        (log(run(**ended(toolConfigurationNotifications=[NOTE]))), "has not looked at everything"),
        (log(run(**ended(processStartFailureMessage="no such file"))), "did not end well"),
        (log(run(**ended(exitSignalName="SIGKILL"))), "did not end well"),
        (log(run(invocations=[{"executionSuccessful": True}, {"exitCode": 0}])), "did not end well"),
        (
            log(run(externalPropertyFileReferences={"results": [{"itemCount": 5}]})),
            "keeps results of CodeQL in another",
        ),
        (log(run(externalPropertyFileReferences={"driver": {"location": {}}})), "keeps driver of CodeQL in another"),
        (log(run(), inlineExternalProperties=[{"results": [{"ruleId": "py/e"}]}]), "keeps results beside its runs"),
    ],
)
def test_what_leads_nowhere_or_shows_nothing_is_not_read(data: bytes, said: str) -> None:
    if not said:  # an invocation of another run is not asked
        assert READ["security"](data)["findings"]["value"] == 1
        return
    with pytest.raises(Unreadable, match=re.escape(said)):
        READ["security"](data)


def test_a_notification_is_as_grave_as_the_tool_says() -> None:
    driver = {"name": "t", "notifications": [{"id": "n", "defaultConfiguration": {"level": "error"}}]}
    noted = {"descriptor": {"id": "n"}, "message": {"text": "m"}}
    with pytest.raises(Unreadable, match="t met an error"):
        READ["lint"](log({"tool": {"driver": driver}, "results": [], **ended(toolExecutionNotifications=[noted])}))
    for fine in ({"message": {"text": "m"}}, {**NOTE, "level": "warning"}):
        assert found(run(**ended(toolExecutionNotifications=[fine]))) == (0, 0)
    # an exit code tells of findings, and is no failure where the tool says that it ended well
    assert found(run(**ended()), run()) == (0, 0)


A, B = "a" * 40, "b" * 40


def at(*commits: str) -> dict[str, Any]:
    return run(versionControlProvenance=[{"revisionId": one} for one in commits])


@pytest.mark.parametrize(
    ("runs", "said", "share"),
    [
        ([at(A)], A, 1),
        ([at(A), at(A)], A, 1),
        ([at(A.upper())], A.upper(), 1),
        ([at(A), at(B)], f"{A} {B}", 0),
        ([at(A, B)], f"{A} {B}", 0),
        ([at(A), run()], f"{A} none", 0),
        ([run(), at(A)], f"none {A}", 0),
        ([run()], "none", 0),
    ],
)
def test_each_run_of_a_file_is_of_the_commit_that_is_asked(
    tmp_path: Path, runs: list[Any], said: str, share: int
) -> None:
    (tmp_path / "lint.sarif").write_bytes(log(*runs))
    made = read({"lint": tmp_path / "lint.sarif"}, ReadinessParams(files=["lint"], revision=A[:8]))
    assert (made["lint"]["revision"], made["of_revision"]["k"], made["of_revision"]["n"]) == (said, share, 1)
