"""A result → JUnit XML, as test reports of CI systems read it: one suite a verb, one case a rule on a step, a step, a
spec's mistakes, a finding, and the verb itself.

Only what passed is a case without a mark. What is waived, skipped, or fails and is advisory is `skipped` with the
reason, never passed; what could not be decided is an `error` where it blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as xml

from kcompiler.render.human import inert
from kcompiler.result import ANSWERED_YES, Result, RuleOutcome

#: what no XML document may hold, besides what `inert` makes visible
_FORBIDDEN = re.compile("[\ufffe\uffff]")
#: how a step ended in an apply, and how severe a finding is → the mark of its case; no mark is a pass
_STEPS = {"failed": "error", "interrupted": "error", "blocked": "skipped", "skipped": "skipped"}
_FINDINGS = {"evidence": "error", "disagreement": "failure", "unfinished": "failure", "unsigned": "failure", "note": ""}


@dataclass(frozen=True, kw_only=True)
class _Case:
    """`mark` is "" for what passed, else failure, error or skipped; `said` stands behind it."""

    group: str
    name: str
    mark: str = ""
    message: str = ""
    said: str = ""
    wall_s: float | None = None
    file: str = ""


def result(found: Result) -> str:
    """The document. Unless the verb answered yes (code 0 or 10) there is a failure or an error."""
    root = xml.Element("testsuites", name="kcompiler")
    suites = [_suite(part) for part in (*found.parts, found)]
    for suite in suites:
        root.append(suite)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def _suite(found: Result) -> xml.Element:
    cases = [*_cases(found)]
    suite = xml.Element("testsuite", name=_text(f"kcompiler {found.verb} {found.subject}"))
    if found.wall_s is not None:
        suite.set("time", f"{found.wall_s:.3f}")
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    suite.set("tests", str(len(cases)))
    for name, mark in counts.items():
        suite.set(name, str(sum(case.mark == mark for case in cases)))
    for case in cases:
        suite.append(_element(case))
    return suite


def _element(case: _Case) -> xml.Element:
    made = xml.Element("testcase", classname=_text(case.group), name=_text(case.name))
    if case.wall_s is not None:
        made.set("time", f"{case.wall_s:.3f}")
    if case.file:
        made.set("file", _text(case.file))
    if case.mark:
        mark = xml.SubElement(made, case.mark, message=_text(case.message))
        if case.mark != "skipped":
            mark.set("type", case.mark)
        mark.text = _text(case.said, lines=True) or None
    elif case.said:
        xml.SubElement(made, "system-out").text = _text(case.said, lines=True)
    return made


def _cases(found: Result) -> Iterator[_Case]:
    # of several answers each has its own suite; the last says what they amount to
    if not found.parts:
        yield from _mistakes(found)
        for step in found.steps:
            mark = _STEPS.get(step.action, "") if found.verb == "apply" else ""
            yield _Case(
                group="steps",
                name=step.step,
                mark=mark,
                message=step.why or step.action,
                said="" if mark else f"{step.action} {step.why}".strip(),
                wall_s=step.wall_s,
            )
        for outcome in found.outcomes:
            yield _rule(outcome)
        for finding in found.findings:
            # an audit went past a note; where nothing is audited, nothing has passed
            mark = _FINDINGS[finding.severity] or ("" if found.verb == "audit" else "skipped")
            yield _Case(
                group=f"{found.verb.partition(' ')[0]} {finding.code}",
                name=finding.where.text,
                mark=mark,
                message=finding.message if finding.severity != "note" else f"note: {finding.message}",
                said="" if mark else finding.message,
                file=finding.where.file,
            )
    ended = f"outcome={found.word} code={found.code} next={found.next}"
    mark = "" if found.code in ANSWERED_YES else "failure" if found.code in (1, 7) else "error"
    yield _Case(
        group="kcompiler",
        name=f"{found.verb} {found.subject}",
        mark=mark,
        message=ended,
        said=found.message or ("" if mark else ended),
        wall_s=found.wall_s,
    )


def _mistakes(found: Result) -> Iterator[_Case]:
    """A case a diagnostic: errors are failures, the rest is said."""
    for one in found.diagnostics:
        said = "\n".join(part for part in (one.place, one.summary, one.detail, one.help, *one.notes) if part)
        error = one.severity == "error"
        yield _Case(
            group=f"{one.severity} {one.code}".strip(),
            name=f"{one.place}: {one.summary}" if one.place else one.summary,
            mark="failure" if error else "skipped",
            message=one.summary if error else f"{one.severity}: {one.summary}",
            said=said,
            file=one.file,
        )


def _rule(outcome: RuleOutcome) -> _Case:
    facts = [
        f"observed {outcome.observed}" if outcome.observed else "",
        f"asked {outcome.threshold}" if outcome.threshold else "",
        f"distance {outcome.distance}" if outcome.distance else "",
        outcome.counterfactual,
    ]
    said = "\n".join(
        part for part in (outcome.title, outcome.reason, *facts, outcome.evidence.text, outcome.remedy) if part
    )
    mark, message = "", outcome.reason or outcome.status
    if outcome.status == "waived":
        mark, message = "skipped", f"waived: {message}"
    elif outcome.blocks:
        mark = "failure" if outcome.status == "fail" else "error"
    elif outcome.status != "pass":
        # it does not block, and it did not pass either
        mark = "skipped"
        message = f"{'advisory: ' if outcome.status != 'skipped' else ''}{outcome.status}: {message}"
    return _Case(
        group=outcome.pack,
        name=f"{outcome.rule} on {outcome.step}",
        mark=mark,
        message=message,
        said=said,
        file=outcome.declared.file or outcome.evidence.file,
    )


def _text(text: str, *, lines: bool = False) -> str:
    """Text that an XML document may hold, controls and the like made visible; line breaks stay with `lines`."""
    if lines:
        return "\n".join(_text(line) for line in text.split("\n"))
    return _FORBIDDEN.sub("\ufffd", inert(text))
