"""JUnit's XML, as pytest, Maven, Gradle, Jest and others write it → how many tests passed, failed and did not run.

Skipped is not passed, and neither is a test that was expected to fail: it shows nothing of what it is called after.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from runtime.contract import report as facts
from runtime.contract.ready import heads
from runtime.contract.ready.form import Unreadable, xml

#: what can be said of a test, from the gravest
_WORDS = ("failed", "broken", "skipped", "passed")
#: what `status` or `result` of a test may say → its word; whatever else they say is no pass
_SAID = {
    **dict.fromkeys(("failed", "fail", "failure"), "failed"),
    **dict.fromkeys(("notrun", "disabled", "suppressed", "skipped", "skip", "ignored", "pending", "todo"), "skipped"),
    # googletest and CTest say `run`, googletest `completed` beside it, Jenkins `fixed` of one that failed before
    **dict.fromkeys(("passed", "pass", "success", "successful", "ok", "run", "completed", "fixed", ""), "passed"),
}
_COMMIT = ("revision", "commit", "git.commit", "vcs.revision")


def read(data: bytes) -> dict[str, Any]:
    """Counts of the tests of all suites, and the commit that each names. Raises Unreadable: no JUnit, or a suite that
    says otherwise of itself than what it holds."""
    root = xml(data)
    if root.tag not in heads.SUITES:
        raise Unreadable(f"is no JUnit file: it begins with <{root.tag}>, not with <testsuites> or <testsuite>")
    heads.hold(root, _word)
    words = [*(_word(one) for one in root.iter("testcase")), *_of_suites(root)]
    counted = {word: words.count(word) for word in _WORDS}
    return {
        "run": facts.measured(len(words), "test"),
        "passed": facts.rate(counted["passed"], len(words)),
        **{word: facts.measured(counted[word], "test") for word in ("failed", "broken", "skipped")},
        "revisions": list(dict.fromkeys(_revisions(root, ""))),
    }


def _word(case: Element) -> str:
    """What became of a test: the gravest of all that is said of it."""
    tags = {one.tag for one in case.iter()}
    marked = [word for word, names in heads.MARKS.items() if tags & set(names)]
    return min([*marked, *_attributes(case)], key=_WORDS.index)


def _attributes(element: Element) -> list[str]:
    """What its attributes say of it; "passed" where they say nothing."""
    return [_SAID.get(element.get(name, "").strip().lower(), "broken") for name in ("status", "result")]


def _of_suites(root: Element) -> Iterator[str]:
    """What suites say that no test of theirs does, each as one more that did not pass."""
    for suite in heads.suites(root):
        yield from heads.beside(suite)
        inside = [_word(one) for one in suite.iter("testcase")]
        inside += [word for one in heads.suites(suite) for word in heads.beside(one)]
        worst = min(_attributes(suite), key=_WORDS.index)
        if worst != "passed" and set(inside) <= {"passed"}:
            yield worst


def _revisions(suite: Element, around: str) -> Iterator[str]:
    """The commits that a suite and its tests name; that of the suite around it where it names none; "" where nothing
    says of which commit its tests are."""
    own = [*_commits(suite)]
    yield from own
    inside = [one for one in suite if one.tag not in heads.SUITES]
    for case in (case for one in inside for case in one.iter("testcase")):
        yield from _commits(case)
    if not own and (heads.beside(suite) or any(map(_tests, inside))):
        yield around
    for one in suite:
        if one.tag in heads.SUITES:
            yield from _revisions(one, own[0] if own else around)


def _tests(element: Element) -> bool:
    return next(element.iter("testcase"), None) is not None


def _commits(element: Element) -> Iterator[str]:
    """Of its own properties, which stand below it or below `properties`."""
    own = [*element.findall("property"), *element.findall("properties/property")]
    for one in own:
        said = (one.get("value") or one.text or "").strip()
        if one.get("name", "").lower() in _COMMIT and said:
            yield said
