"""The HTML form of a result: whatever a text holds it stays text, and nothing that did not pass looks as if it had."""

import dataclasses

import html5lib.html5parser
import pytest
from hypothesis import Phase, given, settings

from kcompiler.diagnostic import Diagnostic
from kcompiler.render.html import gates
from kcompiler.render.html.page import result
from kcompiler.render.human import inert
from kcompiler.result import AuditFinding, Result, StepState, Where
from tests.unit.kcompiler.render.html.pages import checked, parsed, words
from tests.unit.kcompiler.render.results import RESULT, STATUS, outcome


def of(*outcomes, code=1, **more):
    return Result(verb="gate", subject="specs/a.yaml", code=code, word="fail", outcomes=outcomes, **more)


def test_the_checks_here_refuse_what_is_wrong():
    """The tests below could fail."""
    good = result(of(outcome("fail"), verdict="FAIL"))
    checked(good)
    for old, new in (
        ("<main", "<script>alert(1)</script><main"),
        ("<main", '<main onclick="x()"'),
        ("<main", '<p style="color:red">x</p><main'),
        ("<main", '<a href="http://x.example/">x</a><main'),
        ("<main", '<img src="data:,"><main'),
        ("<main", '<p id="main"></p><main'),
        ("color-scheme:light", "color-scheme:dark"),
        ('content="default-src', 'content="script-src *; default-src'),
        ("<caption>", "<colgroup></colgroup><caption>"),
        ('scope="col"', ""),
        ("</h1>", "</h1><h3>x</h3>"),
        ("<main", "<b><p></b></p><main"),
    ):
        assert old in good
        with pytest.raises((AssertionError, html5lib.html5parser.ParseError)):
            checked(good.replace(old, new, 1))


def seen(text):
    """A text as a page shows it, spaces folded."""
    return " ".join(inert(text).translate({0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}).split())


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(RESULT)
def test_text_of_others_is_text_and_says_all_that_blocks(found):
    text = result(found)
    assert result(found) == text
    said = words(checked(text))
    for part in found.parts or (found,):
        for one in part.outcomes:
            assert seen(one.title or one.rule) in said
            if one.blocks:
                assert seen(one.reason) in said
        for one in part.diagnostics:
            assert seen(one.summary) in said
        for one in part.findings:
            assert seen(one.message) in said


def badge(found):
    return " ".join("".join(parsed(result(found)).find("body/header/h1/span").itertext()).split())


def test_the_first_line_is_never_better_than_the_result():
    passed = {"verdict": "PASS", "outcomes": (outcome("pass"),)}
    assert badge(Result(verb="apply", subject="a", code=0, word="ok", **passed)) == "✓ Passed"
    # an audit that found damage, a run that was stopped
    assert badge(Result(verb="audit", subject="a", code=3, word="evidence-broken", **passed)) == "✗ No: evidence-broken"
    assert badge(of(outcome("fail"), code=0, verdict="FAIL")) == "✗ Did not pass"
    assert badge(of(outcome("inconclusive"), verdict="INCONCLUSIVE")) == "? Undecided, which is no pass"
    assert (
        badge(Result(verb="gate", subject="a", code=3, word="nothing_evaluated", verdict="NOTHING_EVALUATED"))
        == "! Nothing was evaluated"
    )
    assert badge(of(code=0, verdict="WAIVED")) == "~ Passed with waivers"
    assert badge(of(code=7, verdict="WAIVER_REQUIRED")) == "✗ Did not pass, waivers are required"
    assert badge(Result(verb="audit", subject="a", code=3, word="evidence-broken", verdict="WAIVED")).startswith("✗ No")
    assert badge(Result(verb="validate", subject="a", code=0, word="ok")) == "✓ Yes"
    assert badge(Result(verb="validate", subject="a", code=1, word="invalid")) == "✗ No: invalid"
    part = Result(verb="gate", subject="a", code=0, word="ok", verdict="PASS")
    parts = (part, dataclasses.replace(part, subject="b", code=1, verdict="FAIL"))
    assert badge(Result(verb="ci", subject="a b", code=1, word="fail", parts=parts)) == "✗ No: fail"


@pytest.mark.parametrize("status", STATUS)
def test_only_what_passed_is_told_as_passed(status):
    tree = parsed(result(of(outcome(status), code=0 if status in ("pass", "waived") else 1)))
    (row,) = [one for one in tree.iter("tr") if "Enough rows" in "".join(one.itertext())]
    assert gates.WORDS[status][1] in "".join(row[1].itertext())
    assert ("passed" in "".join(row[1].itertext())) == (status == "pass")
    # a link to what explains it
    assert bool(list(row.iter("a"))) == (status != "pass")


def test_of_a_gate_that_blocks_it_says_why_where_and_what_to_do():
    tree = parsed(result(of(outcome("fail"), verdict="FAIL", next="kcompiler show verdict specs/a.yaml")))
    (card,) = tree.iter("article")
    told = dict(
        zip((one.text for one in card.iter("dt")), ("".join(one.itertext()) for one in card.iter("dd")), strict=True)
    )
    assert told == {
        "Why": "60 of 100",
        "Measured": "60; asked >= 100; distance -40",
        "What to do": "bring more rows",
        "Measured in": "generated/x/evidence/reports/data.json:7 at /data/rows",
        "Asked in": "policies/team/rows/many/rule.yaml:1",
    }
    # and that before anything else, with the command that comes next
    head = words(tree).partition("Skip to the result")[2]
    assert head.index("Enough rows") < head.index("All gates")
    assert "What to do next: kcompiler show verdict specs/a.yaml" in head


def test_mistakes_findings_and_steps_are_told():
    found = Result(
        verb="plan", subject="specs/a.yaml", code=1, word="invalid", message="two\nlines",
        diagnostics=(Diagnostic(code="KC2104", summary="unknown field", file="specs/a.yaml", line=4, column=7, help="did you mean x?"),),
        findings=(AuditFinding(code="KA22", severity="evidence", message="not what was stored", where=Where(file="a", line=3)),),
        steps=(StepState(step="data", action="run", why="its rows changed"),), sections=(("steps", ("a  b",)), ("none", ())),
    )  # fmt: skip
    said = words(checked(result(found)))
    for word in (
        "error KC2104: unknown field",
        "specs/a.yaml:4:7",
        "did you mean x?",
        "KA22",
        "a:3",
        "its rows changed",
    ):
        assert word in said
    assert said.count("As printed") == 2


def test_many_of_a_sort_are_counted():
    many = of(*(outcome("fail", rule=f"t/{number}") for number in range(gates.MOST_CARDS + 3)), verdict="FAIL")
    said = words(checked(result(many)))
    assert "3 more of this sort stand in the table of all gates" in said
    assert f"What blocks ({gates.MOST_CARDS + 3})" in said
