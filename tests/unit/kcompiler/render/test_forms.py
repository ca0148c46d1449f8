"""What CI systems read of a result: well-formed whatever a text holds, and never better than the result is."""

import copy
import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree as xml

import jsonschema
import pytest
from hypothesis import Phase, given, settings

from kcompiler.diagnostic import Diagnostic
from kcompiler.render import github, junit, markdown, sarif
from kcompiler.render.fold import label
from kcompiler.render.human_plan import section
from kcompiler.result import ANSWERED_YES, AuditFinding, Result, Where
from tests.unit.kcompiler.render.results import RESULT, STATUS, outcome

ROOT = Path(__file__).resolve().parents[4]
OASIS = jsonschema.Draft4Validator(
    json.loads((ROOT / "tests/data/sarif/sarif-schema-2.1.0.json").read_text(encoding="utf-8")),
    format_checker=jsonschema.FormatChecker(),
)
MISTAKE = Diagnostic(
    code="KC2104", summary="unknown field", file="specs/a.yaml", line=4, column=7, end_line=4, end_column=17,
    pointer="/training/temprature", help="did you mean `temperature`?",
)  # fmt: skip


def of(*outcomes, code=1, **more):
    return Result(verb="gate", subject="specs/a.yaml", code=code, word="fail", outcomes=outcomes, **more)


def results_of(found):
    (run,) = json.loads(sarif.result(found))["runs"]
    return run["results"]


def cases_of(found):
    return {case.get("name"): case for case in xml.fromstring(junit.result(found)).iter("testcase")}


def test_the_schema_of_oasis_refuses_what_is_wrong():
    """The tests below could fail."""
    good = json.loads(sarif.result(of(outcome("fail"))))
    OASIS.validate(good)
    for damage in (
        lambda one: one["runs"][0]["results"][0].update(level="bad"),
        lambda one: one["runs"][0]["results"][0].pop("message"),
        lambda one: one["runs"][0]["tool"]["driver"].update(extra=1),
    ):
        bad = copy.deepcopy(good)
        damage(bad)
        assert not OASIS.is_valid(bad)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(RESULT)
def test_sarif_is_valid_and_tells_of_everything_that_is_no_yes(found):
    text = sarif.result(found)
    text.encode("utf-8")
    document = json.loads(text)
    OASIS.validate(document)
    (run,) = document["runs"]
    prints = [one["partialFingerprints"][sarif.FINGERPRINT] for one in run["results"]]
    assert len(prints) == len(set(prints))
    for one in run["results"]:
        assert run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"]
    assert found.code in ANSWERED_YES or sarif.levels(document)["error"]


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(RESULT)
def test_junit_is_well_formed_and_its_counts_are_true(found):
    root = xml.fromstring(junit.result(found).encode("utf-8"))
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases) >= 1
        for name, mark in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name)) == sum(case.find(mark) is not None for case in cases)
    for name in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(name)) == sum(int(suite.get(name)) for suite in root)
    bad = int(root.get("failures")) + int(root.get("errors"))
    assert found.code in ANSWERED_YES or bad
    # a rule stands as passed only where it passed
    passed = sum(one.status == "pass" for part in (found.parts or (found,)) for one in part.outcomes)
    marked = [
        case for case in root.iter("testcase") if " on " in case.get("name") and len(case.findall("*[@message]")) == 0
    ]
    assert passed == len(marked)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(RESULT)
