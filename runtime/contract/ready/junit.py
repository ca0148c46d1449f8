"""JUnit's XML, as pytest, Maven, Gradle, Jest and others write it → how many tests passed, failed and did not run.

Skipped is not passed, and neither is a test that was expected to fail: it shows nothing of what it is called after.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from runtime.contract import report as facts
from runtime.contract.ready.form import Unreadable, count, xml

_FAILED = ("failure", "rerunFailure")
_BROKEN = ("error", "rerunError")
#: of a test that did not run, beside an element `skipped`
_IDLE = ("notrun", "disabled", "skipped")


def read(data: bytes) -> dict[str, Any]:
    """Counts of the tests of all suites. Raises Unreadable: no JUnit, or a suite with fewer tests than it says."""
    root = xml(data)
    if root.tag not in ("testsuites", "testsuite"):
        raise Unreadable(f"is no JUnit file: it begins with <{root.tag}>, not with <testsuites> or <testsuite>")
    words = [_word(one) for one in root.iter("testcase")]
    for suite in root.iter("testsuite"):
        said, held = count(suite, "tests"), sum(1 for _ in suite.iter("testcase"))
        if said is not None and held < said:
            raise Unreadable(f"is not whole: suite {suite.get('name', '')!r} says {said} tests and holds {held}")
    counted = {word: words.count(word) for word in ("passed", "failed", "broken", "skipped")}
    return {
        "run": facts.measured(len(words), "test"),
        "passed": facts.rate(counted["passed"], len(words)),
        **{word: facts.measured(counted[word], "test") for word in ("failed", "broken", "skipped")},
        "revisions": list(dict.fromkeys(_revisions(root))),
    }


def _word(case: Element) -> str:
    tags = {one.tag for one in case}
    if tags & set(_FAILED):
        return "failed"
    if tags & set(_BROKEN):
        return "broken"
    idle = "skipped" in tags or case.get("status", "").lower() in _IDLE or case.get("result", "").lower() in _IDLE
    return "skipped" if idle else "passed"


def _revisions(root: Element) -> Iterator[str]:
    """What the suites say of the commit that was tested, among their properties."""
    for one in root.iter("property"):
        if one.get("name", "").lower() in ("revision", "commit", "git.commit", "vcs.revision") and one.get("value"):
            yield str(one.get("value"))
