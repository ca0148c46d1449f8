"""A result → SARIF 2.1.0, as code hosts show it beside the lines it is about.

One run, one result for each mistake, each rule that did not pass, each finding, and for a stop that none of these
explains. What passed is counted and not listed: code hosts show every result as an alert. Fingerprints are of the rule,
the logical place (file and pointer, never a line) and the text, so that an alert survives lines that move.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from kcompiler import __version__
from kcompiler.diagnostic import Diagnostic, explain
from kcompiler.render.human import inert
from kcompiler.result import ANSWERED_YES, AuditFinding, Result, RuleOutcome, Where

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "kcompiler/v1"
#: results that code hosts take of a run (GitHub shows the first 5,000); what is left out is one result more
MOST = 5_000
_LEVELS = {"evidence": "error", "disagreement": "error", "unfinished": "error", "unsigned": "error", "note": "note"}
_RANK = {"error": 0, "warning": 1, "note": 2}


def result(found: Result) -> str:
    """The document."""
    rules: dict[str, dict[str, Any]] = {}
    results = _results(found, rules)
    left_out = len(results) - MOST
    if left_out > 0:
        results = results[: MOST - 1]
        said = f"{left_out + 1} further results are left out here; the json form has all"
        results.append(_result(rules, "kcompiler/left-out", "warning", said, Where(), found.root, "", title="Left out"))
    _number(results)
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "kcompiler",
                "version": __version__,
                "rules": [one["declared"] for one in rules.values()],
            }
        },
        "automationDetails": {"id": f"kcompiler/{found.verb}/{inert(found.subject)}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": found.code in (*ANSWERED_YES, 1, 7),
                "exitCode": found.code,
                "exitCodeDescription": inert(found.word),
            }
        ],
        "results": results,
        "properties": {
            "verdict": inert(found.verdict),
            "plan": found.plan,
            "passed": sum(one.status == "pass" for part in _parts(found) for one in part.outcomes),
        },
    }
    text = json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, sort_keys=True)
    return text + "\n"


def _parts(found: Result) -> tuple[Result, ...]:
    return tuple(found.parts) or (found,)


def _results(found: Result, rules: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every result, errors first, without repetitions of one by another part."""
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for part in _parts(found):
        for one in _of(part, rules):
            key = (one["ruleId"], json.dumps(one, sort_keys=True))
            made.setdefault(key, one)
    every = list(made.values())
    if found.code not in ANSWERED_YES and not any(one["level"] == "error" for one in every):
        every.append(_stop(found, rules))
    return sorted(every, key=lambda one: _RANK[one["level"]])