def test_github_gets_commands_and_nothing_else(found):
    text = github.result(found)
    text.encode("utf-8")
    for line in text.splitlines():
        assert re.fullmatch(r"::(error|warning|notice) [^:]*::[^\x00-\x1f]*", line)
        for pair in line.split("::")[1].partition(" ")[2].split(","):
            assert re.match(r"(file|line|col|endLine|endColumn|title)=", pair)
    assert text.count("\n") == len(text.splitlines())
    for level in ("error", "warning", "notice"):
        assert sum(line.startswith(f"::{level} ") for line in text.splitlines()) <= github.MOST
    assert found.code in ANSWERED_YES or "::error " in text


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(RESULT)
def test_markdown_holds_no_text_of_others_outside_of_fences(found):
    text = markdown.result(found)
    text.encode("utf-8")
    fence = ""
    for line in text.split("\n"):
        opened = re.match(r"`{3,}", line)
        if opened and not fence:
            fence = opened[0]
        elif line == fence:
            fence = ""
        elif not fence:
            # what stands outside: headings, the line on what was left out
            assert re.fullmatch(r"(### `[^`]*`|lock `[^`]*`|\*\*[\w -]*\*\*|_\d+ of \d+ lines .*`[^`]*`_|)", line), line
            assert not re.search(r"(?<!`)@", re.sub(r"`[^`]*`", "", line))
    assert fence == ""


@pytest.mark.parametrize("status", STATUS)
def test_junit_tells_apart_what_did_not_pass(status):
    case = cases_of(of(outcome(status), code=0 if status in ("pass", "waived") else 1))["team/rows/many on data"]
    marks = {mark.tag: mark.get("message") for mark in case if mark.tag != "system-out"}
    expected = {"pass": set(), "fail": {"failure"}, "waived": {"skipped"}}.get(status, {"error"})
    assert set(marks) == expected
    if status == "waived":
        assert marks["skipped"] == "waived: 60 of 100"
    advisory = cases_of(of(outcome(status, mode="warn"), code=0))["team/rows/many on data"]
    marks = {mark.tag: mark.get("message") for mark in advisory if mark.tag != "system-out"}
    assert set(marks) == (set() if status == "pass" else {"skipped"})
    assert status in ("pass", "waived", "skipped") or marks["skipped"].startswith(f"advisory: {status}: ")


def test_both_say_what_was_seen_how_far_off_and_what_would_pass():
    found = of(outcome("fail"), code=1)
    (result,) = results_of(found)
    assert result["properties"] == {
        "blocks": True,
        "pointer": "/data/rows",
        "observed": "60",
        "threshold": ">= 100",
        "distance": "-40",
        "counterfactual": "passes from 100 on",
    }
    (mark,) = cases_of(found)["team/rows/many on data"]
    assert mark.text.splitlines()[-4:-1] == ["distance -40", "passes from 100 on", mark.text.splitlines()[-2]]
    assert {"observed 60", "asked >= 100"} < set(mark.text.splitlines())


