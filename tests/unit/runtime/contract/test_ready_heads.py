"""JUnit files whose heads say otherwise than their tests, and those of real tools, which count in different ways."""

from __future__ import annotations

import re
from typing import Any

import pytest

from runtime.contract.ready import READ, Unreadable


def counts(data: str) -> tuple[Any, ...]:
    """(passed, of), failed, broken, skipped."""
    found = READ["tests"](data.encode())
    passed = found["passed"]
    return (passed.get("k"), passed.get("n")), *(found[name]["value"] for name in ("failed", "broken", "skipped"))


ONE, TWO = '<testcase name="x"/>', '<testcase name="x"/><testcase name="y"/>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # the head of a suite, or of all, says of what is not there
        (f'<testsuites tests="5"><testsuite>{TWO}</testsuite></testsuites>', "says 5 tests and holds 2"),
        (f'<testsuites tests="1"><testsuite>{TWO}</testsuite></testsuites>', "says 1 tests and holds 2"),
        (f'<testsuites tests="0"><testsuite>{TWO}</testsuite></testsuites>', "says 0 tests and holds 2"),
        (f'<testsuites failures="2"><testsuite>{TWO}</testsuite></testsuites>', "says 2 failures and holds 0"),
        (f'<testsuite name="a" failures="1">{TWO}</testsuite>', "suite 'a' says 1 failures and holds 0"),
        (f'<testsuite errors="1">{TWO}</testsuite>', "says 1 errors and holds 0"),
        (f'<testsuite skipped="1">{TWO}</testsuite>', "says 1 skipped and holds 0"),
        (f'<testsuite disabled="1">{TWO}</testsuite>', "says 1 disabled and holds 0"),
        (f'<testsuite errors="-1">{TWO}</testsuite>', "which is no count"),
        (f'<testsuite tests="3"><testsuite tests="2">{TWO}</testsuite></testsuite>', "says 3 tests and holds 2"),
        (
            '<testsuites tests="5" failures="2" errors="1"><testsuite tests="2" failures="1" errors="1"><error/>'
            '<testcase name="x" status="failed"/><testcase name="y"/></testsuite></testsuites>',
            "says 5 tests and holds",
        ),
        # it says of less of what did not pass
        ('<testsuite failures="0"><testcase><failure/></testcase></testsuite>', "says 0 failures and holds 1"),
        ('<testsuite errors="0"><testcase><error/></testcase></testsuite>', "says 0 errors and holds 1"),
        ('<testsuite failures="3"><testcase><failure/></testcase></testsuite>', "says 3 failures and holds 1"),
    ],
)
def test_a_head_that_says_otherwise_than_its_tests_is_not_read(text: str, said: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(said)):
        READ["tests"](text.encode())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # what stands beside the tests of a suite
        (f"<testsuite><error/>{ONE}</testsuite>", ((1, 2), 0, 1, 0)),
        (f'<testsuites><testsuite tests="1" errors="1"><error/>{ONE}</testsuite></testsuites>', ((1, 2), 0, 1, 0)),
        (f"<testsuites><failure/><testsuite>{ONE}</testsuite></testsuites>", ((1, 2), 1, 0, 0)),
        (f"<testsuite><setup><failure/></setup>{ONE}</testsuite>", ((1, 2), 1, 0, 0)),
        (f'<testsuite status="failed">{ONE}</testsuite>', ((1, 2), 1, 0, 0)),
        ('<testsuite status="failed"><testcase><failure/></testcase></testsuite>', ((0, 1), 1, 0, 0)),
        ('<testsuite tests="0"><error/></testsuite>', ((0, 1), 0, 1, 0)),
        # deeper in a test
        ("<testsuite><testcase><attempt><failure/></attempt></testcase></testsuite>", ((0, 1), 1, 0, 0)),
        # the gravest of what is said of a test
        ('<testsuite><testcase status="passed"><error/></testcase></testsuite>', ((0, 1), 0, 1, 0)),
        ('<testsuite><testcase status="run" result="suppressed"/></testsuite>', ((0, 1), 0, 0, 1)),
        ('<testsuite><testcase status="notrun" result="failed"/></testsuite>', ((0, 1), 1, 0, 0)),
        ('<testsuite failures="1"><testcase status="timeout"/></testsuite>', ((0, 1), 0, 1, 0)),
        # an outer suite counts what is its own
        (f'<testsuite tests="0"><testsuite tests="2">{TWO}</testsuite></testsuite>', ((2, 2), 0, 0, 0)),
        (f'<testsuite tests="2"><testsuite tests="2">{TWO}</testsuite></testsuite>', ((2, 2), 0, 0, 0)),
        (f'<testsuite tests="1">{ONE}<testsuite tests="2">{TWO}</testsuite></testsuite>', ((3, 3), 0, 0, 0)),
    ],
)
def test_whatever_says_that_something_did_not_pass_counts(text: str, found: tuple[Any, ...]) -> None:
    assert counts(text) == found