def _of(found: Result, rules: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for mistake in found.diagnostics:
        yield _mistake(mistake, found.root, rules)
    for outcome in found.outcomes:
        if outcome.status not in ("pass", "skipped"):
            yield _rule(outcome, found.root, rules)
    for one in found.findings:
        yield _finding(one, found.root, rules)
    stopped = found.code not in (*ANSWERED_YES, 1, 7) and not any(one.severity == "error" for one in found.diagnostics)
    if stopped and not any(one.blocks for one in found.outcomes) and not found.findings:
        yield _stop(found, rules)


def _mistake(one: Diagnostic, root: str, rules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    said = "\n".join(
        part for part in (one.summary, one.detail, *(f"help: {text}" for text in (one.help,) if text)) if part
    )
    where = Where(file=one.file, line=one.line, column=one.column, pointer=one.pointer)
    title = page = ""
    if one.code:
        try:
            code = explain(one.code)
            title, page = code.title, code.page
        except KeyError:
            title = one.summary
    number = one.code or "kcompiler/step"
    made = _result(
        rules, number, one.severity, said, where, root, one.summary, title=title or "A step failed", page=page
    )
    region = made["locations"][0]["physicalLocation"].get("region") if made.get("locations") else None
    if (
        region
        and one.end_line >= one.line
        and one.end_column > 0
        and (one.end_line, one.end_column) > (one.line, one.column)
    ):
        region |= {"endLine": one.end_line, "endColumn": one.end_column}
    related = [
        {
            "id": number,
            "message": {"text": inert(other.message) or "see here"},
            "physicalLocation": _physical(Where(file=other.file, line=other.line, column=other.column), root),
        }
        for number, other in enumerate(one.related)
    ]
    return made | ({"relatedLocations": related} if related else {})


def _rule(one: RuleOutcome, root: str, rules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    facts = f" ({one.observed}, asked {one.threshold})" if one.observed and one.threshold else ""
    said = f"{one.status} on {one.step}: {one.reason}{facts}" + (f"\n{one.remedy}" if one.remedy else "")
    level = "error" if one.blocks else "note" if one.status == "waived" else "warning"
    # what is measured changes from run to run; the alert is about the rule and the place
    made = _result(
        rules, one.rule, level, said, one.evidence, root, one.status, title=one.title or one.rule, page=one.remedy
    )
    told = {
        "pointer": one.evidence.pointer,
        "observed": one.observed,
        "threshold": one.threshold,
        "distance": one.distance,
        "counterfactual": one.counterfactual,
    }
    made["properties"] = {"blocks": one.blocks} | {name: inert(text) for name, text in told.items() if text}
    if one.declared.file:
        made["relatedLocations"] = [
            {
                "id": 0,
                "message": {"text": "the rule is declared here"},
                "physicalLocation": _physical(one.declared, root),
            }
        ]
    if one.status == "waived":
        made["suppressions"] = [{"kind": "external", "status": "accepted", "justification": inert(one.reason)}]
    return made


def _finding(one: AuditFinding, root: str, rules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    try:
        code = explain(one.code)
        title, page = code.title, code.page
    except KeyError:
        title, page = one.message, ""
    return _result(rules, one.code, _LEVELS[one.severity], one.message, one.where, root, one.message, title, page)


def _stop(found: Result, rules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Why nothing was answered, where no place tells it."""
    said = found.message or f"{found.verb} {found.subject} ended with code {found.code}, {found.word}"
    said += f"\nnext: {found.next}" if found.next else ""
    title = "A command could not do what it was asked"
    number = f"kcompiler/{found.word}"
    return _result(rules, number, "error", said, Where(), found.root, f"{found.verb} {found.subject}", title)


def _result(
    rules: dict[str, dict[str, Any]],
    number: str,
    level: str,
    said: str,
    where: Where,
    root: str,
    same: str,
    title: str = "",
    page: str = "",
) -> dict[str, Any]:
    """One result; its rule is added where it is new. `same` is the text that stays while the alert is the same."""
    rule = inert(number)
    if rule not in rules:
        declared: dict[str, Any] = {"id": rule, "shortDescription": {"text": inert(title) or rule}}
        if page:
            declared["help"] = {"text": _lines(page), "markdown": _lines(page)}
        rules[rule] = {"index": len(rules), "declared": declared}
    logical = f"{where.file}#{where.pointer}"
    made: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": rules[rule]["index"],
        "level": level,
        "message": {"text": _lines(said) or rule},
        # how many alike there are is added at the end
        "partialFingerprints": {FINGERPRINT: _fingerprint(rule, logical, same)},
    }
    if where.file:
        location: dict[str, Any] = {"physicalLocation": _physical(where, root)}
        if where.pointer:
            name = inert(logical)
            location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "object"}]
        made["locations"] = [location]
    return made


def _physical(where: Where, root: str) -> dict[str, Any]:
    file = f"{root}/{where.file}" if root else where.file
    text = file.encode("utf-8", "surrogatepass") if file else b"."
    made: dict[str, Any] = {"artifactLocation": {"uri": quote(text, safe="/"), "uriBaseId": "%SRCROOT%"}}
    if where.file.startswith("/"):
        made["artifactLocation"] = {"uri": "file://" + quote(where.file.encode("utf-8", "surrogatepass"), safe="/")}
    if where.line:
        made["region"] = {"startLine": where.line} | ({"startColumn": where.column} if where.column else {})
    return made


def _fingerprint(rule: str, logical: str, text: str) -> str:
    """Of rule, logical place and text; no line, no spacing and no form of a character counts."""
    plain = " ".join(re.sub(r":\d+(?::\d+)?\b", "", unicodedata.normalize("NFC", inert(text))).split())
    return hashlib.sha256("\0".join((rule, inert(logical), plain)).encode()).hexdigest()


def _number(results: list[dict[str, Any]]) -> None:
    """Results that are alike are told apart by which of them it is."""
    seen: dict[str, int] = {}
    for one in results:
        prints: dict[str, str] = one["partialFingerprints"]
        plain = prints[FINGERPRINT]
        seen[plain] = seen.get(plain, 0) + 1
        prints[FINGERPRINT] = f"{plain}:{seen[plain]}"


def _lines(text: str) -> str:
    return "\n".join(inert(line) for line in text.split("\n")).strip()


def levels(document: Mapping[str, Any]) -> dict[str, int]:
    """Level → how many results of a document have it."""
    found = [one["level"] for run in document["runs"] for one in run["results"]]
    return {level: found.count(level) for level in _RANK}
