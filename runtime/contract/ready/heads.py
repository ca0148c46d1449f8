"""What a JUnit suite says of itself (`tests`, `failures`, `errors`, `skipped`, `disabled`) held to what stands in it.

Tools count alike where everything passed, and not where something did not: a test that fails and whose fixture breaks
is one or two, a test that was run again is counted once or each time. Within that a head may differ. One that says more
than is there (the rest was cut out, or is kept elsewhere), or less of what did not pass, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from runtime.contract.ready.form import Unreadable, count

SUITES = ("testsuites", "testsuite")
#: word of a test → elements in it that say so
MARKS: Mapping[str, Sequence[str]] = {
    "failed": ("failure", "rerunFailure"),
    "broken": ("error", "rerunError"),
    "skipped": ("skipped",),
}
#: of a test that passed when it was run again: a head may count what was before
_BEFORE = {"failed": "flakyFailure", "broken": "flakyError"}


def hold(root: Element, word: Callable[[Element], str]) -> None:
    """`word` says what became of a test. Raises Unreadable: a head says otherwise than what is below it."""
    for suite in suites(root):
        ways = [_held(suite, [*suite.iter()], word)]
        if suite.tag == "testsuite" and suite.find("testsuite") is not None:
            # one of suites may count what is its own, and not what is in those
            ways.append(_held(suite, [one for below in suite if below.tag not in SUITES for one in below.iter()], word))
        for name in ways[0]:
            said = count(suite, name)
            if said is None or any(one[name][0] <= said <= one[name][1] for one in ways):
                continue
            held, whose = ways[0][name][said > ways[0][name][0]], suite.get("name", "")
            raise Unreadable(f"contradicts itself or is not whole: suite {whose!r} says {said} {name} and holds {held}")


def _held(suite: Element, scope: Sequence[Element], word: Callable[[Element], str]) -> dict[str, tuple[int, int]]:
    """Name in a head → the least and the most that it may say of these elements."""
    cases = [(word(one), {mark for mark in MARKS if _marked(one, mark)}) for one in scope if one.tag == "testcase"]
    found = {mark: sum(one.tag in (*MARKS[mark], _BEFORE[mark]) for one in scope) for mark in _BEFORE}
    alone = {mark: sum(mark in marks and other not in marks for _, marks in cases) for mark, other in _OTHER.items()}
    bad = sum(one in _BEFORE for one, _ in cases)
    # that it did not pass stands in an attribute only: whether it failed or broke is the tool's word
    told = sum(one in _BEFORE and not marks & set(_BEFORE) for one, marks in cases)
    idle = sum(one == "skipped" for one, _ in cases)
    errors = 0 if suite.get("errors") is not None else found["broken"]
    return {
        "tests": (len(cases) - bad, len(cases) + found["failed"] + found["broken"]),
        "failures": (alone["failed"], found["failed"] + told + errors),
        "errors": (alone["broken"], found["broken"] + told),
        # what did not run is counted by each tool as it likes, and is no pass in any
        "skipped": (0, idle),
        "disabled": (0, idle),
    }


_OTHER = {"failed": "broken", "broken": "failed"}


def _marked(case: Element, mark: str) -> bool:
    return any(one.tag in MARKS[mark] for one in case.iter())


def suites(root: Element) -> Iterator[Element]:
    """All that can have a head, and hold tests."""
    return (one for one in root.iter() if one.tag in SUITES)


def beside(suite: Element) -> list[str]:
    """Words of what stands in a suite beside its tests: a fixture that failed, a file that could not be read."""
    marks = (mark for one in suite if one.tag not in (*SUITES, "testcase") for mark in one.iter())
    return [word for mark in marks for word in _BEFORE if mark.tag in MARKS[word]]