WORDS = {
    "failed": ("failed", "Fail", "FAILURE"),
    "broken": ("error", "broken", "aborted", "timeout", "interrupted", "unknown", "what nobody has heard of"),
    "skipped": ("disabled", "notrun", "skipped", "ignored", "pending"),
}


@pytest.mark.parametrize("attribute", ["status", "result"])
@pytest.mark.parametrize(("word", "said"), [(word, said) for word, all_ in WORDS.items() for said in all_])
def test_a_test_that_says_of_itself_that_it_did_not_pass_has_not(attribute: str, word: str, said: str) -> None:
    found = READ["tests"](f'<testsuite tests="1"><testcase {attribute}="{said}"/></testsuite>'.encode())
    assert (found["passed"]["k"], found[word]["value"]) == (0, 1)


#: as each tool writes it, of tests that passed beside some that did not
TOOLS = {
    "pytest": (
        '<testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="1" skipped="1" tests="3">'
        '<testcase classname="t" name="a"/><testcase classname="t" name="b"><skipped type="pytest.xfail"/></testcase>'
        '<testcase classname="t" name="c"><failure message="assert 0">t.py:3</failure></testcase>'
        "</testsuite></testsuites>",
        ((1, 3), 1, 0, 1),
    ),
    "pytest, a fixture breaks after the test": (
        '<testsuites><testsuite name="pytest" errors="1" failures="0" skipped="0" tests="2">'
        '<testcase name="a"><error message="failed on teardown"/></testcase></testsuite></testsuites>',
        ((0, 1), 0, 1, 0),
    ),
    "pytest, a test fails and its fixture breaks": (
        '<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="0" tests="1">'
        '<testcase name="a"><failure/></testcase><testcase name="a"><error/></testcase></testsuite></testsuites>',
        ((0, 2), 1, 1, 0),
    ),
    "maven surefire": (
        '<testsuite name="org.example.PriceTest" time="0.05" tests="3" errors="1" skipped="1" failures="0">'
        '<properties><property name="java.version" value="21"/></properties><testcase name="a"/>'
        '<testcase name="b"><skipped message="later"/></testcase><testcase name="c"><error type="E">at P</error>'
        "</testcase></testsuite>",
        ((1, 3), 0, 1, 1),
    ),
    "maven surefire, a test passed when it was run again": (
        '<testsuite name="P" tests="1" errors="0" skipped="0" failures="0" flakes="1"><testcase name="a">'
        '<flakyFailure type="E"><stackTrace>at P</stackTrace></flakyFailure></testcase></testsuite>',
        ((1, 1), 0, 0, 0),
    ),
    "gradle": (
        '<testsuite name="PriceTest" tests="2" skipped="0" failures="1" errors="0" timestamp="2026-11-28T11:41:28">'
        '<properties/><testcase name="a()" classname="P"/><testcase name="b()"><failure type="E">at</failure>'
        "</testcase><system-out><![CDATA[]]></system-out><system-err><![CDATA[]]></system-err></testsuite>",
        ((1, 2), 1, 0, 0),
    ),
    "jest-junit": (
        '<testsuites name="jest tests" tests="3" failures="1" errors="0" time="1.2"><testsuite name="price" errors="0" '
        'failures="1" skipped="1" tests="3"><testcase name="a"/><testcase name="b"><skipped/></testcase>'
        '<testcase name="c"><failure>one</failure><failure>two</failure></testcase></testsuite></testsuites>',
        ((1, 3), 1, 0, 1),
    ),
    "jest-junit, a file that does not load": (
        '<testsuites tests="1" failures="0" errors="1"><testsuite name="a" errors="0" failures="0" skipped="0" '
        'tests="1"><testcase name="a"/></testsuite><testsuite name="b" errors="1" failures="0" skipped="0" tests="0">'
        '<testcase name="b: Test execution failure"><error>SyntaxError</error></testcase></testsuite></testsuites>',
        ((1, 2), 0, 1, 0),
    ),
    "go-junit-report": (
        '<testsuites tests="3" failures="1" skipped="1"><testsuite name="example.org/p" tests="3" failures="1" '
        'errors="0" skipped="1" id="0"><properties><property name="go.version" value="go1.23"/></properties>'
        '<testcase name="TestA"/><testcase name="TestB"><skipped message="Skipped"/></testcase>'
        '<testcase name="TestC"><failure message="Failed"/></testcase></testsuite></testsuites>',
        ((1, 3), 1, 0, 1),
    ),
    "googletest": (
        '<testsuites tests="3" failures="1" disabled="1" errors="0" name="AllTests"><testsuite name="P" tests="3" '
        'failures="1" disabled="1" skipped="0" errors="0"><testcase name="A" status="run" result="completed"/>'
        '<testcase name="DISABLED_B" status="notrun" result="suppressed"/><testcase name="C" status="run" '
        'result="completed"><failure message="1"/><failure message="2"/></testcase></testsuite></testsuites>',
        ((1, 3), 1, 0, 1),
    ),
    "dotnet": (
        '<testsuites><testsuite name="P.dll" tests="3" skipped="1" failures="1" errors="0" hostname="ci" id="0">'
        '<properties/><testcase classname="P" name="A"/><testcase name="B"><skipped/></testcase><testcase name="C">'
        '<failure type="failure" message="m">at P</failure></testcase><system-out/><system-err/></testsuite></testsuites>',
        ((1, 3), 1, 0, 1),
    ),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_real_tools_write_is_read_as_they_mean_it(tool: str) -> None:
    text, found = TOOLS[tool]
    assert counts(text) == found


def suite(*inside: str, commit: str = "") -> str:
    named = f'<properties><property name="revision" value="{commit}"/></properties>' if commit else ""
    return f"<testsuite>{named}{''.join(inside)}</testsuite>"


A, B = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    ("text", "commits"),
    [
        (suite(ONE), [""]),
        (suite(ONE, commit=A), [A]),
        (f"<testsuites>{suite(ONE, commit=A)}{suite(ONE, commit=B)}</testsuites>", [A, B]),
        (f"<testsuites>{suite(ONE, commit=A)}{suite(ONE)}</testsuites>", [A, ""]),
        (f"<testsuites>{suite(ONE, commit=A)}{suite('<error/>')}</testsuites>", [A, ""]),
        (f"<testsuites>{suite(ONE, commit=A)}{suite()}</testsuites>", [A]),
        # what the suite around says holds of those in it, unless they say otherwise
        (suite(suite(ONE), suite(ONE), commit=A), [A]),
        (suite(suite(ONE), suite(ONE, commit=B), commit=A), [A, B]),
        (
            suite(f'<testcase><properties><property name="commit" value="{B}"/></properties></testcase>', commit=A),
            [A, B],
        ),
    ],
)
def test_each_suite_is_asked_for_its_commit(text: str, commits: list[str]) -> None:
    assert READ["tests"](text.encode())["revisions"] == commits