def test_sarif_levels_say_what_blocks():
    found = of(*(outcome(status, rule=f"t/{status}") for status in STATUS))
    levels = {one["ruleId"]: one["level"] for one in results_of(found)}
    errors = dict.fromkeys(["t/fail", "t/inconclusive", "t/not_evaluated", "t/error", "t/skipped"], "error")
    errors.pop("t/skipped")
    assert levels == {**errors, "t/waived": "note"}
    (waived,) = [one for one in results_of(found) if one["ruleId"] == "t/waived"]
    assert waived["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "60 of 100"}]
    (advisory,) = results_of(of(outcome("fail", mode="warn"), code=0))
    assert advisory["level"] == "warning"


def test_a_fingerprint_is_of_rule_place_and_text_and_of_no_line():
    def prints(found):
        return [one["partialFingerprints"][sarif.FINGERPRINT] for one in results_of(found)]

    def mistake(**changed):
        return of(diagnostics=[dataclasses.replace(MISTAKE, **changed)])

    first = prints(mistake())
    assert prints(mistake(line=90, column=1, end_line=90, end_column=3)) == first
    assert prints(mistake(summary="unknown   field")) == first
    for changed in ({"pointer": "/training"}, {"summary": "unknown key"}, {"code": "KC2101"}, {"file": "specs/b.yaml"}):
        assert prints(mistake(**changed)) != first
    # what was measured differs from run to run, and the alert is the same
    assert prints(of(outcome("fail", reason="61 of 100"))) == prints(of(outcome("fail")))
    # two alike are two
    assert len(set(prints(of(diagnostics=[MISTAKE, dataclasses.replace(MISTAKE, line=9)])))) == 2


def test_sarif_of_a_mistake_has_place_page_and_paths_from_the_top_of_the_checkout():
    document = json.loads(sarif.result(of(diagnostics=[MISTAKE], root="ml/distil")))
    (run,) = document["runs"]
    (one,) = run["results"]
    place = one["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "ml/distil/specs/a.yaml", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 4, "startColumn": 7, "endLine": 4, "endColumn": 17}
    assert "KC2104" not in run["tool"]["driver"]["rules"][0]["help"]["text"].splitlines()[0]
    assert len(run["tool"]["driver"]["rules"][0]["help"]["markdown"]) > 100


def test_sarif_says_how_many_are_left_out():
    found = of(*(outcome("fail", rule=f"t/{number}") for number in range(sarif.MOST + 3)))
    every = results_of(found)
    assert len(every) == sarif.MOST
    assert every[-1]["message"]["text"].startswith("4 further results")


def test_annotations_come_worst_first_escaped_and_counted():
    hostile = dataclasses.replace(MISTAKE, summary="100% ::\nx", file="a,b:c.yaml", help="")
    many = [dataclasses.replace(MISTAKE, line=number, severity="warning") for number in range(1, 14)]
    lines = github.result(of(diagnostics=[*many, hostile])).splitlines()
    assert lines[0] == "::error file=a%2Cb%3Ac.yaml,line=4,col=7,endLine=4,endColumn=17,title=KC2104::100%25 ::%0Ax"
    assert len(lines) == 1 + github.MOST
    assert "4 more of level warning are not shown" in lines[-1]


def test_a_summary_is_cut_between_rows_and_says_so():
    many = of(*(outcome("fail", rule=f"t/{number}", reason="ä" * 50) for number in range(3000)))
    text = markdown.result(many)
    assert 45_000 < len(text.encode()) <= markdown.BUDGET
    assert re.search(r"\n_\d+ of \d+ lines are left out here; the whole text: `kcompiler gate", text)
    rows = [line for line in text.splitlines() if line.startswith("fail ")]
    assert all(row.endswith("ä" * 50) for row in rows)
    assert len(markdown.result(of(outcome("fail", reason="ä" * 99_999))).encode()) <= markdown.BUDGET


def test_an_audit_is_told_by_severity():
    severities = ("evidence", "disagreement", "unfinished", "note")
    findings = [
        AuditFinding(code="KA22", severity=one, message=one, where=Where(file=f"f{number}"))
        for number, one in enumerate(severities)
    ]
    found = Result(verb="audit", subject="a", code=3, word="evidence-broken", findings=findings)
    marks = {name: [mark.tag for mark in case if mark.get("message")] for name, case in cases_of(found).items()}
    assert marks == {"f0": ["error"], "f1": ["failure"], "f2": ["failure"], "f3": [], "audit a": ["error"]}
    assert sorted(one["level"] for one in results_of(found)) == ["error", "error", "error", "note"]


def test_a_row_stands_for_no_step_of_another_name() -> None:
    assert label(["evaluate-64@recipe=int8", "evaluate-128@recipe=int4"]) == "evaluate-*@recipe=* ×2"
    assert label(["train-ce_only-kd", "train-kd"]) == "train-ce_only-kd, train-kd"
    assert label(["train-1", "probe", "train-2"]) == "train-* ×2, probe"


def test_a_title_longer_than_its_column_stands_apart() -> None:
    assert section("spend", ["usd 0"]) == ["spend    usd 0"]
    assert section("change of tiny", ["files  0 of 3"]) == ["change of tiny", "         files  0 of 3"]
